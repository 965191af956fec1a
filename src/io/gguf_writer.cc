#include "io/gguf_writer.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <utility>

#include "io/atomic_file.h"
#include "io/gguf_parser.h"
#include "io/stored_type.h"
#include "io/untrusted_text.h"

namespace etalon::io {
namespace {

// Both tables together stay within kMaxTableBytes.
constexpr uint64_t kMaxEntries = uint64_t{1} << 18;
static_assert(kMaxEntries * (sizeof(GgufKv) + sizeof(GgufTensor)) <=
              kMaxTableBytes);

void Append(std::vector<std::byte>& out, std::span<const std::byte> raw) {
  if (raw.empty()) return;
  const size_t at = out.size();
  out.resize(at + raw.size());
  std::memcpy(out.data() + at, raw.data(), raw.size());
}

template <class T>
void Put(std::vector<std::byte>& out, T value) {
  Append(out, std::as_bytes(std::span<const T>(&value, 1)));
}

void PutString(std::vector<std::byte>& out, std::string_view s) {
  Put<uint64_t>(out, s.size());
  Append(out, std::as_bytes(std::span(s)));
}

Status CheckText(const char* what, std::string_view text, uint64_t max_bytes) {
  ETALON_ENSURE(!text.empty() && text.size() <= max_bytes,
                fmt::format("{} \"{}\" of {} bytes, need 1..{}", what,
                            Printable(text), text.size(), max_bytes));
  ETALON_ENSURE(!FirstControlByte(text) && !FirstBadUtf8(text),
                fmt::format("{} \"{}\" is not UTF-8 without control bytes",
                            what, Printable(text)));
  return {};
}

Status CheckString(std::string_view key, std::string_view value) {
  ETALON_ENSURE(value.size() <= kMaxStringBytes,
                fmt::format("{}: string of {} bytes, at most {}",
                            Printable(key), value.size(), kMaxStringBytes));
  return {};
}

}  // namespace

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
  // A wrong one is reported by WriteTo: constructors return nothing.
  if (alignment_ != 32) {
    PutString(kvs_, "general.alignment");
    Put<uint32_t>(kvs_, static_cast<uint32_t>(GgufType::kU32));
    Put<uint32_t>(kvs_, alignment_);
    n_kv_ = 1;
  }
  keys_.insert("general.alignment");
}

Status GgufWriter::BeginKv(std::string_view key, GgufType type) {
  ETALON_RETURN_IF_ERROR(CheckText("key", key, kMaxKeyBytes));
  ETALON_ENSURE(n_kv_ < kMaxEntries, "too many keys");
  ETALON_ENSURE(keys_.emplace(key).second,
                fmt::format("key \"{}\" twice", Printable(key)));
  PutString(kvs_, key);
  Put<uint32_t>(kvs_, static_cast<uint32_t>(type));
  ++n_kv_;
  return {};
}

Status GgufWriter::BeginArray(std::string_view key, GgufType type,
                              uint64_t count) {
  ETALON_RETURN_IF_ERROR(BeginKv(key, GgufType::kArray));
  Put<uint32_t>(kvs_, static_cast<uint32_t>(type));
  Put<uint64_t>(kvs_, count);
  return {};
}

Status GgufWriter::PutNumber(std::string_view key, GgufType type,
                             std::span<const std::byte> raw) {
  ETALON_RETURN_IF_ERROR(BeginKv(key, type));
  Append(kvs_, raw);
  return {};
}

Status GgufWriter::PutArray(std::string_view key, GgufType type, uint64_t count,
                            std::span<const std::byte> raw) {
  ETALON_RETURN_IF_ERROR(BeginArray(key, type, count));
  Append(kvs_, raw);
  return {};
}

Status GgufWriter::AddBool(std::string_view key, bool value) {
  ETALON_RETURN_IF_ERROR(BeginKv(key, GgufType::kBool));
  Put<uint8_t>(kvs_, value ? 1 : 0);
  return {};
}

