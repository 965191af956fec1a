// Builds GGUF version 3 files, in memory or straight to disk. What it writes,
// GgufFile reads: anything the parser would refuse is an error here.
#ifndef ETALON_IO_GGUF_WRITER_H_
#define ETALON_IO_GGUF_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "etalon/status.h"
#include "io/gguf.h"

namespace etalon::io {

class GgufWriter {
 public:
  using ByteSink = std::function<Status(std::span<const std::byte>)>;
  // Hands a tensor's bytes to the sink, in any pieces, in order; called once
  // per write. The sum must be the size that type and shape ask for.
  using TensorSource = std::function<Status(const ByteSink&)>;

  // A power of two in 8..65536; written as general.alignment unless it is the
  // format's default, 32.
  explicit GgufWriter(uint32_t alignment = 32);

  // Metadata, in the order of the calls. T: [u]int{8,16,32,64}_t, float,
  // double.
  template <class T>
  Status AddNumber(std::string_view key, T value);
  Status AddBool(std::string_view key, bool value);
  Status AddString(std::string_view key, std::string_view value);
  template <class T>
  Status AddNumbers(std::string_view key, std::span<const T> values);
  Status AddBools(std::string_view key, const std::vector<bool>& values);
  Status AddStrings(std::string_view key, std::span<const std::string> values);
  // A value of another file, as it is. general.alignment is the constructor's:
  // that key is skipped.
  Status AddKv(const GgufKv& kv);

  // `ne` as in GgufTensor: the contiguous dimension first, 1 to 4 of them.
  Status AddTensor(std::string_view name, uint32_t type_id,
                   std::span<const uint64_t> ne, TensorSource source);
  // `data` must outlive the writer.
  Status AddTensor(std::string_view name, uint32_t type_id,
                   std::span<const uint64_t> ne,
                   std::span<const std::byte> data);

  // Header, metadata, tensor table and padding, then the data, to any sink.
  Status WriteTo(const ByteSink& sink) const;
  // Atomically (atomic_file.h).
  Status WriteFile(const std::string& path) const;
  Expected<std::vector<std::byte>> ToBytes() const;

 private:
  struct Tensor {
    std::string name;
    uint64_t n_bytes;
    TensorSource source;
  };

  Status BeginKv(std::string_view key, GgufType type);
  Status BeginArray(std::string_view key, GgufType type, uint64_t count);
  Status PutNumber(std::string_view key, GgufType type,
                   std::span<const std::byte> raw);
  Status PutArray(std::string_view key, GgufType type, uint64_t count,
                  std::span<const std::byte> raw);

  uint32_t alignment_;
  std::vector<std::byte> kvs_;    // encoded
  std::vector<std::byte> infos_;  // encoded tensor table
  std::vector<Tensor> tensors_;
  std::unordered_set<std::string> keys_;
  std::unordered_set<std::string> names_;
  uint64_t n_kv_ = 0;
  uint64_t data_bytes_ = 0;  // padded
};

template <class T>
constexpr GgufType GgufTypeOf();
template <>
constexpr GgufType GgufTypeOf<uint8_t>() {
  return GgufType::kU8;
}
template <>
constexpr GgufType GgufTypeOf<int8_t>() {
  return GgufType::kI8;
}
template <>
constexpr GgufType GgufTypeOf<uint16_t>() {
  return GgufType::kU16;
}
template <>
constexpr GgufType GgufTypeOf<int16_t>() {
  return GgufType::kI16;
}
template <>
constexpr GgufType GgufTypeOf<uint32_t>() {
  return GgufType::kU32;
}
template <>
constexpr GgufType GgufTypeOf<int32_t>() {
  return GgufType::kI32;
}
template <>
constexpr GgufType GgufTypeOf<uint64_t>() {
  return GgufType::kU64;
}
template <>
constexpr GgufType GgufTypeOf<int64_t>() {
  return GgufType::kI64;
}
template <>
constexpr GgufType GgufTypeOf<float>() {
  return GgufType::kF32;
}
template <>
constexpr GgufType GgufTypeOf<double>() {
  return GgufType::kF64;
}

template <class T>
Status GgufWriter::AddNumber(std::string_view key, T value) {
  return PutNumber(key, GgufTypeOf<T>(),
                   std::as_bytes(std::span<const T>(&value, 1)));
}

template <class T>
Status GgufWriter::AddNumbers(std::string_view key, std::span<const T> values) {
  return PutArray(key, GgufTypeOf<T>(), values.size(), std::as_bytes(values));
}

}  // namespace etalon::io

#endif  // ETALON_IO_GGUF_WRITER_H_
