// Header and metadata. Messages say: field with its index, the value found,
// "@" and the byte offset, the rule.
#include "io/gguf_parser.h"

#include <fmt/format.h>

#include <bit>
#include <new>
#include <utility>

#include "io/untrusted_text.h"

namespace etalon::io {
namespace {

constexpr uint64_t kHeaderBytes = 24;
// Smallest encodings: a bound on how many can follow, before anything of that
// number is allocated.
constexpr uint64_t kMinKvBytes = 8 + 1 + 4 + 1;  // key, type, u8
constexpr uint64_t kMinTensorInfoBytes = 8 + 1 + 4 + 8 + 4 + 8;
static_assert(kMaxTableBytes / sizeof(GgufKv) <= NameIndex::kMaxNames &&
              kMaxTableBytes / sizeof(GgufTensor) <= NameIndex::kMaxNames);

// 0 for strings and arrays.
size_t ScalarBytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return 0;
}

template <class T, class Wide>
bool ReadAs(Cursor& cursor, GgufValue& value) {
  T x;
  if (!cursor.Read(x)) return false;
  value.v = static_cast<Wide>(x);
  return true;
}

// Precondition: a number type.
bool ReadNumber(Cursor& cursor, GgufValue& value) {
  switch (value.type) {
    case GgufType::kU8:
      return ReadAs<uint8_t, uint64_t>(cursor, value);
    case GgufType::kI8:
      return ReadAs<int8_t, int64_t>(cursor, value);
    case GgufType::kU16:
      return ReadAs<uint16_t, uint64_t>(cursor, value);
    case GgufType::kI16:
      return ReadAs<int16_t, int64_t>(cursor, value);
    case GgufType::kU32:
      return ReadAs<uint32_t, uint64_t>(cursor, value);
    case GgufType::kI32:
      return ReadAs<int32_t, int64_t>(cursor, value);
    case GgufType::kU64:
      return ReadAs<uint64_t, uint64_t>(cursor, value);
    case GgufType::kI64:
      return ReadAs<int64_t, int64_t>(cursor, value);
    case GgufType::kF32:
      return ReadAs<float, double>(cursor, value);
    case GgufType::kF64:
      return ReadAs<double, double>(cursor, value);
    default:
      return false;
  }
}

std::string Truncated(const std::string& field, uint64_t pos, uint64_t size) {
  return fmt::format("{} @{}: truncated, the file ends at byte {}", field, pos,
                     size);
}

}  // namespace

Expected<GgufFile> GgufParser::Parse() {
  try {
    ETALON_RETURN_IF_ERROR(Header());
    file_.kvs_.reserve(n_kv_);
    file_.kv_index_.Reserve(n_kv_);
    for (uint64_t i = 0; i < n_kv_; ++i) ETALON_RETURN_IF_ERROR(Kv(i));
    file_.tensors_.reserve(n_tensors_);
    file_.tensor_index_.Reserve(n_tensors_);
    for (uint64_t i = 0; i < n_tensors_; ++i) {
      ETALON_RETURN_IF_ERROR(TensorInfo(i));
    }
    ETALON_RETURN_IF_ERROR(PlaceTensors());
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kLimit,
                fmt::format("metadata up to @{}: not enough memory for {} "
                            "keys and {} tensors",
                            cursor_.pos(), n_kv_, n_tensors_));
  }
  return std::move(file_);
}

Status GgufParser::Header() {
  const uint64_t size = file_.bytes_.size();
  std::string_view magic;
  if (!cursor_.Take(4, magic)) {
    return BadInput(fmt::format("magic @0: {}file is {} bytes, need {}",
                                size == 0 ? "" : "truncated, ", size,
                                kHeaderBytes));
  }
  if (magic != "GGUF") {
    return BadInput(fmt::format(
        "magic @0: \"{}\", need \"GGUF\": not a GGUF file", Printable(magic)));
  }
  if (!cursor_.Read(file_.version_)) {
    return BadInput(Truncated("version", 4, size));
  }
  const uint32_t version = file_.version_;
  if (version != 2 && version != 3) {
    if (version == 0x02000000 || version == 0x03000000) {
      return BadInput(fmt::format(
          "version @4: byte-swapped 0x{:08X}, need a little-endian file",
          version));
    }
    return BadInput(fmt::format("version @4: {}, need 2 or 3", version));
  }
  if (!cursor_.Read(n_tensors_)) {
    return BadInput(Truncated("n_tensors", 8, size));
  }
  if (!cursor_.Read(n_kv_)) return BadInput(Truncated("n_kv", 16, size));

  const auto check_count = [&](const char* field, uint64_t pos, uint64_t count,
                               uint64_t min_bytes,
                               uint64_t record_bytes) -> Status {
    const uint64_t fit = cursor_.remaining() / min_bytes;
    if (count > fit) {
      return BadInput(fmt::format(
          "{} @{} > limit: {} entries of at least {} bytes, the file has room "
          "for {}",
          field, pos, count, min_bytes, fit));
    }
    if (!Charge(count, record_bytes)) {
      return BadInput(fmt::format(
          "{} @{} > limit: {} entries, the tables may take {} MiB in memory",
          field, pos, count, kMaxTableBytes >> 20));
    }
    return {};
  };
  ETALON_RETURN_IF_ERROR(check_count("n_tensors", 8, n_tensors_,
                                     kMinTensorInfoBytes, sizeof(GgufTensor)));
  return check_count("n_kv", 16, n_kv_, kMinKvBytes, sizeof(GgufKv));
}

