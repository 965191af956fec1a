// Chooses the weight type. Included without a guard, once per tier, by
// gemm_quantized.cc; the products themselves are in gemm_TYPE.cc.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {

template <class Block>
void GemmBlocks(const GemmRows& g, const GemmActivations& x,
                std::byte* scratch);

void GemmQuantizedTier(const GemmRows& g, const GemmActivations& x,
                       std::byte* scratch) {
  switch (g.weights.type) {
    case TensorType::kQ4_0:
      return GemmBlocks<BlockQ4_0>(g, x, scratch);
    case TensorType::kQ4_1:
      return GemmBlocks<BlockQ4_1>(g, x, scratch);
    case TensorType::kQ5_0:
      return GemmBlocks<BlockQ5_0>(g, x, scratch);
    case TensorType::kQ5_1:
      return GemmBlocks<BlockQ5_1>(g, x, scratch);
    case TensorType::kQ8_0:
      return GemmBlocks<BlockQ8_0>(g, x, scratch);
    case TensorType::kQ4_K:
      return GemmBlocks<BlockQ4_K>(g, x, scratch);
    case TensorType::kQ5_K:
      return GemmBlocks<BlockQ5_K>(g, x, scratch);
    case TensorType::kQ6_K:
      return GemmBlocks<BlockQ6_K>(g, x, scratch);
    default:
      ETALON_DCHECK(false);
  }
}

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
