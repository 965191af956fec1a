#include "ops/outer_products.h"

#include <algorithm>

#include "core/parallel.h"

namespace etalon::ops {
namespace {

struct Tiling {
  size_t rows, cols, n_rows, n_cols;
};

Tiling Cut(const simd::OuterProductArgs& p, size_t rows) {
  const size_t cols = std::min(p.n, simd::kOuterMaxCols);
  return {rows, cols, (p.m + rows - 1) / rows, (p.n + cols - 1) / cols};
}

void RunTile(const simd::OuterProductArgs& product, const Tiling& tiling,
             size_t i, float* scratch) {
  simd::OuterProductArgs tile = product;
  const size_t row = i / tiling.n_cols * tiling.rows;
  const size_t col = i % tiling.n_cols * tiling.cols;
  tile.m = std::min(tiling.rows, product.m - row);
  tile.n = std::min(tiling.cols, product.n - col);
  tile.a += row * product.a_row;
  tile.b += col * product.b_col;
  tile.c += row * product.c_row + col;
  simd::OuterProduct(tile, scratch);
}

}  // namespace

Status RunOuterProduct(const simd::OuterProductArgs& product,
                       ExecContext& ctx) {
  if (product.m == 0 || product.n == 0) return {};
  // Half of what a call may take: more tasks, so that threads end together.
  const Tiling tiling = Cut(product, simd::kOuterMaxRows / 2);
  const size_t n_tasks = tiling.n_rows * tiling.n_cols;
  const size_t n_workers =
      std::min(n_tasks, static_cast<size_t>(std::max(ctx.n_threads, 1)));
  const Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(
      const std::span<float> scratch,
      ctx.workspace->Allocate<float>(n_workers * simd::kOuterScratchFloats));
  ParallelFor(
      n_tasks, static_cast<int>(n_workers), [&](size_t task, int worker) {
        RunTile(product, tiling, task,
                scratch.data() +
                    static_cast<size_t>(worker) * simd::kOuterScratchFloats);
      });
  return {};
}

void RunOuterProductHere(const simd::OuterProductArgs& product,
                         float* scratch) {
  if (product.m == 0 || product.n == 0) return;
  const Tiling tiling = Cut(product, simd::kOuterMaxRows);
  for (size_t i = 0; i < tiling.n_rows * tiling.n_cols; ++i) {
    RunTile(product, tiling, i, scratch);
  }
}

}  // namespace etalon::ops
