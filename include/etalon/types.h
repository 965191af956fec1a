// Element and block types of weights, activations and KV caches. Values are
// those of the GGUF file format (tensor info field `type`).
#ifndef ETALON_TYPES_H_
#define ETALON_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace etalon {

enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,  // activations only, never stored in a model
  kBF16 = 30,
};

// One row of the format table. A row of n elements occupies
// n / block_size * block_bytes bytes; n must be a multiple of block_size.
struct TypeTraits {
  TensorType type;
  std::string_view name;  // "Q4_K", as other GGUF tools print it
  size_t block_size;      // elements
  size_t block_bytes;
};

// nullptr for a type this engine does not read (I32, IQ types, ...).
const TypeTraits* FindTypeTraits(TensorType type);
// Precondition: FindTypeTraits(type) != nullptr.
const TypeTraits& GetTypeTraits(TensorType type);
std::string_view TypeName(TensorType type);  // "type 99" callers format it
std::optional<TensorType> ParseTensorType(std::string_view name);

// Bytes of one row of n elements. Precondition: n % block_size == 0.
size_t RowBytes(TensorType type, size_t n);

inline bool IsQuantized(TensorType t) {
  return t != TensorType::kF32 && t != TensorType::kF16 &&
         t != TensorType::kBF16;
}

}  // namespace etalon

#endif  // ETALON_TYPES_H_
