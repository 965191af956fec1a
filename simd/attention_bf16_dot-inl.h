// Products of bf16 tiles on processors with vdpbf16ps and no tile unit.
// Included without a guard, in the AVX-512 pass of attention_bf16.cc only,
// after attention_bf16_pack-inl.h.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace N_AVX3_BF16 {

// A row of a right tile is a vector of pairs, one per column; a pair of the
// left operand meets it as a broadcast. 8 rows x 2 columns of tiles: 16 sums
// cover the latency of vdpbf16ps, and 10 loads serve 16 products.
struct DotUnit {
  static constexpr size_t kRows = 8;

  // As TileUnit::Product.
  HWY_INLINE void Product(const std::byte* a, size_t a_stride,
                          const std::byte* b, size_t b_column, size_t depths,
                          std::byte* c, size_t c_stride) const {
    for (size_t row = 0; row < kBf16Rows; row += kRows) {
      Rows(a + row * a_stride, a_stride, b, b_column, depths,
           c + row * c_stride, c_stride);
    }
  }

 private:
  static HWY_INLINE void Rows(const std::byte* a, size_t a_stride,
                              const std::byte* b, size_t b_column,
                              size_t depths, std::byte* c, size_t c_stride) {
    __m512 sum[2][kRows];
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      sum[0][r] = sum[1][r] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < depths * kDepth / 2; ++i) {
      const __m512bh b0 = (__m512bh)_mm512_load_si512(b + i * 64);
      const __m512bh b1 = (__m512bh)_mm512_load_si512(b + b_column + i * 64);
      HWY_UNROLL(8)
      for (size_t r = 0; r < kRows; ++r) {
        int32_t pair;
        std::memcpy(&pair, a + r * a_stride + i * sizeof(pair), sizeof(pair));
        const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
        sum[0][r] = _mm512_dpbf16_ps(sum[0][r], x, b0);
        sum[1][r] = _mm512_dpbf16_ps(sum[1][r], x, b1);
      }
    }
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      _mm512_store_ps(c + r * c_stride, sum[0][r]);
      _mm512_store_ps(c + r * c_stride + 64, sum[1][r]);
    }
  }
};

}  // namespace N_AVX3_BF16
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
