// mlx-native's calls: each requirement by name, against plain loops in their
// own layouts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "quant/f16.h"
#include "tests/ops/adapters_fixture.h"
#include "tests/util/random.h"

namespace etalon::test {
namespace {

struct Mlx {
  adapters::mlx::SdpaParams p{4, 2, 16, 5, 50, 0.25f, 60, 1};
  uint32_t batch = 2;
  TensorType type = TensorType::kF32;
  std::vector<float> q, k, v;  // as stored
  std::vector<std::byte> qb, kb, vb, ob;

  void Fill(uint32_t seed) {
    Random rng(seed);
    q = rng.Vector(Family::kNormal,
                   size_t{batch} * p.n_heads * p.seq_len * p.head_dim);
    const size_t cache =
        size_t{batch} * p.n_kv_heads * p.kv_capacity * p.head_dim;
    k = rng.Vector(Family::kNormal, cache);
    v = rng.Vector(Family::kNormal, cache);
    for (size_t i = 0; i < cache; ++i) {
      if (i / p.head_dim % p.kv_capacity < p.kv_seq_len) continue;
      k[i] = v[i] = std::nanf("");  // the tail of the capacity
    }
    Store(q, qb), Store(k, kb), Store(v, vb);
    ob.assign(qb.size(), std::byte{0x55});
  }
  void Store(std::vector<float>& x, std::vector<std::byte>& bytes) const {
    const bool wide = type == TensorType::kF32;
    bytes.resize(x.size() * (wide ? 4 : 2));
    for (size_t i = 0; i < x.size(); ++i) {
      if (wide) {
        std::memcpy(&bytes[4 * i], &x[i], 4);
      } else {
        const uint16_t bits = F32ToBF16(x[i]);
        std::memcpy(&bytes[2 * i], &bits, 2);
        x[i] = BF16ToF32(bits);
      }
    }
  }
  Status Run(ExecContext& ctx) {
    return adapters::mlx::Sdpa(p, batch, {type, qb}, {type, kb}, {type, vb},
                               {type, ob}, ctx);
  }
  float Out(size_t i) const {
    if (type == TensorType::kF32) {
      float x;
      std::memcpy(&x, &ob[4 * i], 4);
      return x;
    }
    uint16_t bits;
    std::memcpy(&bits, &ob[2 * i], 2);
    return BF16ToF32(bits);
  }
};

TEST_F(Adapters, D01_D08_ParameterBlock) {
  EXPECT_EQ(sizeof(adapters::mlx::SdpaParams), 32u);
  const adapters::mlx::SdpaParams p;
  EXPECT_EQ(p.n_heads + p.head_dim + p.seq_len + p.kv_capacity, 0u);
  EXPECT_EQ(p.scale, 1.0f);
  EXPECT_EQ(p.do_causal, 1u);
}

TEST_F(Adapters, D02_D03_D05_D07_D09_BatchedSdpa) {
  for (const TensorType type : {TensorType::kF32, TensorType::kBF16}) {
    for (const uint32_t causal : {0u, 1u}) {
      Mlx m;
      m.type = type;
      m.p.do_causal = causal;
      m.p.seq_len = 35;  // no multiple of a tile
      m.Fill(40);
      ASSERT_TRUE(m.Run(ctx()));
      const size_t dim = m.p.head_dim, cap = m.p.kv_capacity;
      for (size_t b = 0; b < m.batch; ++b) {
        for (size_t h = 0; h < m.p.n_heads; ++h) {
          const size_t head = b * m.p.n_kv_heads + h / 2;
          const auto at = [&](const std::vector<float>& x) {
            return [&x, head, cap, dim](size_t p, size_t d) {
              return static_cast<double>(x[(head * cap + p) * dim + d]);
            };
          };
          for (size_t t = 0; t < m.p.seq_len; ++t) {
            const size_t row = (b * m.p.n_heads + h) * m.p.seq_len + t;
            const size_t n = causal != 0 ? m.p.kv_seq_len - m.p.seq_len + t + 1
                                         : m.p.kv_seq_len;
            const auto want =
                Attend(m.q.data() + row * dim, n, dim, 0.25, at(m.k), at(m.v));
            for (size_t d = 0; d < dim; ++d) {
              const double tolerance = type == TensorType::kF32
                                           ? 1e-5
                                           : 1e-5 + 0x1p-8 * std::fabs(want[d]);
              ASSERT_NEAR(static_cast<double>(m.Out(row * dim + d)), want[d],
                          tolerance);
            }
          }
        }
      }
    }
  }
}

// A plan is checked when it is made and runs when it is told to, on what the
// buffers hold then.
TEST_F(Adapters, D06_PlanIsCheckedFirstAndRunLater) {
  Mlx m;
  m.Fill(43);
  const auto plan = [&] {
    return adapters::mlx::PlanSdpa(m.p, m.batch, {m.type, m.qb}, {m.type, m.kb},
                                   {m.type, m.vb}, {m.type, m.ob});
  };
  const auto made = plan();
  ASSERT_TRUE(made);
  const std::vector<std::byte> untouched = m.ob;
  m.Store(m.k = m.v, m.kb);  // the buffers' contents change, not their place
  EXPECT_EQ(m.ob, untouched);
  ASSERT_TRUE(adapters::mlx::Execute(*made, ctx()));
  const std::vector<std::byte> later = m.ob;
  EXPECT_NE(later, untouched);
  m.ob = untouched;
  ASSERT_TRUE(adapters::mlx::Execute(*made, ctx()));
  EXPECT_EQ(m.ob, later);
  m.ob = untouched;
  ASSERT_TRUE(m.Run(ctx()));
  EXPECT_EQ(m.ob, later);
  m.p.seq_len = 0;
  EXPECT_EQ(plan().error().message, "sdpa: seq_len is 0");
}

TEST_F(Adapters, D04_D05_D09_ErrorsInOrderAndNothingWritten) {
  Mlx m;
  m.Fill(41);
  const auto expect = [&](const std::string& text) {
    const Status status = m.Run(ctx());
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(m.ob.begin(), m.ob.end(), std::byte{0x55}),
              static_cast<ptrdiff_t>(m.ob.size()));
  };
  m.ob.pop_back();
  expect("sdpa: output buffer too small: expected 2560 bytes, got 2559");
  m.vb.pop_back();
  expect("sdpa: V buffer too small: expected 15360 bytes, got 15359");
  m.kb.pop_back();
  expect("sdpa: K buffer too small: expected 15360 bytes, got 15359");
  m.qb.pop_back();
  expect("sdpa: Q buffer too small: expected 2560 bytes, got 2559");
  m.p.scale = kInf;
  expect("sdpa: scale inf is not finite");
  m.p.head_dim = 577;
  expect("sdpa: head_dim 577 exceeds 576");
  m.p.seq_len = 51;
  expect("sdpa: causal with kv_seq_len 50 below seq_len 51");
  m.p.kv_capacity = 49;
  expect("sdpa: kv_capacity 49 is below kv_seq_len 50");
  m.batch = 0;
  expect("sdpa: batch is 0");
  m.type = TensorType::kF16;  // all four agree, and no kernel has it (W-X3)
  expect("sdpa: dtype 1 is not F32 or BF16");
  const auto dtypes = [&](TensorType k, TensorType v, TensorType o) {
    return adapters::mlx::Sdpa(m.p, 1, {TensorType::kF32, m.qb}, {k, m.kb},
                               {v, m.vb}, {o, m.ob}, ctx())
        .error()
        .message;
  };
  const TensorType f = TensorType::kF32, b = TensorType::kBF16;
  EXPECT_EQ(dtypes(b, b, b), "sdpa: K has dtype 30, Q has 0");
  EXPECT_EQ(dtypes(f, b, b), "sdpa: V has dtype 30, Q has 0");
  EXPECT_EQ(dtypes(f, f, b), "sdpa: output has dtype 30, Q has 0");
  m.p.kv_seq_len = 0;
  expect("sdpa: kv_seq_len is 0");
  m.p.seq_len = 0;
  expect("sdpa: seq_len is 0");
  m.p.n_heads = 16, m.p.n_kv_heads = 7;
  expect("sdpa: n_heads 16 is not a multiple of n_kv_heads 7");
  m.p.n_kv_heads = 0;
  expect("sdpa: n_kv_heads is 0");
  m.p.n_heads = 0;
  expect("sdpa: n_heads is 0");
  m.p.head_dim = 0;
  expect("sdpa: head_dim is 0");
}

}  // namespace
}  // namespace etalon::test
