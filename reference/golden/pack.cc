#include "reference/golden/pack.h"

#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <map>

#include "reference/golden/fingerprint.h"
#include "reference/golden/sha256.h"
#include "reference/golden/suite.h"

namespace etalon::golden {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The digest of a path in SHA256SUMS; empty: not listed.
std::string FindDigest(std::string_view sums, std::string_view path) {
  while (!sums.empty()) {
    const size_t end = std::min(sums.find('\n'), sums.size());
    const std::string_view line = sums.substr(0, end);
    if (line.size() == 66 + path.size() && line.substr(66) == path) {
      return std::string(line.substr(0, 64));
    }
    sums.remove_prefix(std::min(end + 1, sums.size()));
  }
  return "";
}

Status CheckDigest(std::span<const std::byte> bytes, const std::string& want,
                   const std::string& name) {
  if (const std::string got = Sha256Hex(bytes); got != want) {
    return BadInput(fmt::format("{}: SHA-256 is {}, want {}", name, got, want));
  }
  return {};
}

}  // namespace

std::string StrictDigest(const Tensor& t) {
  if (t.dtype != DType::kF32) return Sha256Hex(t.bytes);
  Tensor canonical = t;
  for (float& x : canonical.As<float>()) {
    if (std::isnan(x)) x = std::bit_cast<float>(0x7FC00000u);
  }
  return Sha256Hex(canonical.bytes);
}

Status CompleteCase(Case& c, const Subject& strict) {
  ETALON_RETURN_IF_ERROR(MakeInputs(c));
  if (c.kind == CaseKind::kProcedural) return {};
  ETALON_RETURN_IF_ERROR(Expect(c));
  ETALON_ASSIGN_OR_RETURN(TensorFile bits, Run(c, strict));
  for (Output& out : c.outputs) {
    const Tensor* t = bits.Find(out.name);
    out.strict_sha256 = StrictDigest(*t);
    if (c.kind == CaseKind::kStored && out.judge != Judge::kExact) {
      c.expected.Add(out.name + ".strict", *t);
    }
  }
  return {};
}

std::vector<std::byte> CaseFile(const Case& c) {
  TensorFile file;
  for (const Input& i : c.inputs) {
    if (c.kind == CaseKind::kStored || !i.recipe) file.Add(i.name, i.data);
  }
  for (const auto& [name, t] : c.expected.tensors) file.Add(name, t);
  return WriteSafetensors(file);
}

PackWriter::PackWriter(std::string_view suite, WriteFile write)
    : write_(std::move(write)) {
  manifest_.suite = suite;
}

Status PackWriter::Add(Case c) {
  if (c.kind != CaseKind::kProcedural) {
    const std::vector<std::byte> bytes = CaseFile(c);
    c.file_sha256 = Sha256Hex(bytes);
    ETALON_RETURN_IF_ERROR(write_(c.path(), bytes));
  }
  for (Input& i : c.inputs) i.data = {};
  c.expected = {};
  manifest_.cases.push_back(std::move(c));
  return {};
}

Status PackWriter::Finish() {
  std::string sums;
  const auto put = [&](const std::string& path,
                       std::string_view text) -> Status {
    sums += fmt::format("{}  {}\n", Sha256Hex(Bytes(text)), path);
    return write_(path, Bytes(text));
  };
  for (const ShippedProfile& p : ShippedProfiles()) {
    manifest_.profiles.emplace_back(p.name);
    ETALON_RETURN_IF_ERROR(
        put(fmt::format("profiles/{}.json", p.name), p.json));
  }
  ETALON_RETURN_IF_ERROR(put("manifest.json", WriteManifest(manifest_)));
  return write_("SHA256SUMS", Bytes(sums));
}

