// Several matrix products as one parallel region: what ops::Gemm and
// ops::MoeFfn share.
#ifndef ETALON_OPS_GEMM_PRODUCTS_H_
#define ETALON_OPS_GEMM_PRODUCTS_H_

#include <span>
#include <string_view>

#include "etalon/gemm.h"
#include "simd/gemm.h"
#include "simd/gemm_activations.h"

namespace etalon::ops {

// out = x W^T: with quantised activations when `q` is set, else from f32 x.
struct GemmProduct {
  simd::GemmRows rows;  // row range unused
  const simd::GemmActivations* q = nullptr;
  Span2D<const float> x;
};

// Typed error unless W is a readable matrix of k columns: known type, rows and
// columns, K a multiple of its block, stride at least a row. `what` leads the
// message.
Status CheckWeights(std::string_view what, const WeightMatrix& w, size_t k);

// Whether activations are quantised for these weights under `mode`.
bool QuantisesActivations(TensorType weights, Activations mode,
                          const ExecContext& ctx);

// Quantises all rows of x in parallel into memory of the workspace.
Expected<simd::GemmActivations> QuantiseRows(TensorType type,
                                             Span2D<const float> x,
                                             ExecContext& ctx);
// Upper bound on the workspace it takes.
size_t QuantiseRowsBytes(size_t rows, size_t cols, int n_threads);

// Bytes of scratch for n_threads running products of at most m x k.
size_t ProductScratchBytes(size_t m, size_t k, int n_threads);

// Rows of a panel, and at most this many between the cuts of RowTasks.
inline constexpr size_t kRowUnit = 16;
inline constexpr size_t kMaxTaskRows = 256;

// How the rows of a weight matrix are cut into tasks. Where never shows in the
// result.
class RowTasks {
 public:
  // Of any region.
  static constexpr size_t kLongestTask = kMaxTaskRows + kRowUnit;

  // A region over total_rows weight rows, of one matrix or several, and m
  // tokens: enough tasks that threads finish together.
  RowTasks(size_t total_rows, size_t m, int n_threads);

  // Of this region's longest task.
  size_t LongestTask() const { return rows_ + shift_; }
  // Tasks of a matrix of n_rows.
  size_t Count(size_t n_rows) const;
  // Rows Begin(task, n_rows) .. Begin(task + 1, n_rows) - 1, a whole number of
  // panels but for the last task, which may be empty.
  size_t Begin(size_t task, size_t n_rows) const;

 private:
  size_t rows_;   // between cuts
  size_t shift_;  // how far every second cut moves
};

// All products, cut into blocks of weight rows, in one parallel region.
// `scratch` holds ProductScratchBytes for the largest m and k.
void RunProducts(std::span<const GemmProduct> products, size_t max_m,
                 size_t max_k, std::byte* scratch, int n_threads);

// Whether two f32 views share an element. Column slices of one buffer (equal
// stride, disjoint columns) do not.
bool Overlaps(const Span2D<const float>& a, const Span2D<const float>& b);

}  // namespace etalon::ops

#endif  // ETALON_OPS_GEMM_PRODUCTS_H_
