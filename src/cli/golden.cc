// `etalon golden`: packs of golden values, made and judged.
#include "cli/golden.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"
#include "reference/golden/pack.h"
#include "reference/golden/report.h"
#include "reference/golden/suite.h"

namespace etalon::cli {
namespace {

namespace fs = std::filesystem;

struct GoldenOptions {
  EngineOptions engine;
  std::string suite = "smoke";
  std::string directory;
  std::string second;
  std::string got;
  std::string profile;
  std::string only;    // id of one case
  std::string report;  // HTML
  std::string junit;
  std::string json;
  bool verbose = false;
};

}  // namespace

golden::Subject CpuSubject(const Engine& engine, ExecContext* ctx) {
  golden::Subject s;
  s.backend = engine.backend;
  s.ctx = ctx;
  s.name = fmt::format("{} ({}, {} threads)", engine.backend->name,
                       SimdTierName(ActiveSimdTier()), engine.n_threads);
  s.quantize_q8_k = [](std::span<const float> x, std::span<float> d,
                       std::span<int8_t> q) {
    std::vector<BlockQ8_K> blocks(d.size());
    QuantizeRowQ8K(x.data(), x.size(), blocks.data());
    for (size_t b = 0; b < blocks.size(); ++b) {
      d[b] = blocks[b].d;
      std::copy(std::begin(blocks[b].qs), std::end(blocks[b].qs),
                q.begin() + static_cast<std::ptrdiff_t>(b * kQkK));
    }
  };
  s.quantize_q8_0 = [](std::span<const float> x, std::span<float> d,
                       std::span<int8_t> q) {
    std::vector<BlockQ8_0> blocks(d.size());
    QuantizeRowQ80(x.data(), x.size(), blocks.data());
    for (size_t b = 0; b < blocks.size(); ++b) {
      d[b] = F16ToF32(blocks[b].d);
      std::copy(std::begin(blocks[b].qs), std::end(blocks[b].qs),
                q.begin() + static_cast<std::ptrdiff_t>(b * kQk));
    }
  };
  s.layer = [backend = engine.backend](const layer::LayerConfig& config,
                                       const layer::LayerWeights& weights,
                                       const layer::LayerState& state,
                                       Span2D<float> x, ExecContext& context) {
    std::vector<float> h(x.rows * config.model_dim);
    layer::LayerBuffers b;
    b.x = x;
    b.h = {h.data(), x.rows, config.model_dim};
    return layer::Forward(config, weights, state, b, *backend, context);
  };
  // A port's table has no quantisation: its cases are not judged by ours.
  if (engine.backend != &CpuBackend() &&
      engine.backend != &ReferenceBackend()) {
    s.quantize_q8_k = s.quantize_q8_0 = nullptr;
  }
  return s;
}

golden::ReadFile FolderReader(const std::string& folder) {
  return [folder](const std::string& path) -> Expected<std::vector<std::byte>> {
    ETALON_ASSIGN_OR_RETURN(
        const io::MappedFile file,
        io::MappedFile::Open((fs::path(folder) / path).string()));
    return std::vector<std::byte>(file.bytes().begin(), file.bytes().end());
  };
}

// Plain writes: a pack is complete when SHA256SUMS, its last file, is there.
golden::WriteFile FolderWriter(const std::string& folder) {
  return [folder](const std::string& path,
                  std::span<const std::byte> bytes) -> Status {
    const fs::path to = fs::path(folder) / path;
    std::error_code ec;
    fs::create_directories(to.parent_path(), ec);
    std::FILE* file = ec ? nullptr : std::fopen(to.c_str(), "wb");
    bool good = file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(),
                                               file) == bytes.size();
    if (file != nullptr && std::fclose(file) != 0) good = false;
    if (!good) {
      return Fail(ErrorCode::kIo, fmt::format("{}: cannot write {} bytes",
                                              to.string(), bytes.size()));
    }
    return {};
  };
}

