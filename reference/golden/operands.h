// The tensors of a case as an op sees them: inputs scattered to their layout in
// buffers of NaN, outputs likewise, so that reading or writing padding shows.
#ifndef ETALON_REFERENCE_GOLDEN_OPERANDS_H_
#define ETALON_REFERENCE_GOLDEN_OPERANDS_H_

#include <deque>
#include <string_view>
#include <vector>

#include "etalon/backend.h"
#include "reference/golden/case.h"

namespace etalon::golden {

// Of stored elements: float types stay what they are, blocks are bytes.
DType StorageOf(TensorType type);

// A dense tensor scattered to a layout; the gaps hold the poison of its dtype.
class Strided {
 public:
  Strided(const Tensor& dense, const std::optional<Layout>& layout);
  // Of an output: its elements are poison too until they are written.
  Strided(DType dtype, const Shape& shape, const std::optional<Layout>& layout);

  std::byte* data() { return buffer_.data() + offset_ * DTypeSize(dtype_); }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  size_t stride(size_t axis) const { return strides_[axis]; }

  Tensor Gather() const;
  bool PaddingIntact() const;

 private:
  template <class F>
  void ForEach(const F& f) const;

  DType dtype_;
  Shape shape_;
  size_t offset_ = 0;
  std::vector<size_t> strides_;
  std::vector<std::byte> buffer_;
};

// Views of a case's tensors, by name. Errors name case, tensor and what is
// wanted: the case may come from an untrusted manifest.
class Operands {
 public:
  explicit Operands(const Case& c);

  const Case& golden_case() const { return case_; }
  bool Has(std::string_view name) const;

  Expected<Span2D<const float>> Matrix(std::string_view name);
  // Empty when there is no such input.
  Expected<std::span<const float>> OptionalVector(std::string_view name);
  Expected<std::span<const float>> Vector(std::string_view name);
  Expected<std::span<const int32_t>> Ints(std::string_view name);
  Expected<Span2D<const int32_t>> IntMatrix(std::string_view name);
  Expected<HeadsView<const float>> Heads(std::string_view name);
  // Keys or values: F32, F16, BF16, or bytes of Q8_0 rows of `head_dim` lanes,
  // the last block padded.
  Expected<KvView> Cache(std::string_view name, size_t head_dim);
  // [rows, ...] of the type that `type_param` names.
  Expected<WeightMatrix> Weights(std::string_view name,
                                 const std::string& type_param = "type");
  // [n_experts, rows, ...].
  Expected<ExpertWeights> Experts(std::string_view name,
                                  const std::string& type_param = "type");

  Expected<Span2D<float>> OutMatrix(size_t i);
  Expected<Span2D<int32_t>> OutIntMatrix(size_t i);
  Expected<HeadsView<float>> OutHeads(size_t i);
  Strided& out(size_t i) { return outputs_[i]; }
  size_t n_outputs() const { return outputs_.size(); }

 private:
  Expected<Strided*> Get(std::string_view name, DType dtype, size_t rank);
  Expected<Strided*> Out(size_t i, DType dtype, size_t rank);
  tl::unexpected<Error> Bad(std::string_view name, std::string_view what) const;

  const Case& case_;
  std::deque<Strided> inputs_;
  std::deque<Strided> outputs_;
};

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_OPERANDS_H_
