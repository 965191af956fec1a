#include "reference/golden/operands.h"

#include <fmt/format.h>

#include <cstring>

#include "reference/formats.h"

namespace etalon::golden {
namespace {

void Poison(DType dtype, std::vector<std::byte>& buffer) {
  const size_t size = DTypeSize(dtype);
  std::byte pattern[8];
  std::memset(pattern, 0xFF, sizeof(pattern));  // integers: -1; F64: NaN
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) {
    PutPoison(dtype, pattern);
  }
  for (size_t i = 0; i + size <= buffer.size(); i += size) {
    std::memcpy(buffer.data() + i, pattern, size);
  }
}

std::optional<TensorType> FindType(const std::string& name) {
  for (const TensorType t :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16,
        TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0,
        TensorType::kQ5_1, TensorType::kQ8_0, TensorType::kQ4_K,
        TensorType::kQ5_K, TensorType::kQ6_K}) {
    if (reference::FormatName(t) == name) return t;
  }
  return std::nullopt;
}

}  // namespace

DType StorageOf(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return DType::kF32;
    case TensorType::kF16:
      return DType::kF16;
    case TensorType::kBF16:
      return DType::kBF16;
    default:
      return DType::kU8;
  }
}

Strided::Strided(DType dtype, const Shape& shape,
                 const std::optional<Layout>& layout)
    : dtype_(dtype), shape_(shape) {
  if (layout) {
    offset_ = layout->offset;
    strides_ = layout->strides;
  } else {
    strides_.assign(shape.size(), 1);
    for (size_t a = shape.size(); a-- > 1;) {
      strides_[a - 1] = strides_[a] * shape[a];
    }
  }
  size_t reach = offset_ + 1;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (shape[a] > 0) reach += strides_[a] * (shape[a] - 1);
  }
  // What follows the last element is somebody else's too.
  reach += layout ? 5 : 0;
  buffer_.resize(reach * DTypeSize(dtype));
  Poison(dtype, buffer_);
}

Strided::Strided(const Tensor& dense, const std::optional<Layout>& layout)
    : Strided(dense.dtype, dense.shape, layout) {
  const size_t size = DTypeSize(dtype_);
  size_t i = 0;
  ForEach([&](size_t at) {
    std::memcpy(buffer_.data() + at * size, dense.bytes.data() + i * size,
                size);
    ++i;
  });
}

// f(position in the buffer, in elements) for every element, row-major.
template <class F>
void Strided::ForEach(const F& f) const {
  const size_t n = Elements(shape_);
  std::vector<size_t> at(shape_.size(), 0);
  for (size_t i = 0; i < n; ++i) {
    size_t position = offset_;
    for (size_t a = 0; a < at.size(); ++a) position += at[a] * strides_[a];
    f(position);
    for (size_t a = at.size(); a-- > 0;) {
      if (++at[a] < shape_[a]) break;
      at[a] = 0;
    }
  }
}

Tensor Strided::Gather() const {
  Tensor dense(dtype_, shape_);
  const size_t size = DTypeSize(dtype_);
  size_t i = 0;
  ForEach([&](size_t at) {
    std::memcpy(dense.bytes.data() + i * size, buffer_.data() + at * size,
                size);
    ++i;
  });
  return dense;
}

bool Strided::PaddingIntact() const {
  const size_t size = DTypeSize(dtype_);
  std::vector<std::byte> want(buffer_.size());
  Poison(dtype_, want);
  ForEach([&](size_t at) {
    std::memcpy(want.data() + at * size, buffer_.data() + at * size, size);
  });
  return want == buffer_;
}

Operands::Operands(const Case& c) : case_(c) {
  for (const Input& i : c.inputs) inputs_.emplace_back(i.data, i.layout);
  for (const Output& o : c.outputs) {
    outputs_.emplace_back(o.dtype, o.shape, o.layout);
  }
}

bool Operands::Has(std::string_view name) const {
  return case_.FindInput(name) != nullptr;
}

tl::unexpected<Error> Operands::Bad(std::string_view name,
                                    std::string_view what) const {
  return BadInput(fmt::format("case {}: {}: {}", case_.id, name, what));
}

Expected<Strided*> Operands::Get(std::string_view name, DType dtype,
                                 size_t rank) {
  for (size_t i = 0; i < case_.inputs.size(); ++i) {
    if (case_.inputs[i].name != name) continue;
    Strided& s = inputs_[i];
    if (s.dtype() != dtype || s.shape().size() != rank ||
        (rank > 0 && s.shape().back() > 1 && s.stride(rank - 1) != 1)) {
      return Bad(name,
                 fmt::format("{} {}, want {} of {} axes, the last contiguous",
                             DTypeName(s.dtype()), ShapeText(s.shape()),
                             DTypeName(dtype), rank));
    }
    return &s;
  }
  return Bad(name, "no such input");
}

Expected<Strided*> Operands::Out(size_t i, DType dtype, size_t rank) {
  if (i >= outputs_.size()) return Bad("outputs", "too few");
  Strided& s = outputs_[i];
  if (s.dtype() != dtype || s.shape().size() != rank ||
      (s.shape().back() > 1 && s.stride(rank - 1) != 1)) {
    return Bad(case_.outputs[i].name,
               fmt::format("{} {}, want {} of {} axes, the last contiguous",
                           DTypeName(s.dtype()), ShapeText(s.shape()),
                           DTypeName(dtype), rank));
  }
  return &s;
}

Expected<Span2D<const float>> Operands::Matrix(std::string_view name) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, DType::kF32, 2));
  return Span2D<const float>(reinterpret_cast<float*>(s->data()), s->shape()[0],
                             s->shape()[1], s->stride(0));
}