namespace {

// The profile that --profile names: a file, or a shipped one.
Expected<golden::PortProfile> LoadProfile(const std::string& name,
                                          bool default_strict) {
  if (name.empty()) {
    return golden::FindShippedProfile(default_strict ? "cpu-strict"
                                                     : "cuda-f32");
  }
  std::error_code ec;
  if (!fs::exists(name, ec) && name.find('/') == std::string::npos) {
    std::string stem = name;
    if (stem.ends_with(".json")) stem.resize(stem.size() - 5);
    return golden::FindShippedProfile(stem);
  }
  ETALON_ASSIGN_OR_RETURN(const std::string text, ReadText(name));
  return golden::ParseProfile(text, name);
}

Expected<int> RunMake(const GoldenOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  Workspace workspace;
  ExecContext ctx{&workspace, &engine.config, engine.n_threads};
  const golden::Subject strict = CpuSubject(engine, &ctx);
  std::error_code ec;
  if (fs::exists(fs::path(o.directory) / "manifest.json", ec)) {
    return BadInput(fmt::format("{}: there is a pack already", o.directory));
  }
  ETALON_RETURN_IF_ERROR(
      golden::MakePack(o.suite, strict, FolderWriter(o.directory),
                       [](size_t, size_t) { return !Interrupted(); }));
  return Interrupted() ? kExitInterrupted : kExitOk;
}

std::string CheckText(const golden::CheckResult& r, bool verbose) {
  std::string text;
  size_t shown = 0;
  for (const golden::CaseResult& c : r.cases) {
    const bool bad = c.Failed();
    if (!bad && !verbose) continue;
    if (bad && ++shown > 20 && !verbose) continue;
    text += fmt::format("{:<7} {} [{}] {}\n", golden::StatusName(c.status),
                        c.id, c.family, c.message);
    for (const golden::Fingerprint& f : c.fingerprints) {
      text += fmt::format("        looks like {}: {} (err/bound {:.3g})\n",
                          f.bug, f.description, f.ratio);
    }
  }
  if (shown > 20 && !verbose) {
    text += fmt::format("... and {} more\n", shown - 20);
  }
  for (const golden::Fit& f : r.fits) {
    if (!f.warns) continue;
    text += fmt::format(
        "warn    {}: {} is off by {:+.3g} (rounding alone: up "
        "to {:.2g})\n",
        f.op, f.direction, f.delta, f.threshold);
  }
  std::map<std::string, size_t> skipped;  // by reason
  for (const golden::CaseResult& c : r.cases) {
    if (c.status == golden::CaseStatus::kSkipped)
      ++skipped[c.op + ": " + c.message];
  }
  for (const auto& [reason, n] : skipped) {
    text += fmt::format("skipped {} of {}\n", n, reason);
  }
  double max = 0.0;
  for (const golden::CaseResult& c : r.cases) {
    if (c.status == golden::CaseStatus::kPass ||
        c.status == golden::CaseStatus::kWarn) {
      max = std::max(max, c.MaxRatio());
    }
  }
  text += fmt::format(
      "{}: {} against {} as {}: {} pass, {} warn, {} fail, {} error, {} "
      "skipped; {} elements, largest err/bound {:.3f}; {:.1f} s\n",
      r.Passed() ? "PASS" : "FAIL", r.subject, r.suite, r.profile, r.n_pass,
      r.n_warn, r.n_fail, r.n_error, r.n_skipped, r.n_elements, max, r.seconds);
  return text;
}

Status WriteReports(const GoldenOptions& o, const golden::CheckResult& r) {
  const std::pair<const std::string*,
                  std::string (*)(const golden::CheckResult&)>
      reports[] = {{&o.report, golden::HtmlReport},
                   {&o.junit, golden::JUnitReport},
                   {&o.json, golden::JsonReport}};
  for (const auto& [path, make] : reports) {
    if (path->empty()) continue;
    const std::string text = make(r);
    ETALON_RETURN_IF_ERROR(
        io::WriteFileAtomically(*path, std::as_bytes(std::span(text))));
  }
  return {};
}

// Names of the tensor files in a folder, sorted.
Expected<std::vector<std::string>> TensorFiles(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end;
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".safetensors")) names.push_back(name);
  }
  if (ec) return BadInput(fmt::format("{}: {}", folder, ec.message()));
  std::sort(names.begin(), names.end());
  return names;
}