bool GgufParser::Charge(uint64_t count, uint64_t bytes) {
  if (count > (kMaxTableBytes - table_bytes_) / bytes) return false;
  table_bytes_ += count * bytes;
  return true;
}

Status GgufParser::Kv(uint64_t i) {
  GgufKv kv;
  const uint64_t key_pos = cursor_.pos();
  ETALON_RETURN_IF_ERROR(KvKey(i, kv.key));
  const auto earlier = file_.kv_index_.Insert(
      kv.key, i,
      [&](size_t p) -> std::string_view { return file_.kvs_[p].key; });
  if (earlier) {
    return BadInput(fmt::format("kv[{}] key \"{}\" @{}: duplicate of kv[{}]", i,
                                Printable(kv.key), key_pos, *earlier));
  }
  ETALON_RETURN_IF_ERROR(KvValue(i, kv.value));
  ETALON_RETURN_IF_ERROR(FormatKey(i, kv, key_pos));
  file_.kvs_.push_back(std::move(kv));
  return {};
}

Status GgufParser::KvKey(uint64_t i, std::string_view& key) {
  const uint64_t pos = cursor_.pos();
  const auto at = [&] { return fmt::format("kv[{}] key", i); };
  uint64_t length;
  if (!cursor_.Read(length)) {
    return BadInput(Truncated(at(), pos, file_.bytes_.size()));
  }
  if (length == 0) {
    return BadInput(
        fmt::format("{} empty @{}: need 1..{} bytes", at(), pos, kMaxKeyBytes));
  }
  if (length > kMaxKeyBytes) {
    return BadInput(
        fmt::format("{} length {} > {} @{}", at(), length, kMaxKeyBytes, pos));
  }
  if (!cursor_.Take(length, key)) {
    return BadInput(fmt::format("{} length {} > {} bytes remaining @{}", at(),
                                length, cursor_.remaining(), pos));
  }
  if (const auto bad = FirstControlByte(key)) {
    return BadInput(
        fmt::format("{} has byte 0x{:02X} @{}: control bytes are not allowed",
                    at(), static_cast<uint8_t>(key[*bad]), pos + 8 + *bad));
  }
  if (const auto bad = FirstBadUtf8(key)) {
    return BadInput(fmt::format("{} not UTF-8: byte 0x{:02X} @{}", at(),
                                static_cast<uint8_t>(key[*bad]),
                                pos + 8 + *bad));
  }
  return {};
}

Status GgufParser::KvValue(uint64_t i, GgufValue& value) {
  const uint64_t type_pos = cursor_.pos();
  uint32_t type;
  if (!cursor_.Read(type)) {
    return BadInput(Truncated(fmt::format("kv[{}] type", i), type_pos,
                              file_.bytes_.size()));
  }
  if (type > static_cast<uint32_t>(GgufType::kF64)) {
    return BadInput(
        fmt::format("kv[{}] type {} @{}: need 0..12", i, type, type_pos));
  }
  value.type = static_cast<GgufType>(type);
  const uint64_t pos = cursor_.pos();
  bool complete = true;
  switch (value.type) {
    case GgufType::kString: {
      std::string_view s;
      ETALON_RETURN_IF_ERROR(KvString(i, s));
      value.v = s;
      break;
    }
    case GgufType::kArray: {
      GgufArray array;
      ETALON_RETURN_IF_ERROR(KvArray(i, array));
      value.v = std::move(array);
      break;
    }
    case GgufType::kBool: {
      uint8_t b = 0;
      complete = cursor_.Read(b);
      if (b > 1) {
        return BadInput(
            fmt::format("kv[{}] bool {} @{}: need 0 or 1", i, b, pos));
      }
      value.v = b == 1;
      break;
    }
    default:
      complete = ReadNumber(cursor_, value);
  }
  if (!complete) {
    return BadInput(
        Truncated(fmt::format("kv[{}] {} value", i, GgufTypeName(value.type)),
                  pos, file_.bytes_.size()));
  }
  return {};
}

Status GgufParser::KvString(uint64_t i, std::string_view& value) {
  const uint64_t pos = cursor_.pos();
  uint64_t length;
  if (!cursor_.Read(length)) {
    return BadInput(Truncated(fmt::format("kv[{}] string length", i), pos,
                              file_.bytes_.size()));
  }
  if (length > kMaxStringBytes) {
    return BadInput(fmt::format("kv[{}] string length {} > {} @{}", i, length,
                                kMaxStringBytes, pos));
  }
  if (!cursor_.Take(length, value)) {
    return BadInput(
        fmt::format("kv[{}] string length {} > remaining {} bytes @{}", i,
                    length, cursor_.remaining(), pos));
  }
  return {};
}