Status MakePack(std::string_view suite, const Subject& strict,
                const WriteFile& write, const Progress& progress) {
  PackWriter writer(suite, write);
  ETALON_ASSIGN_OR_RETURN(std::vector<Case> cases, DescribeSuite(suite));
  for (size_t i = 0; i < cases.size(); ++i) {
    ETALON_RETURN_IF_ERROR(CompleteCase(cases[i], strict));
    ETALON_RETURN_IF_ERROR(writer.Add(std::move(cases[i])));
    if (progress && !progress(i + 1, cases.size())) return {};
  }
  return writer.Finish();
}

Expected<Manifest> ReadPack(const ReadFile& read) {
  ETALON_ASSIGN_OR_RETURN(const auto sums, read("SHA256SUMS"));
  ETALON_ASSIGN_OR_RETURN(const auto json, read("manifest.json"));
  const std::string want = FindDigest(Text(sums), "manifest.json");
  if (want.empty()) return BadInput("SHA256SUMS: no line for manifest.json");
  ETALON_RETURN_IF_ERROR(CheckDigest(json, want, "manifest.json"));
  ETALON_ASSIGN_OR_RETURN(Manifest m,
                          ReadManifest(Text(json), "manifest.json"));
  for (const std::string& p : m.profiles) {
    const std::string path = "profiles/" + p + ".json";
    ETALON_ASSIGN_OR_RETURN(const auto profile, read(path));
    ETALON_RETURN_IF_ERROR(
        CheckDigest(profile, FindDigest(Text(sums), path), path));
  }
  return m;
}

Status LoadCase(const ReadFile& read, Case& c) {
  TensorFile file;
  if (c.kind != CaseKind::kProcedural) {
    ETALON_ASSIGN_OR_RETURN(const auto bytes, read(c.path()));
    ETALON_RETURN_IF_ERROR(CheckDigest(bytes, c.file_sha256, c.path()));
    ETALON_ASSIGN_OR_RETURN(file, ReadSafetensors(bytes, c.path()));
  }
  for (Input& i : c.inputs) {
    const Tensor* stored = file.Find(i.name);
    if (stored != nullptr) {
      if (stored->dtype != i.dtype || stored->shape != i.shape) {
        return BadInput(fmt::format(
            "{}: input {} is {} {}, the manifest says {} {}", c.path(), i.name,
            DTypeName(stored->dtype), ShapeText(stored->shape),
            DTypeName(i.dtype), ShapeText(i.shape)));
      }
      i.data = *stored;
    } else if (i.recipe && c.kind != CaseKind::kStored) {
      ETALON_ASSIGN_OR_RETURN(i.data,
                              Generate(*i.recipe, i.dtype, i.shape, c.seed));
    } else if (c.kind == CaseKind::kProcedural) {
      // What has no recipe is made along with the description.
      ETALON_ASSIGN_OR_RETURN(const Case described,
                              DescribeCase(c.op, c.seed % 1000003));
      const Input* again = described.FindInput(i.name);
      if (again == nullptr || again->data.bytes.empty() ||
          again->shape != i.shape || again->dtype != i.dtype) {
        return BadInput(fmt::format("case {}: input {} is no procedural one",
                                    c.id, i.name));
      }
      i.data = again->data;
    } else {
      return BadInput(fmt::format("{}: input {} is missing", c.path(), i.name));
    }
    ETALON_RETURN_IF_ERROR(
        CheckDigest(i.data.bytes, i.sha256,
                    fmt::format("case {}: input {}", c.id, i.name)));
  }
  if (c.kind == CaseKind::kProcedural) return Expect(c);
  c.expected = std::move(file);
  return {};
}

