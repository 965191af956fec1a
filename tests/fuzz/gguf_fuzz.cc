// libFuzzer target: any bytes are a GGUF file or a refusal of one line; what is
// accepted can be read in full, and written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "etalon/types.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "io/stored_type.h"
#include "io/untrusted_text.h"
#include "simd/finite_scan.h"

namespace etalon::io {
namespace {

// A broken property counts as a crash.
void Require(bool property) {
  if (!property) std::abort();
}

volatile uint64_t g_sink;

void RequireOneLine(std::string_view message) {
  Require(!message.empty());
  Require(!FirstControlByte(message) && !FirstBadUtf8(message));
}

void ReadKv(const GgufFile& file, const GgufKv& kv) {
  Require(file.Find(kv.key) == &kv.value);
  uint64_t sum = 0;
  const auto check = [&](const auto& result) {
    if (!result) RequireOneLine(result.error().message);
    sum += result.has_value();
  };
  check(file.GetUint(kv.key));
  check(file.GetUintOr(kv.key, 0));
  check(file.GetFloat(kv.key));
  check(file.GetFloatOr(kv.key, 0));
  check(file.GetBoolOr(kv.key, false));
  check(file.GetString(kv.key));
  check(file.GetStringOr(kv.key, ""));
  check(file.GetArray(kv.key));
  if (const auto s = file.GetString(kv.key)) {
    for (const char c : *s) sum += static_cast<uint8_t>(c);
  }
  if (const auto array = file.GetArray(kv.key)) {
    const GgufArray& a = **array;
    if (a.element_type == GgufType::kString) {
      uint64_t n = 0;
      for (const std::string_view s : a.strings()) {
        for (const char c : s) sum += static_cast<uint8_t>(c);
        ++n;
      }
      Require(n == a.count);
    } else {
      for (uint64_t i = 0; i < a.count; ++i) {
        sum += static_cast<uint64_t>(a.Integer(i)) + (a.Number(i) > 0);
      }
    }
  }
  g_sink = sum;
}

void ReadTensor(const GgufFile& file, const GgufTensor& t) {
  Require(file.FindTensor(t.name) == &t);
  Require(t.data == file.bytes().data() + t.offset);
  Require(t.n_bytes > 0 && t.n_bytes <= file.file_size() - t.offset);
  Require(t.offset % 8 == 0);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < t.n_bytes; ++i) {
    sum += std::to_integer<uint8_t>(t.data[i]);
  }
  if (const TypeTraits* traits = FindTypeTraits(t.type())) {
    const size_t n_blocks = t.n_bytes / traits->block_bytes;
    Require(n_blocks * traits->block_bytes == t.n_bytes);
    sum += simd::FirstNonFiniteBlock(t.type(), t.data, n_blocks).value_or(0);
  }
  g_sink = sum;
}

void WriteAndReadAgain(const GgufFile& file) {
  // A table of this size is written faster than fuzzed.
  if (file.kvs().size() + file.tensors().size() > 1000) return;
  GgufWriter writer(static_cast<uint32_t>(file.alignment()));
  for (const GgufKv& kv : file.kvs()) {
    Require(writer.AddKv(kv).has_value());
  }
  for (const GgufTensor& t : file.tensors()) {
    Require(writer
                .AddTensor(t.name, t.type_id, std::span(t.ne).first(t.n_dims),
                           std::span(t.data, t.n_bytes))
                .has_value());
  }
  const auto bytes = writer.ToBytes();
  Require(bytes.has_value());
  const auto again = GgufFile::Parse(*bytes);
  Require(again.has_value());
  Require(again->warnings().empty());
  Require(again->tensors().size() == file.tensors().size());
  for (const GgufKv& kv : file.kvs()) {
    const GgufValue* value = again->Find(kv.key);
    Require(kv.key == "general.alignment" ||
            (value != nullptr && value->type == kv.value.type));
  }
}

}  // namespace
}  // namespace etalon::io

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace etalon::io;
  const auto file =
      GgufFile::Parse(std::as_bytes(std::span<const uint8_t>(data, size)));
  if (!file) {
    RequireOneLine(file.error().message);
    return 0;
  }
  for (const std::string& w : file->warnings()) RequireOneLine(w);
  for (const GgufKv& kv : file->kvs()) ReadKv(*file, kv);
  for (const GgufTensor& t : file->tensors()) ReadTensor(*file, t);
  Require(file->Find("\x01") == nullptr);
  Require(file->FindTensor("\x01") == nullptr);
  WriteAndReadAgain(*file);
  return 0;
}
