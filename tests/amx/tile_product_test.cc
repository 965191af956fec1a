// Products of tiles against plain loops over single elements.
#if defined(__x86_64__)
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "tests/amx/tile_fixture.h"
#include "tests/util/random.h"

namespace etalon::amx {
namespace {

using test::Family;
using test::Random;

// Whole tiles in memory; a product looks at a part.
struct Words {
  uint32_t at[kMaxRows][16];

  template <class Draw>
  void Fill(Draw draw) {
    for (auto& row : at) {
      for (uint32_t& word : row) word = draw();
    }
  }
};
constexpr ptrdiff_t kStride = sizeof(Words::at[0]);

// Upon c, and then once more: accumulates.
template <TileOp op, int c, int a, int b>
Words Product(const Extents& e, const Words& from, const Words& xs,
              const Words& ys) {
  LoadConfig(DotConfig(e, c, a, b));
  LoadTile<c>(&from, kStride);
  LoadTile<a>(&xs, kStride);
  LoadTile<b>(&ys, kStride);
  DotTiles<op, c, a, b>();
  DotTiles<op, c, a, b>();
  Words out = from;
  StoreTile<c>(&out, kStride);
  return out;
}

template <class T>
int64_t ByteOf(uint32_t word, int j) {
  return static_cast<T>(word >> (8 * j));
}

class TileProduct : public TileTest {
 protected:
  // Every byte and every start: sums wrap, and do not saturate.
  template <TileOp op, class A, class B>
  void CheckIntegers() {
    Random rng(401);
    for (const Extents& e : EdgeExtents()) {
      Words from, xs, ys;
      for (Words* w : {&from, &xs, &ys}) w->Fill([&] { return rng.Bits(); });
      xs.at[0][0] = 0x80808080u;
      ys.at[0][0] = 0xff80ff80u;
      Words want = from;
      for (int m = 0; m < e.m; ++m) {
        for (int n = 0; n < e.n; ++n) {
          int64_t sum = 0;
          for (int k = 0; k < e.k; ++k) {
            for (int j = 0; j < 4; ++j) {
              sum += ByteOf<A>(xs.at[m][k], j) * ByteOf<B>(ys.at[k][n], j);
            }
          }
          want.at[m][n] += static_cast<uint32_t>(2 * sum);
        }
      }
      const Words low = Product<op, 0, 4, 6>(e, from, xs, ys);
      const Words high = Product<op, 7, 1, 2>(e, from, xs, ys);
      ASSERT_EQ(std::memcmp(&low, &want, sizeof want), 0)
          << "m, k, n = " << e.m << ", " << e.k << ", " << e.n;
      ASSERT_EQ(std::memcmp(&high, &want, sizeof want), 0)
          << "m, k, n = " << e.m << ", " << e.k << ", " << e.n;
    }
  }
};

TEST_F(TileProduct, SignedTimesSignedIsExact) {
  CheckIntegers<TileOp::kDotSS, int8_t, int8_t>();
}
TEST_F(TileProduct, SignedTimesUnsignedIsExact) {
  CheckIntegers<TileOp::kDotSU, int8_t, uint8_t>();
}
TEST_F(TileProduct, UnsignedTimesSignedIsExact) {
  CheckIntegers<TileOp::kDotUS, uint8_t, int8_t>();
}
TEST_F(TileProduct, UnsignedTimesUnsignedIsExact) {
  CheckIntegers<TileOp::kDotUU, uint8_t, uint8_t>();
}

// Denormals are zeros of their sign, as operands and as results.
float Flush(float x) {
  return std::fabs(x) < FLT_MIN ? std::copysign(0.0f, x) : x;
}
float FlushedFma(float a, float b, float c) {
  return Flush(std::fmaf(Flush(a), Flush(b), Flush(c)));
}
float FlushedAdd(float a, float b) { return Flush(Flush(a) + Flush(b)); }

float Low(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float High(uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }
uint32_t Pair(float low, float high) {
  return std::bit_cast<uint32_t>(low) >> 16 |
         (std::bit_cast<uint32_t>(high) & 0xffff0000u);
}

Words WantBf16(const Extents& e, const Words& from, const Words& xs,
               const Words& ys) {
  Words want = from;
  for (int m = 0; m < e.m; ++m) {
    for (int n = 0; n < e.n; ++n) {
      float even = 0, odd = 0;
      for (int k = 0; k < e.k; ++k) {
        even = FlushedFma(Low(xs.at[m][k]), Low(ys.at[k][n]), even);
        odd = FlushedFma(High(xs.at[m][k]), High(ys.at[k][n]), odd);
      }
      const float sum = FlushedAdd(even, odd);
      const float once = FlushedAdd(std::bit_cast<float>(from.at[m][n]), sum);
      want.at[m][n] = std::bit_cast<uint32_t>(FlushedAdd(once, sum));
    }
  }
  return want;
}

TEST_F(TileProduct, Bf16SumsInTwoLanesAndFlushes) {
  Random rng(402);
  // Ordinary, with cancellation; products and sums about the smallest normal
  // number; operands below it times large ones.
  const auto draw_a = [&](int kind) {
    return kind == 0   ? rng.Draw(Family::kWide, 0)
           : kind == 1 ? rng.WithExponent(-72, -60)
                       : rng.Draw(Family::kSubnormal, 0);
  };
  const auto draw_b = [&](int kind) {
    return kind == 0   ? rng.Draw(Family::kWide, 0)
           : kind == 1 ? rng.WithExponent(-72, -60)
                       : rng.WithExponent(90, 120);
  };
  const auto draw_c = [&](int kind) {
    return kind == 0   ? rng.Draw(Family::kWide, 0)
           : kind == 1 ? rng.Draw(Family::kTiny, 0)
                       : rng.Draw(Family::kSubnormal, 0);
  };
  for (const int kind : {0, 1, 2}) {
    size_t flushed = 0, normal = 0;
    for (const Extents& e : EdgeExtents()) {
      Words from, xs, ys;
      from.Fill([&] { return std::bit_cast<uint32_t>(draw_c(kind)); });
      xs.Fill([&] { return Pair(draw_a(kind), draw_a(kind)); });
      ys.Fill([&] { return Pair(draw_b(kind), draw_b(kind)); });
      const Words want = WantBf16(e, from, xs, ys);
      const Words got = Product<TileOp::kDotBf16, 0, 4, 6>(e, from, xs, ys);
      for (int m = 0; m < kMaxRows; ++m) {
        for (int n = 0; n < 16; ++n) {
          ASSERT_EQ(got.at[m][n], want.at[m][n])
              << "kind " << kind << ", m, k, n = " << e.m << ", " << e.k << ", "
              << e.n << " at " << m << ", " << n;
        }
      }
      for (int m = 0; m < e.m; ++m) {
        for (int n = 0; n < e.n; ++n) {
          (got.at[m][n] << 1 == 0 ? flushed : normal) += 1;
        }
      }
    }
    // The inputs are what they are meant to be.
    EXPECT_EQ(flushed > 100, kind != 0) << flushed;
    EXPECT_EQ(normal > 1000, kind != 2) << normal;
  }
}

// An infinite factor times what lies beyond the other's columns is nothing.
TEST_F(TileProduct, Bf16SpecialValuesStayInTheirRow) {
  constexpr float kInf = INFINITY;
  Words from{}, xs{}, ys{};
  ys.Fill([] { return Pair(1.0f, 1.0f); });
  xs.at[1][2] = Pair(kInf, 0.0f);
  xs.at[3][0] = Pair(kInf, -kInf);
  const Extents small = {4, 3, 5};
  Words got = Product<TileOp::kDotBf16, 0, 4, 6>(small, from, xs, ys);
  for (int n = 0; n < small.n; ++n) {
    EXPECT_EQ(got.at[0][n], 0u);
    EXPECT_EQ(std::bit_cast<float>(got.at[1][n]), kInf);
    EXPECT_EQ(got.at[2][n], 0u);
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(got.at[3][n])));
  }
}

// The caller's rounding and flags play no part: toward zero, nothing flushed.
TEST_F(TileProduct, Bf16IgnoresAndKeepsMxcsr) {
  const auto get = [] {
    uint32_t value;
    asm volatile("stmxcsr %0" : "=m"(value));
    return value;
  };
  const auto set = [](uint32_t value) {
    asm volatile("ldmxcsr %0" ::"m"(value) : "memory");
  };
  Random rng(403);
  const Extents e = {16, 16, 16};
  Words from, xs, ys;
  from.Fill([&] { return std::bit_cast<uint32_t>(rng.Normal()); });
  xs.Fill([&] { return Pair(rng.Normal(), 0x1p-100f); });
  ys.Fill([&] { return Pair(rng.Normal(), 0x1p-40f); });
  const Words want = WantBf16(e, from, xs, ys);
  const uint32_t saved = get();
  const uint32_t toward_zero = 0x1f80u | 3u << 13;
  set(toward_zero);
  const Words got = Product<TileOp::kDotBf16, 0, 4, 6>(e, from, xs, ys);
  const uint32_t after = get();
  set(saved);
  EXPECT_EQ(after, toward_zero);
  EXPECT_EQ(std::memcmp(&got, &want, sizeof want), 0);
}

}  // namespace
}  // namespace etalon::amx
#endif  // __x86_64__
