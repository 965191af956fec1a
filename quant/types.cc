#include "etalon/types.h"

#include <array>

#include "etalon/status.h"
#include "quant/block_formats.h"

namespace etalon {
namespace {

constexpr std::array<TypeTraits, 12> kTypes = {{
    {TensorType::kF32, "F32", 1, 4},
    {TensorType::kF16, "F16", 1, 2},
    {TensorType::kBF16, "BF16", 1, 2},
    {TensorType::kQ4_0, "Q4_0", kQk, sizeof(BlockQ4_0)},
    {TensorType::kQ4_1, "Q4_1", kQk, sizeof(BlockQ4_1)},
    {TensorType::kQ5_0, "Q5_0", kQk, sizeof(BlockQ5_0)},
    {TensorType::kQ5_1, "Q5_1", kQk, sizeof(BlockQ5_1)},
    {TensorType::kQ8_0, "Q8_0", kQk, sizeof(BlockQ8_0)},
    {TensorType::kQ4_K, "Q4_K", kQkK, sizeof(BlockQ4_K)},
    {TensorType::kQ5_K, "Q5_K", kQkK, sizeof(BlockQ5_K)},
    {TensorType::kQ6_K, "Q6_K", kQkK, sizeof(BlockQ6_K)},
    {TensorType::kQ8_K, "Q8_K", kQkK, sizeof(BlockQ8_K)},
}};

// "q4_k" and "Q4_K" are the same name to a user.
bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const auto upper = [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  };
  for (size_t i = 0; i < a.size(); ++i) {
    if (upper(a[i]) != upper(b[i])) return false;
  }
  return true;
}

}  // namespace

const TypeTraits* FindTypeTraits(TensorType type) {
  for (const TypeTraits& traits : kTypes) {
    if (traits.type == type) return &traits;
  }
  return nullptr;
}

const TypeTraits& GetTypeTraits(TensorType type) {
  const TypeTraits* traits = FindTypeTraits(type);
  ETALON_DCHECK(traits != nullptr);
  return *traits;
}

std::string_view TypeName(TensorType type) {
  const TypeTraits* traits = FindTypeTraits(type);
  return traits != nullptr ? traits->name : "unknown type";
}

std::optional<TensorType> ParseTensorType(std::string_view name) {
  for (const TypeTraits& traits : kTypes) {
    if (EqualIgnoringCase(traits.name, name)) return traits.type;
  }
  return std::nullopt;
}

size_t RowBytes(TensorType type, size_t n) {
  const TypeTraits& traits = GetTypeTraits(type);
  ETALON_DCHECK(n % traits.block_size == 0);
  return n / traits.block_size * traits.block_bytes;
}

}  // namespace etalon
