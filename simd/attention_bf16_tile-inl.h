// Products of bf16 tiles. Included without a guard, in the AVX-512 pass of
// attention_bf16.cc only, after attention_bf16_pack-inl.h.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace N_AVX3_BF16 {

// As asm: the compiler's own ldtilecfg intrinsic declares 8 of the 64 bytes as
// read (g++ 12), and its tile loads do not say that they read memory. Tiles 0-3
// accumulate, 4 and 5 are left operands, 6 and 7 right ones; all are whole.
#define ETALON_TILE_LOAD(tile, from, stride)                   \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), \
               "r"(static_cast<ptrdiff_t>(stride))             \
               : "memory")
#define ETALON_TILE_STORE(tile, to, stride)                      \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), \
               "r"(static_cast<ptrdiff_t>(stride))               \
               : "memory")
#define ETALON_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
// c += a * b: AT&T order is b, a, c.
#define ETALON_TILE_DOT(c, a, b) \
  asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

class TileUnit {
 public:
  TileUnit() {
    struct alignas(64) {
      uint8_t palette = 1;
      uint8_t start_row = 0;
      uint8_t reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    static_assert(sizeof config == 64);
    for (size_t t = 0; t < 8; ++t)
      config.row_bytes[t] = 64, config.rows[t] = 16;
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~TileUnit() { asm volatile("tilerelease" ::); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

  // c [32, 32] f32 = a [32, 32 depths] * b, a's rows a_stride bytes apart, the
  // two columns of b's tiles b_column bytes apart, c's rows c_stride bytes.
  HWY_INLINE void Product(const std::byte* a, size_t a_stride,
                          const std::byte* b, size_t b_column, size_t depths,
                          std::byte* c, size_t c_stride) const {
    const std::byte* a2 = a + 16 * a_stride;
    ETALON_TILE_ZERO(0);
    ETALON_TILE_ZERO(1);
    ETALON_TILE_ZERO(2);
    ETALON_TILE_ZERO(3);
    for (size_t i = 0; i < depths; ++i) {
      ETALON_TILE_LOAD(6, b + i * kTileBytes, 64);
      ETALON_TILE_LOAD(4, a + i * 64, a_stride);
      ETALON_TILE_DOT(0, 4, 6);
      ETALON_TILE_LOAD(7, b + b_column + i * kTileBytes, 64);
      ETALON_TILE_DOT(1, 4, 7);
      ETALON_TILE_LOAD(5, a2 + i * 64, a_stride);
      ETALON_TILE_DOT(2, 5, 6);
      ETALON_TILE_DOT(3, 5, 7);
    }
    ETALON_TILE_STORE(0, c, c_stride);
    ETALON_TILE_STORE(1, c + 64, c_stride);
    ETALON_TILE_STORE(2, c + 16 * c_stride, c_stride);
    ETALON_TILE_STORE(3, c + 16 * c_stride + 64, c_stride);
  }
};

}  // namespace N_AVX3_BF16
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