Status GgufWriter::AddString(std::string_view key, std::string_view value) {
  ETALON_RETURN_IF_ERROR(CheckString(key, value));
  ETALON_RETURN_IF_ERROR(BeginKv(key, GgufType::kString));
  PutString(kvs_, value);
  return {};
}

Status GgufWriter::AddBools(std::string_view key,
                            const std::vector<bool>& values) {
  ETALON_RETURN_IF_ERROR(BeginArray(key, GgufType::kBool, values.size()));
  for (const bool b : values) Put<uint8_t>(kvs_, b ? 1 : 0);
  return {};
}

Status GgufWriter::AddStrings(std::string_view key,
                              std::span<const std::string> values) {
  for (const std::string& s : values) {
    ETALON_RETURN_IF_ERROR(CheckString(key, s));
  }
  ETALON_RETURN_IF_ERROR(BeginArray(key, GgufType::kString, values.size()));
  for (const std::string& s : values) PutString(kvs_, s);
  return {};
}

Status GgufWriter::AddKv(const GgufKv& kv) {
  if (kv.key == "general.alignment") return {};
  const GgufType type = kv.value.type;
  const auto& v = kv.value.v;
  if (const auto* s = std::get_if<std::string_view>(&v)) {
    return AddString(kv.key, *s);
  }
  if (const auto* b = std::get_if<bool>(&v)) return AddBool(kv.key, *b);
  if (const auto* a = std::get_if<GgufArray>(&v)) {
    return PutArray(kv.key, a->element_type, a->count, a->raw);
  }
  const uint64_t u = std::holds_alternative<int64_t>(v)
                         ? static_cast<uint64_t>(std::get<int64_t>(v))
                     : std::holds_alternative<uint64_t>(v)
                         ? std::get<uint64_t>(v)
                         : 0;
  const double f = std::holds_alternative<double>(v) ? std::get<double>(v) : 0;
  switch (type) {
    case GgufType::kU8:
      return AddNumber(kv.key, static_cast<uint8_t>(u));
    case GgufType::kI8:
      return AddNumber(kv.key, static_cast<int8_t>(u));
    case GgufType::kU16:
      return AddNumber(kv.key, static_cast<uint16_t>(u));
    case GgufType::kI16:
      return AddNumber(kv.key, static_cast<int16_t>(u));
    case GgufType::kU32:
      return AddNumber(kv.key, static_cast<uint32_t>(u));
    case GgufType::kI32:
      return AddNumber(kv.key, static_cast<int32_t>(u));
    case GgufType::kU64:
      return AddNumber(kv.key, u);
    case GgufType::kI64:
      return AddNumber(kv.key, static_cast<int64_t>(u));
    case GgufType::kF32:
      return AddNumber(kv.key, static_cast<float>(f));
    case GgufType::kF64:
      return AddNumber(kv.key, f);
    default:
      return InvalidArgument(
          fmt::format("{}: type and value disagree", Printable(kv.key)));
  }
}

