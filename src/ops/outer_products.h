// simd::OuterProduct over any m and n, cut into tiles of C, in one parallel
// region. Tiles share no element of C, so the cut never shows.
#ifndef ETALON_OPS_OUTER_PRODUCTS_H_
#define ETALON_OPS_OUTER_PRODUCTS_H_

#include "etalon/workspace.h"
#include "simd/outer_product.h"

namespace etalon::ops {

Status RunOuterProduct(const simd::OuterProductArgs& product, ExecContext& ctx);
// The same on the calling thread, with its own scratch.
void RunOuterProductHere(const simd::OuterProductArgs& product, float* scratch);

}  // namespace etalon::ops

#endif  // ETALON_OPS_OUTER_PRODUCTS_H_
