// Every tensor type a GGUF file may name: more than the engine runs, because
// the extent of each tensor must be known to check the layout of the file.
#ifndef ETALON_IO_STORED_TYPE_H_
#define ETALON_IO_STORED_TYPE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace etalon::io {

struct StoredType {
  uint32_t id;
  std::string_view name;
  uint32_t block_size;   // elements; 0 for a type removed from the format
  uint32_t block_bytes;  // 0 for a type removed from the format

  bool removed() const { return block_size == 0; }
};

// nullptr for an id the format does not define.
const StoredType* FindStoredType(uint32_t id);
// "Q4_K", "I32", "type 99".
std::string StoredTypeName(uint32_t id);

}  // namespace etalon::io

#endif  // ETALON_IO_STORED_TYPE_H_
