// Lookup and typed access; the checks are in gguf_parser.cc and
// gguf_tensor_table.cc.
#include "io/gguf.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "io/gguf_parser.h"
#include "io/mapped_file.h"
#include "io/untrusted_text.h"

namespace etalon::io {
namespace {

constexpr std::string_view kTypeNames[] = {
    "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
    "bool", "string", "array", "u64", "i64", "f64"};

template <class T>
T Element(const GgufArray& array, uint64_t i) {
  ETALON_DCHECK(i < array.raw.size() / sizeof(T));
  T x;
  std::memcpy(&x, array.raw.data() + i * sizeof(T), sizeof(T));
  return x;
}

// Calls fn with element i in its own type; T{} stands for strings.
template <class R, class Fn>
R WithElement(const GgufArray& a, uint64_t i, Fn fn) {
  switch (a.element_type) {
    case GgufType::kU8:
    case GgufType::kBool:
      return fn(Element<uint8_t>(a, i));
    case GgufType::kI8:
      return fn(Element<int8_t>(a, i));
    case GgufType::kU16:
      return fn(Element<uint16_t>(a, i));
    case GgufType::kI16:
      return fn(Element<int16_t>(a, i));
    case GgufType::kU32:
      return fn(Element<uint32_t>(a, i));
    case GgufType::kI32:
      return fn(Element<int32_t>(a, i));
    case GgufType::kF32:
      return fn(Element<float>(a, i));
    case GgufType::kU64:
      return fn(Element<uint64_t>(a, i));
    case GgufType::kI64:
      return fn(Element<int64_t>(a, i));
    case GgufType::kF64:
      return fn(Element<double>(a, i));
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return R{};
}

template <class T>
int64_t Saturate(T x) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(x)) return 0;
    if (x >= static_cast<T>(0x1p63)) return kMax;
    if (x < static_cast<T>(-0x1p63)) return kMin;
    return static_cast<int64_t>(x);
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return x > static_cast<uint64_t>(kMax) ? kMax : static_cast<int64_t>(x);
  } else {
    return x;
  }
}

tl::unexpected<Error> Missing(std::string_view key) {
  return BadInput(fmt::format("{} missing", Printable(key)));
}

tl::unexpected<Error> WrongType(std::string_view key, const GgufValue& value,
                                std::string_view need) {
  return BadInput(fmt::format("{} type {}, need {}", Printable(key),
                              GgufTypeName(value.type), need));
}

Expected<uint64_t> AsUint(std::string_view key, const GgufValue& value) {
  if (const auto* u = std::get_if<uint64_t>(&value.v)) return *u;
  if (const auto* i = std::get_if<int64_t>(&value.v)) {
    if (*i >= 0) return static_cast<uint64_t>(*i);
    return BadInput(fmt::format("{} {} < 0", Printable(key), *i));
  }
  return WrongType(key, value, "u32");
}

Expected<float> AsFloat(std::string_view key, const GgufValue& value) {
  const auto* f = std::get_if<double>(&value.v);
  if (f == nullptr) return WrongType(key, value, "f32");
  // f64 beyond f32: Inf, said rather than left to the conversion.
  constexpr double kMax = std::numeric_limits<float>::max();
  if (std::isfinite(*f) && std::abs(*f) > kMax) {
    return BadInput(fmt::format("{} {} does not fit f32", Printable(key), *f));
  }
  return static_cast<float>(*f);
}

Expected<std::string_view> AsString(std::string_view key,
                                    const GgufValue& value) {
  const auto* s = std::get_if<std::string_view>(&value.v);
  if (s == nullptr) return WrongType(key, value, "string");
  return *s;
}

}  // namespace

std::string_view GgufTypeName(GgufType type) {
  const auto i = static_cast<size_t>(type);
  return i < std::size(kTypeNames) ? kTypeNames[i] : "unknown";
}

double GgufArray::Number(uint64_t i) const {
  return WithElement<double>(*this, i,
                             [](auto x) { return static_cast<double>(x); });
}

int64_t GgufArray::Integer(uint64_t i) const {
  return WithElement<int64_t>(*this, i, [](auto x) { return Saturate(x); });
}

struct GgufFile::Mapping {
  MappedFile file;
};

GgufFile::GgufFile() = default;
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

Expected<GgufFile> GgufFile::Open(const std::string& path) {
  ETALON_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto result = Parse(file.bytes());
  if (!result) {
    return Fail(result.error().code,
                Printable(path, 400) + ": " + result.error().message);
  }
  result->mapping_ = std::make_unique<Mapping>(Mapping{std::move(file)});
  return result;
}

Expected<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes) {
  return GgufParser(bytes).Parse();
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto i = kv_index_.Find(key, [&](size_t p) { return kvs_[p].key; });
  return i ? &kvs_[*i].value : nullptr;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto i =
      tensor_index_.Find(name, [&](size_t p) { return tensors_[p].name; });
  return i ? &tensors_[*i] : nullptr;
}

Expected<uint64_t> GgufFile::GetUint(std::string_view key) const {
  const GgufValue* value = Find(key);
  return value ? AsUint(key, *value) : Missing(key);
}

Expected<uint64_t> GgufFile::GetUintOr(std::string_view key,
                                       uint64_t def) const {
  const GgufValue* value = Find(key);
  return value ? AsUint(key, *value) : def;
}

Expected<float> GgufFile::GetFloat(std::string_view key) const {
  const GgufValue* value = Find(key);
  return value ? AsFloat(key, *value) : Missing(key);
}

Expected<float> GgufFile::GetFloatOr(std::string_view key, float def) const {
  const GgufValue* value = Find(key);
  return value ? AsFloat(key, *value) : def;
}

Expected<bool> GgufFile::GetBoolOr(std::string_view key, bool def) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return def;
  const auto* b = std::get_if<bool>(&value->v);
  if (b == nullptr) return WrongType(key, *value, "bool");
  return *b;
}

Expected<std::string_view> GgufFile::GetString(std::string_view key) const {
  const GgufValue* value = Find(key);
  return value ? AsString(key, *value) : Missing(key);
}

Expected<std::string_view> GgufFile::GetStringOr(std::string_view key,
                                                 std::string_view def) const {
  const GgufValue* value = Find(key);
  return value ? AsString(key, *value) : def;
}

Expected<const GgufArray*> GgufFile::GetArray(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return nullptr;
  const auto* array = std::get_if<GgufArray>(&value->v);
  if (array == nullptr) return WrongType(key, *value, "array");
  return array;
}

}  // namespace etalon::io
