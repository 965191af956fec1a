// Packs are untrusted: safetensors, manifests and profiles of any bytes are
// read or refused, and a case of a manifest that is read is judged or refused.
#include <cstdint>
#include <string>
#include <string_view>

#include "reference/golden/pack.h"

using namespace etalon;  // NOLINT: a fuzz target is one file

namespace {

void RunCases(golden::Manifest& m, const golden::TensorFile& got) {
  const auto profile = golden::FindShippedProfile("cpu-strict");
  if (!profile) __builtin_trap();
  for (golden::Case& c : m.cases) {
    size_t elements = 0;
    for (const golden::Input& i : c.inputs) {
      elements += golden::Elements(i.shape);
    }
    for (const golden::Output& o : c.outputs) {
      elements += golden::Elements(o.shape);
    }
    if (elements > 100000) continue;
    bool made = true;
    for (golden::Input& i : c.inputs) {
      auto data =
          i.recipe ? golden::Generate(*i.recipe, i.dtype, i.shape, c.seed)
                   : Expected<golden::Tensor>(golden::Tensor(i.dtype, i.shape));
      made &= data.has_value();
      if (made) i.data = std::move(*data);
    }
    if (!made) continue;
    // Nothing that was not computed may pass.
    const auto result = golden::JudgeCase(c, got, *profile, nullptr);
    if (!result.Failed() && result.status != golden::CaseStatus::kSkipped) {
      __builtin_trap();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> bytes(
      reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1,
                              size - 1);
  if (data[0] % 3 == 0) {
    if (auto file = golden::ReadSafetensors(bytes, "f")) {
      for (const auto& [name, t] : file->tensors) {
        if (t.bytes.size() != t.n() * golden::DTypeSize(t.dtype)) {
          __builtin_trap();
        }
      }
    }
  } else if (data[0] % 3 == 1) {
    if (auto m = golden::ReadManifest(text, "m")) RunCases(*m, {});
  } else {
    static_cast<void>(golden::ParseProfile(text, "p"));
  }
  return 0;
}
