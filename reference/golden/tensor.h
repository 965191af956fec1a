// A dense, row-major tensor that owns its bytes, as safetensors holds it.
#ifndef ETALON_REFERENCE_GOLDEN_TENSOR_H_
#define ETALON_REFERENCE_GOLDEN_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace etalon::golden {

enum class DType { kF64, kF32, kF16, kBF16, kI32, kI8, kU8 };

inline size_t DTypeSize(DType t) {
  switch (t) {
    case DType::kF64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI8:
    case DType::kU8:
      break;
  }
  return 1;
}
inline std::string_view DTypeName(DType t) {
  constexpr std::string_view kNames[] = {"F64", "F32", "F16", "BF16",
                                         "I32", "I8",  "U8"};
  return kNames[static_cast<size_t>(t)];
}
inline std::optional<DType> ParseDType(std::string_view name) {
  for (const DType t : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16,
                        DType::kI32, DType::kI8, DType::kU8}) {
    if (DTypeName(t) == name) return t;
  }
  return std::nullopt;
}

using Shape = std::vector<size_t>;

inline size_t Elements(const Shape& shape) {
  size_t n = 1;
  for (const size_t extent : shape) n *= extent;
  return n;
}
std::string ShapeText(const Shape& shape);  // "[3, 64]"

struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<std::byte> bytes;

  Tensor() = default;
  Tensor(DType t, Shape s)
      : dtype(t), shape(std::move(s)), bytes(Elements(shape) * DTypeSize(t)) {}
  template <class T>
  Tensor(DType t, Shape s, std::span<const T> values)
      : dtype(t), shape(std::move(s)) {
    const auto raw = std::as_bytes(values);
    bytes.assign(raw.begin(), raw.end());
  }

  size_t n() const { return Elements(shape); }
  // Precondition: sizeof(T) is the size of dtype. The vector's storage is
  // aligned for any of the types.
  template <class T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  std::span<T> As() {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

// Element i as a real number (U8 and integers too).
double ElementValue(const Tensor& t, size_t i);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_TENSOR_H_
