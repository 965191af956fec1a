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

// Weight rows of one task for m tokens, a whole number of panels: enough tasks
// that threads finish together. Where rows are cut never shows in the result.
inline constexpr size_t kMaxTaskRows = 256;
size_t TaskRows(size_t total_rows, size_t m, int n_threads);

// All products, cut into blocks of weight rows, in one parallel region.
// `scratch` holds ProductScratchBytes for the largest m and k.
void RunProducts(std::span<const GemmProduct> products, size_t max_m,
                 size_t max_k, std::byte* scratch, int n_threads);

// Whether two f32 views share an element. Column slices of one buffer (equal
// stride, disjoint columns) do not.
bool Overlaps(const Span2D<const float>& a, const Span2D<const float>& b);

}  // namespace etalon::ops

#endif  // ETALON_OPS_GEMM_PRODUCTS_H_