Expected<std::span<const float>> Operands::Vector(std::string_view name) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, DType::kF32, 1));
  return std::span<const float>(reinterpret_cast<float*>(s->data()),
                                s->shape()[0]);
}

Expected<std::span<const float>> Operands::OptionalVector(
    std::string_view name) {
  if (!Has(name)) return std::span<const float>();
  return Vector(name);
}

Expected<std::span<const int32_t>> Operands::Ints(std::string_view name) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, DType::kI32, 1));
  return std::span<const int32_t>(reinterpret_cast<int32_t*>(s->data()),
                                  s->shape()[0]);
}

Expected<Span2D<const int32_t>> Operands::IntMatrix(std::string_view name) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, DType::kI32, 2));
  return Span2D<const int32_t>(reinterpret_cast<int32_t*>(s->data()),
                               s->shape()[0], s->shape()[1], s->stride(0));
}

Expected<HeadsView<const float>> Operands::Heads(std::string_view name) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, DType::kF32, 3));
  return HeadsView<const float>{reinterpret_cast<float*>(s->data()),
                                s->shape()[0],
                                s->shape()[1],
                                s->shape()[2],
                                s->stride(0),
                                s->stride(1)};
}

Expected<KvView> Operands::Cache(std::string_view name, size_t head_dim) {
  ETALON_ASSIGN_OR_RETURN(const Input* input, case_.GetInput(name));
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, input->dtype, 3));
  KvView view{TensorType::kF32, s->data(),    s->shape()[0], s->shape()[1],
              s->shape()[2],    s->stride(0), s->stride(1)};
  switch (input->dtype) {
    case DType::kF32:
      return view;
    case DType::kF16:
      view.type = TensorType::kF16;
      return view;
    case DType::kBF16:
      view.type = TensorType::kBF16;
      return view;
    case DType::kU8:
      break;
    default:
      return Bad(name, "is neither F32, F16, BF16 nor bytes of blocks");
  }
  // Strides count elements: of 34 bytes, 32.
  const auto format = *reference::WeightFormat(TensorType::kQ8_0);
  const size_t blocks = (head_dim + format.block_size - 1) / format.block_size;
  if (s->shape()[2] != blocks * format.block_bytes ||
      s->stride(0) % format.block_bytes != 0 ||
      s->stride(1) % format.block_bytes != 0) {
    return Bad(name, fmt::format("rows of {} bytes, want {} blocks of Q8_0",
                                 s->shape()[2], blocks));
  }
  view.type = TensorType::kQ8_0;
  view.head_dim = head_dim;
  view.head_stride = s->stride(0) / format.block_bytes * format.block_size;
  view.pos_stride = s->stride(1) / format.block_bytes * format.block_size;
  return view;
}

Expected<WeightMatrix> Operands::Weights(std::string_view name,
                                         const std::string& type_param) {
  ETALON_ASSIGN_OR_RETURN(const std::string text, case_.Text(type_param));
  const auto type = FindType(text);
  if (!type) return Bad(name, fmt::format("unknown type {}", text));
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, StorageOf(*type), 2));
  const auto format = *reference::WeightFormat(*type);
  const size_t row_bytes = s->shape()[1] * DTypeSize(s->dtype());
  if (row_bytes % format.block_bytes != 0) {
    return Bad(name, fmt::format("rows of {} bytes, want blocks of {}",
                                 row_bytes, format.block_bytes));
  }
  return WeightMatrix{*type, s->data(), s->shape()[0],
                      row_bytes / format.block_bytes * format.block_size,
                      s->stride(0) * DTypeSize(s->dtype())};
}

Expected<ExpertWeights> Operands::Experts(std::string_view name,
                                          const std::string& type_param) {
  ETALON_ASSIGN_OR_RETURN(const std::string text, case_.Text(type_param));
  const auto type = FindType(text);
  if (!type) return Bad(name, fmt::format("unknown type {}", text));
  ETALON_ASSIGN_OR_RETURN(Strided * s, Get(name, StorageOf(*type), 3));
  const auto format = *reference::WeightFormat(*type);
  const size_t size = DTypeSize(s->dtype());
  const size_t row_bytes = s->shape()[2] * size;
  if (row_bytes % format.block_bytes != 0) {
    return Bad(name, fmt::format("rows of {} bytes, want blocks of {}",
                                 row_bytes, format.block_bytes));
  }
  const WeightMatrix first{*type, s->data(), s->shape()[1],
                           row_bytes / format.block_bytes * format.block_size,
                           s->stride(1) * size};
  return ExpertWeights{first, s->shape()[0], s->stride(0) * size, {}};
}

Expected<Span2D<float>> Operands::OutMatrix(size_t i) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Out(i, DType::kF32, 2));
  return Span2D<float>(reinterpret_cast<float*>(s->data()), s->shape()[0],
                       s->shape()[1], s->stride(0));
}

Expected<Span2D<int32_t>> Operands::OutIntMatrix(size_t i) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Out(i, DType::kI32, 2));
  return Span2D<int32_t>(reinterpret_cast<int32_t*>(s->data()), s->shape()[0],
                         s->shape()[1], s->stride(0));
}

Expected<HeadsView<float>> Operands::OutHeads(size_t i) {
  ETALON_ASSIGN_OR_RETURN(Strided * s, Out(i, DType::kF32, 3));
  return HeadsView<float>{reinterpret_cast<float*>(s->data()),
                          s->shape()[0],
                          s->shape()[1],
                          s->shape()[2],
                          s->stride(0),
                          s->stride(1)};
}

}  // namespace etalon::golden
