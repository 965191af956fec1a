// Building blocks of case descriptions.
#ifndef ETALON_REFERENCE_GOLDEN_SUITE_BUILDER_H_
#define ETALON_REFERENCE_GOLDEN_SUITE_BUILDER_H_

#include <array>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "reference/golden/case.h"

namespace etalon::golden::internal {

inline constexpr uint32_t kNan = 0x7FC00000u;
inline constexpr uint32_t kPosInf = 0x7F800000u;
inline constexpr uint32_t kNegInf = 0xFF800000u;
inline constexpr uint32_t kMinusZero = 0x80000000u;

// Choices of case `index`: a stream of its own, and cycles through lists so
// that every entry comes up, whatever the count.
class Chooser {
 public:
  Chooser(uint64_t seed, uint64_t index) : seed_(seed), index_(index) {}

  size_t Below(size_t n) {
    const Words w = Philox4x32_10(
        {counter_++, 0, 0xC0FFEEu, 0},
        {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
    return static_cast<size_t>((uint64_t{w[0]} * n) >> 32);
  }
  bool OneIn(size_t n) { return Below(n) == 0; }
  template <class T>
  T Pick(std::initializer_list<T> list) {
    return *(list.begin() + Below(list.size()));
  }
  // Entry (index / divisor) mod size.
  template <class T>
  T Cycle(std::initializer_list<T> list, size_t divisor = 1) const {
    return *(list.begin() + (index_ / divisor) % list.size());
  }
  uint64_t index() const { return index_; }

 private:
  uint64_t seed_;
  uint64_t index_;
  uint32_t counter_ = 0;
};

Input Data(std::string name, Shape shape, std::string rule, uint32_t stream,
           DType dtype = DType::kF32);
Input Integers(std::string name, Shape shape, std::vector<uint32_t> values);
// [rows, cols] of a weight type; `variant` of `blocks`.
Input WeightInput(std::string name, const std::string& type, Shape shape,
                  uint32_t stream, const std::string& variant = "");
size_t BlockSize(const std::string& type);
// Rows of `stride` = last extent + padding; higher axes follow densely.
Layout PaddedRows(const Shape& shape, size_t padding, size_t offset);
Output Bounded(std::string name, Shape shape, std::string bound);

// cos and sin of an angle up to 2^21, the same on every machine.
std::pair<float, float> CosSin(float angle);
// Of the pairs of a head: base^(-i / half).
std::vector<float> RopeFrequencies(size_t half, double base);
// Inputs cos and sin for positions first, first + 1, ...
void AddRopeTables(const std::vector<float>& freq, size_t first, size_t n_rows,
                   Case& c);

Case DescribeRmsNorm(Chooser& choose);
Case DescribeSoftmax(Chooser& choose);
Case DescribeRope(Chooser& choose);
Case DescribeSwiGlu(Chooser& choose);
Case DescribeAdd(Chooser& choose);
Case DescribeScaleRows(Chooser& choose);
Case DescribeDequantize(Chooser& choose);
Case DescribeEmbedding(Chooser& choose);
Case DescribeQuantizeQ8K(Chooser& choose);
Case DescribeQuantizeQ80(Chooser& choose);
Case DescribeKvWrite(Chooser& choose);
Case DescribeGemm(Chooser& choose);
Case DescribeGemmSwiGlu(Chooser& choose);
Case DescribeAttention(Chooser& choose);
Case DescribeAttentionVariant(Chooser& choose);
Case DescribeRouter(Chooser& choose);
Case DescribeMoeFfn(Chooser& choose);
Case DescribeLayer(Chooser& choose);

}  // namespace etalon::golden::internal

#endif  // ETALON_REFERENCE_GOLDEN_SUITE_BUILDER_H_
