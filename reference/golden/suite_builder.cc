#include "reference/golden/suite_builder.h"

#include "reference/formats.h"

namespace etalon::golden::internal {

Input Data(std::string name, Shape shape, std::string rule, uint32_t stream,
           DType dtype) {
  Input i;
  i.name = std::move(name);
  i.dtype = dtype;
  i.shape = std::move(shape);
  i.recipe.emplace();
  i.recipe->rule = std::move(rule);
  i.recipe->stream = stream;
  return i;
}

Input Integers(std::string name, Shape shape, std::vector<uint32_t> values) {
  Input i = Data(std::move(name), std::move(shape), "values", 0, DType::kI32);
  i.recipe->bits = std::move(values);
  return i;
}

namespace {

struct TypeRow {
  const char* name;
  TensorType type;
  DType dtype;
};
constexpr TypeRow kTypes[] = {
    {"F32", TensorType::kF32, DType::kF32},
    {"F16", TensorType::kF16, DType::kF16},
    {"BF16", TensorType::kBF16, DType::kBF16},
    {"Q4_0", TensorType::kQ4_0, DType::kU8},
    {"Q4_1", TensorType::kQ4_1, DType::kU8},
    {"Q5_0", TensorType::kQ5_0, DType::kU8},
    {"Q5_1", TensorType::kQ5_1, DType::kU8},
    {"Q8_0", TensorType::kQ8_0, DType::kU8},
    {"Q4_K", TensorType::kQ4_K, DType::kU8},
    {"Q5_K", TensorType::kQ5_K, DType::kU8},
    {"Q6_K", TensorType::kQ6_K, DType::kU8},
};
const TypeRow& RowOf(const std::string& type) {
  for (const TypeRow& row : kTypes) {
    if (type == row.name) return row;
  }
  return kTypes[0];
}

}  // namespace

size_t BlockSize(const std::string& type) {
  return reference::WeightFormat(RowOf(type).type)->block_size;
}

Input WeightInput(std::string name, const std::string& type, Shape shape,
                  uint32_t stream, const std::string& variant) {
  const TypeRow& row = RowOf(type);
  if (row.dtype != DType::kU8) {
    return Data(std::move(name), std::move(shape), "normal", stream, row.dtype);
  }
  const reference::Format format = *reference::WeightFormat(row.type);
  shape.back() = shape.back() / format.block_size * format.block_bytes;
  Input i =
      Data(std::move(name), std::move(shape), "blocks", stream, DType::kU8);
  i.recipe->type = type;
  i.recipe->variant = variant;
  return i;
}

Layout PaddedRows(const Shape& shape, size_t padding, size_t offset) {
  Layout layout;
  layout.offset = offset;
  layout.strides.assign(shape.size(), 1);
  for (size_t a = shape.size(); a-- > 1;) {
    layout.strides[a - 1] = layout.strides[a] * shape[a];
    if (a + 1 == shape.size()) layout.strides[a - 1] += padding;
  }
  return layout;
}

Output Bounded(std::string name, Shape shape, std::string bound) {
  Output o;
  o.name = std::move(name);
  o.shape = std::move(shape);
  o.judge = Judge::kBound;
  o.bound = std::move(bound);
  return o;
}

}  // namespace etalon::golden::internal