namespace {

// Adds to a result that passed the bound whether its bits are the strict ones.
void JudgeBits(const Case& c, const TensorFile& got, CaseResult& result) {
  if (result.Failed() || result.status == CaseStatus::kSkipped) return;
  for (const Output& out : c.outputs) {
    const Tensor* t = got.Find(out.name);
    if (out.strict_sha256.empty() || t == nullptr) continue;
    if (StrictDigest(*t) == out.strict_sha256) continue;
    result.status = CaseStatus::kFail;
    result.message = fmt::format(
        "{}: within its bound, but the bits are not those of cpu-strict",
        out.name);
  }
}

// Every bug of the catalogue is run on a failing case: of each op only this
// many, so that a port that fails everywhere is told so in seconds.
constexpr size_t kFingerprintsPerOp = 8;

CaseResult CheckCase(const ReadFile& read, const CheckOptions& o, Case& c,
                     Fits& fits,
                     std::map<std::string, size_t>& n_fingerprinted) {
  if (const std::string reason = SkipReason(c, o.profile); !reason.empty()) {
    return Unjudged(c, CaseStatus::kSkipped, reason);
  }
  if (Status s = LoadCase(read, c); !s) {
    return Unjudged(c, CaseStatus::kError, s.error().message);
  }
  TensorFile got;
  if (o.subject != nullptr) {
    auto ran = Run(c, *o.subject);
    if (!ran) {
      if (ran.error().code == ErrorCode::kUnsupported) {
        return Unjudged(c, CaseStatus::kSkipped, ran.error().message);
      }
      const bool padding = ran.error().code == ErrorCode::kInvalidArgument;
      return Unjudged(c, padding ? CaseStatus::kFail : CaseStatus::kError,
                      ran.error().message);
    }
    got = std::move(*ran);
  } else {
    const std::string path = c.id + ".safetensors";
    const auto bytes = o.got(path);
    if (!bytes) return Unjudged(c, CaseStatus::kError, bytes.error().message);
    auto file = ReadSafetensors(*bytes, path);
    if (!file) return Unjudged(c, CaseStatus::kError, file.error().message);
    got = std::move(*file);
  }
  CaseResult result = JudgeCase(c, got, o.profile, &fits);
  if (o.strict_bits) JudgeBits(c, got, result);
  if (o.fingerprints && result.status == CaseStatus::kFail &&
      n_fingerprinted[c.op] < kFingerprintsPerOp) {
    ++n_fingerprinted[c.op];
    result.fingerprints = FindFingerprints(c, got, o.profile);
  }
  return result;
}

}  // namespace

Expected<CheckResult> CheckPack(const ReadFile& read, CheckOptions options) {
  const auto start = std::chrono::steady_clock::now();
  ETALON_ASSIGN_OR_RETURN(Manifest m, ReadPack(read));
  if (!options.only.empty()) {
    std::erase_if(m.cases, [&](const Case& c) { return c.id != options.only; });
    if (m.cases.empty()) {
      return BadInput(fmt::format("--case {}: not in the pack", options.only));
    }
  }
  CheckResult r;
  r.suite = m.suite;
  r.profile = options.profile.p.name;
  r.profile_source = options.profile.source;
  if (options.subject != nullptr) r.subject = options.subject->name;
  Fits fits;
  std::map<std::string, size_t> n_fingerprinted;
  for (size_t i = 0; i < m.cases.size(); ++i) {
    // One case in memory at a time.
    Case c = std::move(m.cases[i]);
    CaseResult result = CheckCase(read, options, c, fits, n_fingerprinted);
    switch (result.status) {
      case CaseStatus::kPass:
        ++r.n_pass;
        break;
      case CaseStatus::kWarn:
        ++r.n_warn;
        break;
      case CaseStatus::kFail:
        ++r.n_fail;
        break;
      case CaseStatus::kError:
        ++r.n_error;
        break;
      case CaseStatus::kSkipped:
        ++r.n_skipped;
        break;
    }
    for (const OutputResult& o : result.outputs) r.n_elements += o.n;
    r.cases.push_back(std::move(result));
    if (options.progress && !options.progress(i + 1, m.cases.size())) {
      return Fail(ErrorCode::kInternal, "interrupted");
    }
  }
  r.fits = fits.Solve();
  r.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  return r;
}

}  // namespace etalon::golden
