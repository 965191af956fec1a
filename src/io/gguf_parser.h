// One pass over the header, the metadata and the tensor table of a GGUF file.
#ifndef ETALON_IO_GGUF_PARSER_H_
#define ETALON_IO_GGUF_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "etalon/status.h"
#include "io/cursor.h"
#include "io/gguf.h"

namespace etalon::io {

inline constexpr uint64_t kMaxKeyBytes = 65535;
inline constexpr uint64_t kMaxStringBytes = uint64_t{16} << 20;
inline constexpr uint64_t kMaxTensorNameBytes = 64;
inline constexpr uint32_t kMaxAlignment = 65536;
// What a file may make us allocate: the tables of keys and tensors. Far above
// any model, and with the indexes below 64 MiB.
inline constexpr uint64_t kMaxTableBytes = uint64_t{48} << 20;

class GgufParser {
 public:
  explicit GgufParser(std::span<const std::byte> bytes) : cursor_(bytes) {
    file_.bytes_ = bytes;
  }

  // Call once.
  Expected<GgufFile> Parse();

 private:
  Status Header();
  Status Kv(uint64_t i);
  Status KvKey(uint64_t i, std::string_view& key);
  Status KvValue(uint64_t i, GgufValue& value);
  Status KvArray(uint64_t i, GgufArray& array);
  Status KvString(uint64_t i, std::string_view& value);
  // Keys that change how the rest of the file is read.
  Status FormatKey(uint64_t i, const GgufKv& kv, uint64_t key_pos);
  Status TensorInfo(uint64_t i);
  Status TensorName(uint64_t i, std::string_view& name);
  Status TensorDims(uint64_t i, GgufTensor& tensor);
  Status TensorExtent(uint64_t i, GgufTensor& tensor, uint64_t type_pos);
  Status PlaceTensors();
  Status NoTensorAfterTheLast() const;
  // False when `count` more records of `bytes` each would pass kMaxTableBytes.
  bool Charge(uint64_t count, uint64_t bytes);

  Cursor cursor_;
  GgufFile file_;
  uint64_t n_tensors_ = 0;
  uint64_t n_kv_ = 0;
  uint64_t table_bytes_ = 0;
};

}  // namespace etalon::io

#endif  // ETALON_IO_GGUF_PARSER_H_
