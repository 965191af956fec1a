// `etalon info`: the machine, and with -m a model file: its header, its
// tensors, and the kernel each tensor type runs on here.
#include <fmt/format.h>

#include <map>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "core/cpu_info.h"
#include "etalon/version.h"
#include "io/stored_type.h"
#include "simd/gemm.h"

namespace etalon::cli {
namespace {

std::string Line(std::string_view name, std::string_view value) {
  return fmt::format("{}: {}\n", name, value);
}

Expected<std::string> MachineInfo(const EngineOptions& options) {
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(options));
  std::vector<std::string_view> tiers;
  for (const SimdTier tier : SupportedSimdTiers()) {
    tiers.push_back(SimdTierName(tier));
  }
  return Line("etalon", kVersion) + Line("cpu", CpuModelName()) +
         Line("features", CpuFeatureList()) +
         Line("tiers", fmt::format("{}", fmt::join(tiers, " "))) +
         Line("kernels", SimdTierName(ActiveSimdTier())) +
         Line("threads", engine.threads_reason.starts_with(
                             fmt::format("{} ", engine.n_threads))
                             ? engine.threads_reason
                             : fmt::format("{} ({})", engine.n_threads,
                                           engine.threads_reason));
}

// One line per value, long ones cut: a listing, not a dump.
std::string ValueText(const io::GgufValue& value) {
  constexpr size_t kMaxText = 100;
  struct Visitor {
    std::string operator()(uint64_t x) const { return fmt::format("{}", x); }
    std::string operator()(int64_t x) const { return fmt::format("{}", x); }
    std::string operator()(double x) const {
      return fmt::format("{}", static_cast<float>(x));
    }
    std::string operator()(bool x) const { return x ? "true" : "false"; }
    std::string operator()(std::string_view x) const {
      std::string out = "\"";
      for (const char c : x.substr(0, kMaxText)) {
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
      }
      return out + (x.size() > kMaxText ? "\" ..." : "\"");
    }
    std::string operator()(const io::GgufArray& a) const {
      return fmt::format("[{} x {}]", a.count,
                         io::GgufTypeName(a.element_type));
    }
  };
  return std::visit(Visitor(), value.v);
}

std::string TensorLine(const io::GgufTensor& t) {
  const std::vector<uint64_t> ne(t.ne.begin(), t.ne.begin() + t.n_dims);
  return fmt::format("  {:40} {:>6} [{}]\n", t.name,
                     io::StoredTypeName(t.type_id), fmt::join(ne, ", "));
}

// "Q4_K x Q8_K" on the active tier; what a product with this type runs.
std::string KernelText(TensorType type) {
  const std::string_view activations =
      IsQuantized(type) ? TypeName(simd::ActivationTypeFor(type)) : "F32";
  return fmt::format("{} x {} on {}", TypeName(type), activations,
                     SimdTierName(ActiveSimdTier()));
}

std::string ModelInfo(const io::GgufFile& file) {
  std::string out = fmt::format(
      "gguf: version {}, {} keys, {} tensors, alignment {}, {} bytes\n",
      file.version(), file.kvs().size(), file.tensors().size(),
      file.alignment(), file.file_size());
  out += "keys:\n";
  for (const io::GgufKv& kv : file.kvs()) {
    out += fmt::format("  {} = {}\n", kv.key, ValueText(kv.value));
  }
  struct Total {
    size_t count = 0;
    uint64_t elements = 0;
    uint64_t bytes = 0;
  };
  std::map<uint32_t, Total> totals;
  uint64_t n_params = 0;
  out += "tensors:\n";
  for (const io::GgufTensor& t : file.tensors()) {
    out += TensorLine(t);
    const uint64_t n = t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3];
    Total& total = totals[t.type_id];
    ++total.count;
    total.elements += n;
    total.bytes += t.n_bytes;
    n_params += n;
  }
  out += fmt::format("parameters: {}\n", n_params);
  out += "types:\n";
  for (const auto& [id, total] : totals) {
    const auto type = static_cast<TensorType>(id);
    const bool known =
        FindTypeTraits(type) != nullptr && type != TensorType::kQ8_K;
    out += fmt::format("  {:6} {:5} tensors {:14} bytes  kernel: {}\n",
                       io::StoredTypeName(id), total.count, total.bytes,
                       known ? KernelText(type) : "none (not supported)");
  }
  return out;
}

Expected<int> RunInfo(const EngineOptions& options) {
  ETALON_ASSIGN_OR_RETURN(std::string text, MachineInfo(options));
  if (!options.model_path.empty()) {
    ETALON_ASSIGN_OR_RETURN(const io::GgufFile file,
                            io::GgufFile::Open(options.model_path));
    text += Line("model", options.model_path) + ModelInfo(file);
    for (const std::string& warning : file.warnings()) {
      text += Line("warning", warning);
    }
  }
  ETALON_RETURN_IF_ERROR(WriteStdout(text));
  return kExitOk;
}

}  // namespace

Action AddInfo(CLI::App& app) {
  auto o = std::make_shared<EngineOptions>();
  CLI::App* command =
      app.add_subcommand("info", "this machine, and with -m a model file");
  o->AddModel(*command);
  o->AddCompute(*command);
  return [o] { return RunInfo(*o); };
}

}  // namespace etalon::cli