Expected<int> RunCheck(const GoldenOptions& o) {
  ETALON_ASSIGN_OR_RETURN(Engine engine, SetUpEngine(o.engine));
  const bool own = o.got.empty();
  golden::CheckOptions options;
  ETALON_ASSIGN_OR_RETURN(options.profile, LoadProfile(o.profile, own));
  // Its kernels are to be judged, not others by its bounds.
  if (options.profile.p.name == "cpu-fast") {
    engine.config.profile = Profile::kFast;
  }
  Workspace workspace;
  ExecContext ctx{&workspace, &engine.config, engine.n_threads};
  const golden::Subject cpu = CpuSubject(engine, &ctx);
  if (own) {
    options.subject = &cpu;
    options.strict_bits = engine.backend == &CpuBackend() &&
                          options.profile.p.name == "cpu-strict";
  } else {
    // A folder that is not there is bad input, not a port that failed.
    ETALON_RETURN_IF_ERROR(TensorFiles(o.got).map([](const auto&) {}));
    options.got = FolderReader(o.got);
  }
  options.only = o.only;
  options.progress = [](size_t, size_t) { return !Interrupted(); };
  auto result =
      golden::CheckPack(FolderReader(o.directory), std::move(options));
  if (Interrupted()) return kExitInterrupted;
  if (!result) return tl::unexpected(std::move(result).error());
  result->pack = o.directory;
  if (!own) result->subject = o.got;
  result->command = fmt::format(
      "etalon golden check {}{}{}{}", o.directory, own ? "" : " --got " + o.got,
      o.profile.empty() ? "" : " --profile " + o.profile,
      engine.backend == &CpuBackend() ? "" : " --backend " + o.engine.backend);
  ETALON_RETURN_IF_ERROR(WriteReports(o, *result));
  ETALON_RETURN_IF_ERROR(WriteStdout(CheckText(*result, o.verbose)));
  return result->Passed() ? kExitOk : kExitCheckFailed;
}

// The outputs of the cpu backend as a port would hand them in.
Expected<int> RunRun(const GoldenOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  Workspace workspace;
  ExecContext ctx{&workspace, &engine.config, engine.n_threads};
  const golden::Subject cpu = CpuSubject(engine, &ctx);
  const golden::ReadFile read = FolderReader(o.directory);
  const golden::WriteFile write = FolderWriter(o.second);
  ETALON_ASSIGN_OR_RETURN(golden::Manifest m, golden::ReadPack(read));
  for (golden::Case& described : m.cases) {
    golden::Case c = std::move(described);
    ETALON_RETURN_IF_ERROR(golden::LoadCase(read, c));
    ETALON_ASSIGN_OR_RETURN(const golden::TensorFile out, golden::Run(c, cpu));
    ETALON_RETURN_IF_ERROR(
        write(c.id + ".safetensors", golden::WriteSafetensors(out)));
    if (Interrupted()) return kExitInterrupted;
  }
  return kExitOk;
}

std::string DiffTensors(const golden::Tensor& a, const golden::Tensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) {
    return fmt::format("{} {} and {} {}", golden::DTypeName(a.dtype),
                       golden::ShapeText(a.shape), golden::DTypeName(b.dtype),
                       golden::ShapeText(b.shape));
  }
  size_t n = 0;
  size_t first = 0;
  double largest = 0.0;
  const size_t size = golden::DTypeSize(a.dtype);
  for (size_t i = 0; i < a.n(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i * size);
    const auto end = at + static_cast<std::ptrdiff_t>(size);
    if (std::equal(a.bytes.begin() + at, a.bytes.begin() + end,
                   b.bytes.begin() + at)) {
      continue;
    }
    const double x = golden::ElementValue(a, i);
    const double y = golden::ElementValue(b, i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (n++ == 0) first = i;
    const double difference = std::abs(x - y);
    largest = difference <= largest ? largest : difference;
  }
  if (n == 0) return "";
  return fmt::format(
      "{} of {} elements differ, first at {}: {:.9g} and {:.9g}; largest "
      "difference {:.3g}",
      n, a.n(), first, golden::ElementValue(a, first),
      golden::ElementValue(b, first), largest);
}