Status GgufParser::KvArray(uint64_t i, GgufArray& array) {
  const uint64_t type_pos = cursor_.pos();
  uint32_t type;
  if (!cursor_.Read(type)) {
    return BadInput(Truncated(fmt::format("kv[{}] array type", i), type_pos,
                              file_.bytes_.size()));
  }
  if (type == static_cast<uint32_t>(GgufType::kArray)) {
    return BadInput(fmt::format(
        "kv[{}] nested array @{}: arrays of arrays are not supported", i,
        type_pos));
  }
  if (type > static_cast<uint32_t>(GgufType::kF64)) {
    return BadInput(fmt::format("kv[{}] array element type {} @{}: need 0..12",
                                i, type, type_pos));
  }
  array.element_type = static_cast<GgufType>(type);
  const uint64_t count_pos = cursor_.pos();
  if (!cursor_.Read(array.count)) {
    return BadInput(Truncated(fmt::format("kv[{}] array count", i), count_pos,
                              file_.bytes_.size()));
  }
  const bool strings = array.element_type == GgufType::kString;
  const uint64_t min_bytes = strings ? 8 : ScalarBytes(array.element_type);
  if (array.count > cursor_.remaining() / min_bytes) {
    return BadInput(fmt::format(
        "kv[{}] array count {} @{}: {} elements of at least {} bytes > "
        "remaining {} bytes",
        i, array.count, count_pos, GgufTypeName(array.element_type), min_bytes,
        cursor_.remaining()));
  }
  if (strings) {
    const uint64_t begin = cursor_.pos();
    for (uint64_t k = 0; k < array.count; ++k) {
      const uint64_t pos = cursor_.pos();
      uint64_t length;
      std::string_view s;
      if (!cursor_.Read(length)) {
        return BadInput(
            Truncated(fmt::format("kv[{}] array[{}] string length", i, k), pos,
                      file_.bytes_.size()));
      }
      if (length > kMaxStringBytes || !cursor_.Take(length, s)) {
        return BadInput(fmt::format(
            "kv[{}] array[{}] string length {} > {} @{}", i, k, length,
            length > kMaxStringBytes
                ? fmt::format("{}", kMaxStringBytes)
                : fmt::format("remaining {} bytes", cursor_.remaining()),
            pos));
      }
    }
    array.raw = file_.bytes_.subspan(begin, cursor_.pos() - begin);
    return {};
  }
  const uint64_t pos = cursor_.pos();
  // Cannot fail or wrap: count <= remaining / element size.
  if (!cursor_.Take(array.count * min_bytes, array.raw)) {
    return Fail(ErrorCode::kInternal, "array bounds");
  }
  if (array.element_type == GgufType::kBool) {
    for (uint64_t k = 0; k < array.count; ++k) {
      if (const auto b = std::to_integer<uint8_t>(array.raw[k]); b > 1) {
        return BadInput(fmt::format("kv[{}] array[{}] bool {} @{}: need 0 or 1",
                                    i, k, b, pos + k));
      }
    }
  }
  return {};
}

Status GgufParser::FormatKey(uint64_t i, const GgufKv& kv, uint64_t key_pos) {
  const std::string_view type = GgufTypeName(kv.value.type);
  if (kv.key == "general.alignment") {
    if (kv.value.type != GgufType::kU32) {
      return BadInput(
          fmt::format("general.alignment type {}, need u32 (kv[{}] @{})", type,
                      i, key_pos));
    }
    const uint64_t a = std::get<uint64_t>(kv.value.v);
    if (a > kMaxAlignment) {
      return BadInput(fmt::format("general.alignment > {}: {} (kv[{}] @{})",
                                  kMaxAlignment, a, i, key_pos));
    }
    // The format asks for a multiple of 8, so that any number can be read in
    // place.
    if (!std::has_single_bit(a) || a < 8) {
      return BadInput(
          fmt::format("general.alignment not 2^k of 8..{}: {} (kv[{}] @{})",
                      kMaxAlignment, a, i, key_pos));
    }
    file_.alignment_ = a;
  }
  if (kv.key == "split.count" || kv.key == "split.no") {
    const auto* n = std::get_if<uint64_t>(&kv.value.v);
    const uint64_t last = kv.key == "split.count" ? 1 : 0;
    if (n == nullptr) {
      return BadInput(fmt::format("{} type {}, need u16 (kv[{}] @{})", kv.key,
                                  type, i, key_pos));
    }
    if (*n > last) {
      return BadInput(fmt::format(
          "{} {} (kv[{}] @{}): split parts are unsupported, at most {}; merge "
          "them into one file first",
          kv.key, *n, i, key_pos, last));
    }
  }
  return {};
}

}  // namespace etalon::io
