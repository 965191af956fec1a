// The judge is judged: every reference op against plain loops in long double,
// written here from the formulas in include/etalon. No helper of reference/ is
// used but the decoders and quantisers, which formats_test and quantize_test
// check on their own.
#include "reference/oracle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "reference/exp.h"
#include "reference/formats.h"
#include "reference/quantize.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/shapes.h"

namespace etalon::reference {
namespace {

using test::Family;
using test::PaddedMatrix;
using test::Random;
using Long = long double;

constexpr Family kLive[] = {Family::kNormal, Family::kUniform,
                            Family::kWide,   Family::kOutlier,
                            Family::kOffset, Family::kCancel};

// |ours - exact| <= 2^-40 of a magnitude: far below every f32 bound, far above
// fp64's own error.
void ExpectNear(double ours, Long exact, Long magnitude, const char* what) {
  const Long error = std::abs(static_cast<Long>(ours) - exact);
  EXPECT_TRUE(error <= 0x1p-40L * magnitude + 0x1p-200L)
      << what << ": " << ours << " instead of " << static_cast<double>(exact)
      << "; " << test::SeedNote();
}

TEST(Exp, IsAccurateFarBeyondF32) {
  Random rng(1);
  double worst = 0.0;
  for (int i = 0; i < 200000; ++i) {
    const double x = static_cast<double>(rng.Uniform()) * 700.0;
    const Long exact = std::exp(static_cast<Long>(x));
    worst =
        std::fmax(worst, static_cast<double>(std::abs(Exp(x) - exact) / exact));
  }
  EXPECT_LT(worst, 0x1p-50);
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(-0.0), 1.0);
  EXPECT_EQ(Exp(-std::numeric_limits<double>::infinity()), 0.0);
  EXPECT_EQ(Exp(800.0), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(Exp(std::nan(""))));
}

TEST(Oracle, RmsNorm) {
  for (const Family family : kLive) {
    Random rng(2);
    const size_t n = 77;
    const PaddedMatrix x(rng.Vector(family, 3 * n), 3, n);
    PaddedMatrix out(3, n);
    const auto weight = rng.Vector(Family::kNormal, n);
    const auto oracle =
        RmsNormOracle({x.view(), weight, 1e-5f, out.view(), {}});
    ASSERT_TRUE(oracle) << oracle.error().message;
    for (size_t r = 0; r < 3; ++r) {
      Long sum = 0;
      for (size_t d = n; d-- > 0;) sum += Long{x.at(r, d)} * x.at(r, d);
      const Long rstd = 1 / std::sqrt(sum / n + Long{1e-5f});
      for (size_t d = 0; d < n; ++d) {
        const Long y = x.at(r, d) * rstd * weight[d];
        ExpectNear(oracle->value[r * n + d], y, std::abs(y), "rms_norm");
        ExpectNear(oracle->c[0][r * n + d], std::abs(y), std::abs(y), "C1");
      }
    }
  }
}

TEST(Oracle, RopeInBothStyles) {
  Random rng(3);
  for (const RopeStyle style :
       {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
    const size_t head_dim = 10;
    const size_t half = 3;  // 4 lanes pass through
    std::vector<float> x = rng.Vector(Family::kNormal, 2 * 2 * head_dim);
    const auto cos = rng.Vector(Family::kUniform, 5 * half);
    const auto sin = rng.Vector(Family::kUniform, 5 * half);
    const std::vector<int32_t> positions = {4, 1};
    const RopeArgs args = {{x.data(), 2, 2, head_dim, 2 * head_dim, head_dim},
                           positions,
                           {cos.data(), 5, half},
                           {sin.data(), 5, half},
                           style};
    const auto oracle = RopeOracle(args);
    ASSERT_TRUE(oracle) << oracle.error().message;
    for (size_t t = 0; t < 2; ++t) {
      for (size_t h = 0; h < 2; ++h) {
        const size_t base = (t * 2 + h) * head_dim;
        for (size_t d = 0; d < head_dim; ++d) {
          Long y = x[base + d];
          Long magnitude = std::abs(y);
          if (d < 2 * half) {
            // Which pair d belongs to, and whether it is its first element.
            const bool split = style == RopeStyle::kHalfSplit;
            const size_t i = split ? d % half : d / 2;
            const bool first = split ? d < half : d % 2 == 0;
            const size_t other =
                split ? (first ? d + half : d - half) : (first ? d + 1 : d - 1);
            const size_t row = static_cast<size_t>(positions[t]) * half + i;
            const Long a = Long{x[base + d]} * cos[row];
            const Long b = Long{x[base + other]} * sin[row];
            y = first ? a - b : a + b;
            magnitude = std::abs(a) + std::abs(b);
            ExpectNear(oracle->c[0][base + d], magnitude, magnitude, "C1");
          } else {
            EXPECT_EQ(oracle->c[0][base + d], 0.0);
          }
          ExpectNear(oracle->value[base + d], y, magnitude, "rope");
        }
      }
    }
  }
}

TEST(Oracle, ElementwiseOps) {
  for (const Family family : kLive) {
    Random rng(4);
    const size_t n = 19;
    const PaddedMatrix a(rng.Vector(family, 2 * n), 2, n);
    const PaddedMatrix b(rng.Vector(family, 2 * n), 2, n, 5, 0);
    PaddedMatrix out(2, n);
    const auto swiglu = SwiGluOracle({a.view(), b.view(), out.view()});
    const auto add = AddOracle({a.view(), b.view(), out.view()});
    const std::vector<float> scale = {0.3f, -7.0f};
    const auto scaled = ScaleRowsOracle({a.view(), scale, out.view()});
    ASSERT_TRUE(swiglu && add && scaled);
    for (size_t i = 0; i < 2 * n; ++i) {
      const Long g = a.at(i / n, i % n);
      const Long u = b.at(i / n, i % n);
      const Long y = g * (1 / (1 + std::exp(-g))) * u;
      ExpectNear(swiglu->value[i], y, std::abs(y), "swiglu");
      ExpectNear(add->value[i], g + u, std::abs(g) + std::abs(u), "add");
      ExpectNear(scaled->value[i], g * scale[i / n], std::abs(g) * 7, "scale");
    }
  }
}

TEST(Oracle, Softmax) {
  for (const Family family : {Family::kNormal, Family::kLarge, Family::kOffset,
                              Family::kConstant, Family::kUniform}) {
    Random rng(5);
    const size_t n = 41;
    const PaddedMatrix x(rng.Vector(family, 2 * n), 2, n);
    PaddedMatrix out(2, n);
    const auto oracle = SoftmaxOracle({x.view(), out.view()});
    ASSERT_TRUE(oracle) << oracle.error().message;
    for (size_t r = 0; r < 2; ++r) {
      for (size_t i = 0; i < n; ++i) {
        Long sum = 0;  // without a maximum: sum of exp(x_j - x_i)
        for (size_t j = 0; j < n; ++j) {
          sum += std::exp(Long{x.at(r, j)} - Long{x.at(r, i)});
        }
        ExpectNear(oracle->value[r * n + i], 1 / sum, 1 / sum, "softmax");
      }
    }
  }
}

TEST(Oracle, GemmWithF32Activations) {
  Random rng(6);
  for (const TensorType type : test::kWeightTypes) {
    const size_t k = 512;
    const auto w = test::MakeWeights(type, 5, k, rng);
    const PaddedMatrix x(rng.Vector(Family::kNormal, 2 * k), 2, k);
    const auto bias = rng.Vector(Family::kNormal, 5);
    PaddedMatrix out(2, 5);
    const float scale = -0.6f;
    const GemmPart part = {w.view(), bias, out.view(), scale};
    const auto oracle =
        GemmOracle({x.view(), {&part, 1}, Activations::kF32}, 0);
    ASSERT_TRUE(oracle) << oracle.error().message;
    std::vector<double> row(k);
    for (size_t n = 0; n < 5; ++n) {
      DecodeRow(type, w.view().row(n), row);
      for (size_t m = 0; m < 2; ++m) {
        Long y = bias[n];
        Long magnitude = 0;
        for (size_t i = k; i-- > 0;) {
          const Long product =
              scale * (Long{x.at(m, i)} * static_cast<float>(row[i]));
          y += product;
          magnitude += std::abs(product);
        }
        ExpectNear(oracle->value[m * 5 + n], y, magnitude, "gemm f32");
        ExpectNear(oracle->c[0][m * 5 + n], magnitude, magnitude, "C1");
      }
    }
  }
}

// With quantised activations the product is the plain dot product of the two
// dequantised vectors: a formulation without block integers.
TEST(Oracle, GemmWithQuantizedActivations) {
  for (const Family family : kLive) {
    Random rng(7);
    for (const TensorType type : test::kWeightTypes) {
      if (!IsQuantized(type)) continue;
      const size_t k = 768;
      const auto w = test::MakeWeights(type, 3, k, rng);
      const PaddedMatrix x(rng.Vector(family, 2 * k), 2, k);
      PaddedMatrix out(2, 3);
      const GemmPart part = {w.view(), {}, out.view()};
      const auto oracle =
          GemmOracle({x.view(), {&part, 1}, Activations::kAuto}, 0);
      ASSERT_TRUE(oracle) << oracle.error().message;
      std::vector<double> row(k);
      for (size_t m = 0; m < 2; ++m) {
        const size_t block = WeightFormat(type)->block_size;
        const QuantizedRow q = block == 256 ? QuantizeQ8K(x.view().row(m))
                                            : QuantizeQ8_0(x.view().row(m));
        for (size_t n = 0; n < 3; ++n) {
          DecodeRow(type, w.view().row(n), row);
          Long y = 0;
          Long magnitude = 0;
          for (size_t i = 0; i < k; ++i) {
            const Long product = Long{q.d[i / block]} * q.q[i] * row[i];
            y += product;
            magnitude += std::abs(product);
          }
          ExpectNear(oracle->value[m * 3 + n], y, magnitude, "gemm q8");
          // |d S| summed over blocks is at most the sum over elements and the
          // minima, and at least the result.
          EXPECT_GE(oracle->c[0][m * 3 + n] * (1 + 1e-12),
                    std::abs(oracle->value[m * 3 + n]));
        }
      }
    }
  }
}

struct AttentionCase {
  size_t n_tokens, n_heads, n_kv_heads, head_dim, kv_len, capacity;
  bool causal;
};

TEST(Oracle, Attention) {
  const AttentionCase cases[] = {{1, 1, 1, 4, 1, 1, true},
                                 {3, 4, 2, 5, 7, 9, true},
                                 {2, 6, 2, 8, 300, 301, true},
                                 {2, 2, 1, 3, 6, 6, false}};
  for (const Family family :
       {Family::kNormal, Family::kOffset, Family::kUniform, Family::kOutlier}) {
    for (const AttentionCase& c : cases) {
      Random rng(8);
      const auto q = rng.Vector(family, c.n_tokens * c.n_heads * c.head_dim);
      // Token-major cache: [capacity, n_kv_heads, head_dim].
      const size_t n_cache = c.capacity * c.n_kv_heads * c.head_dim;
      const auto k = rng.Vector(family, n_cache);
      const auto v = rng.Vector(family, n_cache);
      std::vector<float> out(q.size());
      const auto cache = [&](const std::vector<float>& data) {
        return KvView{TensorType::kF32,
                      reinterpret_cast<const std::byte*>(data.data()),
                      c.n_kv_heads,
                      c.capacity,
                      c.head_dim,
                      c.head_dim,
                      c.n_kv_heads * c.head_dim};
      };
      const float scale = 0.37f;
      const size_t token = c.n_heads * c.head_dim;
      const AttentionArgs args = {
          {q.data(), c.n_tokens, c.n_heads, c.head_dim, token, c.head_dim},
          cache(k),
          cache(v),
          c.kv_len,
          scale,
          c.causal,
          {out.data(), c.n_tokens, c.n_heads, c.head_dim, token, c.head_dim}};
      const auto oracle = AttentionOracle(args);
      ASSERT_TRUE(oracle) << oracle.error().message;
      for (size_t t = 0; t < c.n_tokens; ++t) {
        for (size_t h = 0; h < c.n_heads; ++h) {
          const size_t kvh = h * c.n_kv_heads / c.n_heads;
          const auto at = [&](const std::vector<float>& data, size_t p,
                              size_t d) {
            return Long{data[(p * c.n_kv_heads + kvh) * c.head_dim + d]};
          };
          std::vector<Long> s;
          std::vector<Long> a;
          Long max = -INFINITY;
          for (size_t p = 0; p < c.kv_len; ++p) {
            if (c.causal && p + c.n_tokens > c.kv_len + t) continue;
            Long dot = 0;
            Long magnitude = 0;
            for (size_t d = 0; d < c.head_dim; ++d) {
              const Long x =
                  Long{q[t * token + h * c.head_dim + d]} * at(k, p, d);
              dot += x;
              magnitude += std::abs(x);
            }
            s.push_back(dot * scale);
            a.push_back(magnitude * scale);
            max = std::fmax(max, s.back());
          }
          Long sum = 0;
          for (const Long x : s) sum += std::exp(x - max);
          for (size_t d = 0; d < c.head_dim; ++d) {
            Long o = 0;
            Long c4 = 0;
            for (size_t p = 0; p < s.size(); ++p) {
              const Long w = std::exp(s[p] - max) / sum;
              o += w * at(v, p, d);
              c4 += w * std::abs(at(v, p, d));
            }
            Long c1 = 0;
            Long c2 = 0;
            Long c3 = 0;
            for (size_t p = 0; p < s.size(); ++p) {
              const Long w = std::exp(s[p] - max) / sum;
              const Long centred = w * std::abs(at(v, p, d) - o);
              c1 += centred * a[p];
              c2 += centred * (max - s[p]);
              c3 += centred;
            }
            const size_t i = t * token + h * c.head_dim + d;
            ExpectNear(oracle->value[i], o, c4, "attention");
            ExpectNear(oracle->c[0][i], c1, c1 + c4 * a[0], "C1");
            ExpectNear(oracle->c[1][i], c2, c2 + c4, "C2");
            ExpectNear(oracle->c[2][i], c3, c3 + c4, "C3");
            ExpectNear(oracle->c[3][i], c4, c4, "C4");
          }
        }
      }
    }
  }
}

TEST(Oracle, MoeFfnIsTheSumOfItsExperts) {
  Random rng(9);
  const size_t model_dim = 64;
  const size_t ffn_dim = 32;
  const size_t n_experts = 5;
  const std::vector<float> scales = {1.0f, 0.5f, 3.0f, -1.0f, 0.7f};
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0}) {
    const auto make = [&](size_t rows, size_t cols) {
      return test::MakeWeights(type, n_experts * rows, cols, rng);
    };
    const auto gate = make(ffn_dim, model_dim);
    const auto up = make(ffn_dim, model_dim);
    const auto down = make(model_dim, ffn_dim);
    const auto stack = [&](const test::RandomWeights& w) {
      ExpertWeights e{w.view(), n_experts, w.rows / n_experts * w.stride_bytes,
                      scales};
      e.first.rows = w.rows / n_experts;
      return e;
    };
    const PaddedMatrix x(rng.Vector(Family::kNormal, 3 * model_dim), 3,
                         model_dim);
    const std::vector<int32_t> experts = {4, 0, 0, 1, 2, 4};
    const std::vector<float> weights = {0.7f, 0.3f, 0.5f, 0.5f, 0.9f, 0.1f};
    PaddedMatrix out(3, model_dim);
    // F32 weights make every stage continuous; Q8_0 with f32 activations too.
    const MoeFfnArgs args = {x.view(),
                             {experts.data(), 3, 2},
                             {weights.data(), 3, 2},
                             stack(gate),
                             stack(up),
                             stack(down),
                             out.view(),
                             Activations::kF32};
    const auto oracle = MoeFfnOracle(args, CpuStrictProfile());
    ASSERT_TRUE(oracle) << oracle.error().message;
    const auto bound = MoeFfnTolerance(*oracle, CpuStrictProfile(), 2);
    const auto weight = [&](const test::RandomWeights& w, size_t row) {
      std::vector<double> v(w.cols);
      DecodeRow(type, w.view().row(row), v);
      return v;
    };
    for (size_t t = 0; t < 3; ++t) {
      std::vector<Long> y(model_dim, 0);
      for (size_t s = 0; s < 2; ++s) {
        const size_t e = static_cast<size_t>(experts[t * 2 + s]);
        std::vector<Long> hidden;
        for (size_t j = 0; j < ffn_dim; ++j) {
          const auto wg = weight(gate, e * ffn_dim + j);
          const auto wu = weight(up, e * ffn_dim + j);
          Long g = 0;
          Long u = 0;
          for (size_t i = 0; i < model_dim; ++i) {
            g += wg[i] * Long{x.at(t, i)};
            u += wu[i] * Long{x.at(t, i)};
          }
          g *= scales[e];
          u *= scales[e];
          hidden.push_back(g / (1 + std::exp(-g)) * u);
        }
        for (size_t i = 0; i < model_dim; ++i) {
          const auto wd = weight(down, e * model_dim + i);
          Long sum = 0;
          for (size_t j = 0; j < ffn_dim; ++j) sum += wd[j] * hidden[j];
          y[i] += weights[t * 2 + s] * sum * scales[e];
        }
      }
      for (size_t i = 0; i < model_dim; ++i) {
        // The stages' f32 roundings stay within the strict bound.
        const size_t at = t * model_dim + i;
        EXPECT_TRUE(std::abs(oracle->value[at] - y[i]) <= bound[at])
            << oracle->value[at] << " instead of " << static_cast<double>(y[i]);
        EXPECT_LT(bound[at], 1e-3 * (1 + oracle->c[1][at]));
      }
    }
  }
}

}  // namespace
}  // namespace etalon::reference
