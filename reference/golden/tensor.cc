#include "reference/golden/tensor.h"

#include <fmt/format.h>

#include "reference/formats.h"

namespace etalon::golden {

std::string ShapeText(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

double ElementValue(const Tensor& t, size_t i) {
  switch (t.dtype) {
    case DType::kF64:
      return t.As<double>()[i];
    case DType::kF32:
      return static_cast<double>(t.As<float>()[i]);
    case DType::kF16:
      return reference::F16ToDouble(t.As<uint16_t>()[i]);
    case DType::kBF16:
      return reference::BF16ToDouble(t.As<uint16_t>()[i]);
    case DType::kI32:
      return t.As<int32_t>()[i];
    case DType::kI8:
      return t.As<int8_t>()[i];
    case DType::kU8:
      break;
  }
  return t.As<uint8_t>()[i];
}

}  // namespace etalon::golden