Expected<int> RunDiff(const GoldenOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const auto left, TensorFiles(o.directory));
  ETALON_ASSIGN_OR_RETURN(const auto right, TensorFiles(o.second));
  const auto read_left = FolderReader(o.directory);
  const auto read_right = FolderReader(o.second);
  std::string text;
  size_t n = 0;
  const auto say = [&](const std::string& line) {
    ++n;
    text += line + "\n";
  };
  for (const std::string& name : left) {
    if (!std::binary_search(right.begin(), right.end(), name)) {
      say(fmt::format("{}: only in {}", name, o.directory));
      continue;
    }
    ETALON_ASSIGN_OR_RETURN(const auto a_bytes, read_left(name));
    ETALON_ASSIGN_OR_RETURN(const auto b_bytes, read_right(name));
    ETALON_ASSIGN_OR_RETURN(const auto a,
                            golden::ReadSafetensors(a_bytes, name));
    ETALON_ASSIGN_OR_RETURN(const auto b,
                            golden::ReadSafetensors(b_bytes, name));
    for (const auto& [tensor, t] : a.tensors) {
      const golden::Tensor* other = b.Find(tensor);
      const std::string difference =
          other == nullptr ? "only in " + o.directory : DiffTensors(t, *other);
      if (!difference.empty()) {
        say(fmt::format("{}: {}: {}", name, tensor, difference));
      }
    }
    for (const auto& [tensor, t] : b.tensors) {
      if (a.Find(tensor) == nullptr) {
        say(fmt::format("{}: {}: only in {}", name, tensor, o.second));
      }
    }
  }
  for (const std::string& name : right) {
    if (!std::binary_search(left.begin(), left.end(), name)) {
      say(fmt::format("{}: only in {}", name, o.second));
    }
  }
  text += fmt::format("{} differences in {} files\n", n, left.size());
  ETALON_RETURN_IF_ERROR(WriteStdout(text));
  return n == 0 ? kExitOk : kExitCheckFailed;
}

}  // namespace

Action AddGolden(CLI::App& app) {
  auto o = std::make_shared<GoldenOptions>();
  CLI::App* golden = app.add_subcommand(
      "golden", "golden packs: values and bounds that kernels are judged by");
  golden->require_subcommand(1);

  CLI::App* make = golden->add_subcommand("make", "write a pack");
  make->add_option("--suite", o->suite, "smoke or full")
      ->check(CLI::IsMember({"smoke", "full"}))
      ->capture_default_str();
  make->add_option("-o,--output", o->directory, "folder to write")
      ->required()
      ->type_name("DIR");

  CLI::App* check = golden->add_subcommand(
      "check", "judge the cpu backend, or a port's outputs");
  check->add_option("pack", o->directory, "folder of the pack")->required();
  check->add_option("--got", o->got, "folder of a port's outputs")
      ->type_name("DIR");
  check
      ->add_option("--profile", o->profile,
                   "how the port computes: a file or a shipped profile")
      ->type_name("FILE");
  check->add_option("--case", o->only, "judge this one case")->type_name("ID");
  check->add_option("--report", o->report, "write an HTML report")
      ->type_name("FILE");
  check->add_option("--junit", o->junit, "write JUnit XML")->type_name("FILE");
  check->add_option("--json", o->json, "write all results as JSON")
      ->type_name("FILE");
  check->add_flag("--all", o->verbose, "name every case");
  o->engine.AddCompute(*check, /*with_profile=*/false);

  CLI::App* run =
      golden->add_subcommand("run", "write the cpu backend's outputs");
  run->add_option("pack", o->directory, "folder of the pack")->required();
  run->add_option("-o,--output", o->second, "folder to write")
      ->required()
      ->type_name("DIR");

  auto m = std::make_shared<GoldenModelOptions>();
  CLI::App* model = golden->add_subcommand(
      "model", "write a pack of every op of a model's run");
  m->engine.AddModel(*model);
  model->add_option("--tokens", m->tokens, "token ids: 1,2,3")
      ->required()
      ->type_name("IDS");
  model->add_option("-o,--output", m->directory, "folder to write")
      ->required()
      ->type_name("DIR");
  m->engine.AddCache(*model);

  CLI::App* diff =
      golden->add_subcommand("diff", "compare two folders of outputs");
  diff->add_option("left", o->directory)->required()->type_name("DIR");
  diff->add_option("right", o->second)->required()->type_name("DIR");

  return [o, m, make, check, run, model, diff]() -> Expected<int> {
    if (make->parsed()) return RunMake(*o);
    if (check->parsed()) return RunCheck(*o);
    if (run->parsed()) return RunRun(*o);
    if (model->parsed()) return RunGoldenModel(*m);
    return diff->parsed() ? RunDiff(*o) : Expected<int>(kExitUsage);
  };
}

}  // namespace etalon::cli