Status GgufWriter::AddTensor(std::string_view name, uint32_t type_id,
                             std::span<const uint64_t> ne,
                             TensorSource source) {
  ETALON_RETURN_IF_ERROR(CheckText("tensor", name, kMaxTensorNameBytes));
  const auto at = [&] { return fmt::format("tensor \"{}\"", name); };
  const StoredType* type = FindStoredType(type_id);
  ETALON_ENSURE(type != nullptr && !type->removed(),
                fmt::format("{}: type {} cannot be stored", at(), type_id));
  ETALON_ENSURE(!ne.empty() && ne.size() <= 4,
                fmt::format("{}: {} dimensions, need 1..4", at(), ne.size()));
  ETALON_ENSURE(tensors_.size() < kMaxEntries, "too many tensors");
  uint64_t n_elements = 1;
  for (const uint64_t extent : ne) {
    ETALON_ENSURE(
        extent > 0 &&
            !__builtin_mul_overflow(n_elements, extent, &n_elements) &&
            n_elements <= INT64_MAX,
        fmt::format("{}: a dimension is 0 or the shape too large", at()));
  }
  ETALON_ENSURE(ne[0] % type->block_size == 0,
                fmt::format("{}: {} elements a row, need a multiple of {}",
                            at(), ne[0], type->block_size));
  const uint64_t n_blocks = n_elements / type->block_size;
  uint64_t n_bytes;
  ETALON_ENSURE(!__builtin_mul_overflow(n_blocks, uint64_t{type->block_bytes},
                                        &n_bytes) &&
                    n_bytes <= INT64_MAX - data_bytes_ - kMaxAlignment,
                fmt::format("{}: too large", at()));
  ETALON_ENSURE(names_.emplace(name).second, at() + " twice");
  PutString(infos_, name);
  Put<uint32_t>(infos_, static_cast<uint32_t>(ne.size()));
  for (const uint64_t extent : ne) Put<uint64_t>(infos_, extent);
  Put<uint32_t>(infos_, type_id);
  Put<uint64_t>(infos_, data_bytes_);
  data_bytes_ += n_bytes;
  // Any value: WriteTo refuses an alignment that is no power of two.
  if (alignment_ != 0) {
    data_bytes_ += (alignment_ - data_bytes_ % alignment_) % alignment_;
  }
  tensors_.push_back({std::string(name), n_bytes, std::move(source)});
  return {};
}

Status GgufWriter::AddTensor(std::string_view name, uint32_t type_id,
                             std::span<const uint64_t> ne,
                             std::span<const std::byte> data) {
  return AddTensor(name, type_id, ne,
                   [data](const ByteSink& sink) { return sink(data); });
}

Status GgufWriter::WriteTo(const ByteSink& sink) const {
  ETALON_ENSURE(std::has_single_bit(alignment_) && alignment_ >= 8 &&
                    alignment_ <= kMaxAlignment,
                fmt::format("alignment {}, need a power of two in 8..{}",
                            alignment_, kMaxAlignment));
  const std::vector<std::byte> zeros(alignment_);
  uint64_t written = 0;
  const ByteSink put = [&](std::span<const std::byte> bytes) {
    written += bytes.size();
    return sink(bytes);
  };
  const auto pad = [&] {
    return put(std::span(zeros).first(
        static_cast<size_t>((alignment_ - written % alignment_) % alignment_)));
  };
  std::vector<std::byte> head;
  Append(head, std::as_bytes(std::span(std::string_view("GGUF"))));
  Put<uint32_t>(head, 3);
  Put<uint64_t>(head, tensors_.size());
  Put<uint64_t>(head, n_kv_);
  ETALON_RETURN_IF_ERROR(put(head));
  ETALON_RETURN_IF_ERROR(put(kvs_));
  ETALON_RETURN_IF_ERROR(put(infos_));
  for (const Tensor& tensor : tensors_) {
    ETALON_RETURN_IF_ERROR(pad());
    uint64_t n = 0;
    ETALON_RETURN_IF_ERROR(tensor.source([&](auto bytes) -> Status {
      n += bytes.size();
      ETALON_ENSURE(n <= tensor.n_bytes,
                    fmt::format("tensor \"{}\": more than its {} bytes",
                                tensor.name, tensor.n_bytes));
      return put(bytes);
    }));
    ETALON_ENSURE(n == tensor.n_bytes,
                  fmt::format("tensor \"{}\": {} bytes, need {}", tensor.name,
                              n, tensor.n_bytes));
  }
  return tensors_.empty() ? Status() : pad();
}

Status GgufWriter::WriteFile(const std::string& path) const {
  ETALON_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  ETALON_RETURN_IF_ERROR(WriteTo(
      [&](std::span<const std::byte> bytes) { return file.Write(bytes); }));
  return file.Commit();
}

Expected<std::vector<std::byte>> GgufWriter::ToBytes() const {
  std::vector<std::byte> bytes;
  ETALON_RETURN_IF_ERROR(
      WriteTo([&](std::span<const std::byte> more) -> Status {
        Append(bytes, more);
        return {};
      }));
  return bytes;
}

}  // namespace etalon::io
