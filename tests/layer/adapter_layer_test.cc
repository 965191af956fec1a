// The block in C-Kernel-Engine's layouts: prefill against the fp64 formula,
// decode against prefill bit by bit in every mix of types, pads poisoned where
// they come in and 0 where they go out, errors, and the backward pass.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <map>

#include "tests/layer/adapter_fixture.h"
#include "tests/util/random_blocks.h"

namespace etalon::adapters::cke {
namespace {

// Widths; aligned ones behind them.
struct Shape {
  size_t t, d, ad_model, h, hkv, hd, ad, i;
};
// Small, no width a multiple of a vector, H * hd != D, all of it padded.
constexpr Shape kSmall = {9, 44, 48, 4, 2, 12, 16, 58};
// For blocks of 256: H * ad = 512, aD = 256.
constexpr Shape kBlocks = {6, 200, 256, 8, 2, 56, 64, 512};
constexpr size_t kSeq = 40;

struct Types {
  TensorType q, k, v, o, w1, w2;
};
constexpr TensorType kF32 = TensorType::kF32, kQ4K = TensorType::kQ4_K;
constexpr Types kAllF32 = {kF32, kF32, kF32, kF32, kF32, kF32};
constexpr Types kAllQ4K = {kQ4K, kQ4K, kQ4K, kQ4K, kQ4K, kQ4K};
constexpr Types kMixed = {TensorType::kQ6_K, kQ4K, TensorType::kQ8_0,
                          TensorType::kQ5_K, kQ4K, TensorType::kQ4_1};

class Block {
 public:
  Block(test::Random& rng, const Shape& s, const Types& types, bool bias,
        bool qk_norm, bool rope)
      : shape(s),
        input(Padded::Random(rng, s.t, s.d, s.ad_model)),
        q(s.h * s.t, s.hd, s.ad),
        k(s.hkv * s.t, s.hd, s.ad),
        v(s.hkv * s.t, s.hd, s.ad),
        attn_out(s.h * s.t, s.hd, s.ad),
        output(s.t, s.d, s.ad_model),
        rng_(rng) {
    p.tokens = static_cast<int>(s.t);
    p.embed_dim = static_cast<int>(s.d);
    p.aligned_embed_dim = static_cast<int>(s.ad_model);
    p.num_heads = static_cast<int>(s.h);
    p.num_kv_heads = static_cast<int>(s.hkv);
    p.head_dim = static_cast<int>(s.hd);
    p.aligned_head_dim = static_cast<int>(s.ad);
    p.intermediate_dim = p.aligned_intermediate_dim = static_cast<int>(s.i);
    p.rope_pos_offset = 5;
    p.max_seq = kSeq;
    p.input = input.data();
    p.ln1_gamma = Vector("ln1_gamma", 1, s.d, s.d, 1);
    p.ln2_gamma = Vector("ln2_gamma", 1, s.d, s.d, 1);
    if (qk_norm) {
      p.q_gamma = Vector("q_gamma", 1, s.hd, s.hd, 1);
      p.k_gamma = Vector("k_gamma", 1, s.hd, s.hd, 1);
    }
    if (rope) {
      p.rope_cos = Vector("cos", kSeq, s.hd / 2, s.hd / 2, 0);
      p.rope_sin = Vector("sin", kSeq, s.hd / 2, s.hd / 2, 0);
    }
    // Rows of pads (of a head) meet cleared lanes only: finite. Lanes of pads
    // of f32 rows are not read at all: NaN.
    p.wq = Weights("wq", types.q, s.h * s.ad, s.d, s.ad_model);
    p.wk = Weights("wk", types.k, s.hkv * s.ad, s.d, s.ad_model);
    p.wv = Weights("wv", types.v, s.hkv * s.ad, s.d, s.ad_model);
    if (types.o == kF32) {
      p.wo = Weights("wo", kF32, s.h * s.ad_model, s.hd, s.ad);
    } else {
      p.wo = Weights("wo", types.o, s.ad_model, s.h * s.ad, s.h * s.ad);
    }
    p.w1 = Weights("w1", types.w1, 2 * s.i, s.d, s.ad_model);
    p.w2 = Weights("w2", types.w2, s.ad_model, s.i, s.i);
    if (bias) {
      p.bq = Vector("bq", s.h, s.ad, s.ad, 0);
      p.bk = Vector("bk", s.hkv, s.ad, s.ad, 0);
      p.bv = Vector("bv", s.hkv, s.ad, s.ad, 0);
      p.bo = Vector("bo", 1, s.d, s.d, 0);
      p.b1 = Vector("b1", 1, 2 * s.i, 2 * s.i, 0);
      p.b2 = Vector("b2", 1, s.d, s.d, 0);
    }
    p.k = k.data(), p.v = v.data(), p.output = output.data();
    p.q = q.data(), p.attn_out = attn_out.data();
  }

  const Padded& f32(const std::string& name) const { return rows_.at(name); }

  // The f32 block in fp64, for n tokens from RoPE row 5 on.
  reference::Layer Reference() const {
    const Shape& s = shape;
    reference::Layer r;
    r.attention = {s.h, s.hkv, s.hd, s.t,
                   1 / std::sqrt(static_cast<double>(s.hd))};
    r.eps = static_cast<double>(p.eps);
    r.attn_norm = f32("ln1_gamma").matrix();
    r.ffn_norm = f32("ln2_gamma").matrix();
    if (p.q_gamma != nullptr) {
      r.q_norm = f32("q_gamma").matrix();
      r.k_norm = f32("k_gamma").matrix();
    }
    if (p.rope_cos != nullptr) {
      r.cos = Rows(f32("cos").matrix(), 5, s.t);
      r.sin = Rows(f32("sin").matrix(), 5, s.t);
    }
    r.q = HeadRows(f32("wq").matrix(), s.h);
    r.k = HeadRows(f32("wk").matrix(), s.hkv);
    r.v = HeadRows(f32("wv").matrix(), s.hkv);
    r.o = Slabs(f32("wo").matrix());
    r.gate = Rows(f32("w1").matrix(), 0, s.i);
    r.up = Rows(f32("w1").matrix(), s.i, s.i);
    r.down = Rows(f32("w2").matrix(), 0, s.d);
    if (p.bq != nullptr) {
      r.bq = Flat(f32("bq").matrix());
      r.bk = Flat(f32("bk").matrix());
      r.bv = Flat(f32("bv").matrix());
      r.bo = f32("bo").matrix();
      r.b_gate = Columns(f32("b1").matrix(), 0, s.i);
      r.b_up = Columns(f32("b1").matrix(), s.i, s.i);
      r.b_down = f32("b2").matrix();
    }
    return r;
  }

  static reference::Matrix Rows(const reference::Matrix& m, size_t first,
                                size_t n) {
    reference::Matrix out(n, m.cols);
    std::copy(m.v.begin() + static_cast<long>(first * m.cols),
              m.v.begin() + static_cast<long>((first + n) * m.cols),
              out.v.begin());
    return out;
  }
  static reference::Matrix Columns(const reference::Matrix& m, size_t first,
                                   size_t n) {
    reference::Matrix out(m.rows, n);
    for (size_t r = 0; r < m.rows; ++r) {
      for (size_t c = 0; c < n; ++c) out(r, c) = m(r, first + c);
    }
    return out;
  }
  // Rows [0, hd) of every head's ad.
  reference::Matrix HeadRows(const reference::Matrix& m, size_t heads) const {
    reference::Matrix out(heads * shape.hd, m.cols);
    for (size_t r = 0; r < out.rows; ++r) {
      const size_t from = r / shape.hd * shape.ad + r % shape.hd;
      for (size_t c = 0; c < m.cols; ++c) out(r, c) = m(from, c);
    }
    return out;
  }
  // [heads, ad] as [1, heads * hd].
  reference::Matrix Flat(const reference::Matrix& m) const {
    reference::Matrix out(1, m.rows * shape.hd);
    for (size_t i = 0; i < out.cols; ++i) {
      out(0, i) = m(i / shape.hd, i % shape.hd);
    }
    return out;
  }
  // [H][aD][hd] as [D, H * hd].
  reference::Matrix Slabs(const reference::Matrix& m) const {
    reference::Matrix out(shape.d, shape.h * shape.hd);
    for (size_t r = 0; r < out.rows; ++r) {
      for (size_t c = 0; c < out.cols; ++c) {
        out(r, c) = m(c / shape.hd * shape.ad_model + r, c % shape.hd);
      }
    }
    return out;
  }

  Shape shape;
  LayerParams p;
  Padded input, q, k, v, attn_out, output;

 private:
  const float* Vector(const std::string& name, size_t rows, size_t width,
                      size_t pitch, float mean) {
    const auto it = rows_.emplace(
        name, Padded::Random(rng_, rows, width, pitch, mean, 0.4f));
    return it.first->second.data();
  }
  Matrix Weights(const std::string& name, TensorType type, size_t rows,
                 size_t width, size_t pitch) {
    if (type == kF32) {
      const auto it = rows_.emplace(
          name, Padded::Random(rng_, rows, width, pitch, 0, 0.25f));
      return {it.first->second.data(), kF32};
    }
    bytes_[name] = test::RandomWeightBytes(type, rows * pitch, 0.06f, rng_);
    return {bytes_[name].data(), type};
  }

  test::Random& rng_;
  std::map<std::string, Padded> rows_;
  std::map<std::string, std::vector<std::byte>> bytes_;
};

TEST_F(LayerAdapters, B01_B02_B03_B04_B05_B60_B64_PrefillIsTheFormula) {
  for (const bool bias : {false, true}) {
    for (const bool qk_norm : {false, true}) {
      for (const bool rope : {false, true}) {
        Block b(rng_, kSmall, kAllF32, bias, qk_norm, rope);
        const Shape& s = kSmall;
        std::vector<float> rstd1(s.t), rstd2(s.t);
        Padded ln1(s.t, s.d, s.ad_model), proj = ln1, mid = ln1, ln2 = ln1,
                                          mlp = ln1, swiglu(s.t, s.i, s.i);
        b.p.ln1_rstd = rstd1.data(), b.p.ln2_rstd = rstd2.data();
        b.p.ln1_out = ln1.data(), b.p.proj_tmp = proj.data();
        b.p.residual1 = mid.data(), b.p.ln2_out = ln2.data();
        b.p.mlp_out = mlp.data(), b.p.swiglu_out = swiglu.data();
        const Status status = LayerForward(b.p, CpuBackend(), ctx_);
        ASSERT_TRUE(status) << status.error().message;
        const reference::Layer r = b.Reference();
        const auto x = b.input.matrix();
        const auto want = reference::LayerForward(r, x).out;
        ExpectNear(b.output.matrix(), want, 200, "output");
        ExpectNear(ln1.matrix(), reference::RmsNormOf(x, r.attn_norm, r.eps), 3,
                   "ln1_out");
        const auto wo =
            reference::Linear(b.attn_out.TokenMajor(s.h), r.o, r.bo);
        ExpectNear(proj.matrix(), wo, 50, "proj_tmp");
        for (size_t t = 0; t < s.t; ++t) {
          for (size_t d = 0; d < s.d; ++d) {
            ASSERT_EQ(mid.at(t, d), b.input.at(t, d) + proj.at(t, d));
            ASSERT_EQ(b.output.at(t, d), mid.at(t, d) + mlp.at(t, d));
          }
        }
        ExpectNear(ln2.matrix(),
                   reference::RmsNormOf(mid.matrix(), r.ffn_norm, r.eps), 3,
                   "ln2_out");
        ExpectNear(mlp.matrix(),
                   reference::Linear(swiglu.matrix(), r.down, r.b_down), 50,
                   "mlp_out");
        for (size_t t = 0; t < s.t; ++t) {
          EXPECT_GT(rstd1[t], 0);
          EXPECT_GT(rstd2[t], 0);
        }
        for (const Padded* rows : {&b.q, &b.k, &b.v, &b.attn_out, &b.output,
                                   &ln1, &proj, &mid, &ln2, &mlp}) {
          EXPECT_TRUE(rows->PadsAre0());
        }
        // The naive form, op by op in fp64 rounded once (B-60 "_ref").
        const Padded fast = b.output;
        ASSERT_TRUE(LayerForward(b.p, ReferenceBackend(), ctx_));
        ExpectNear(b.output.matrix(), want, 60, "reference output");
        EXPECT_TRUE(b.output.PadsAre0());
        ExpectNear(fast.matrix(), b.output.matrix(), 200, "fast and reference");
      }
    }
  }
}

// T decode steps into caches with room give the bits of one prefill, fused or
// not, in f32, Q4_K with f32 and with Q8_K activations, and mixed types.
TEST_F(LayerAdapters, B06_B50_B51_B52_B61_B63_B81_DecodeHasTheBitsOfPrefill) {
  constexpr int kCap = 11;
  struct Case {
    const char* name;
    Types types;
    bool q8;
  };
  std::map<std::string, std::vector<float>> outputs;
  for (const Case& c :
       {Case{"f32", kAllF32, true}, Case{"q4k", kAllQ4K, false},
        Case{"q4k q8k", kAllQ4K, true}, Case{"mixed", kMixed, true},
        Case{"mixed f32", kMixed, false}}) {
    rng_ = test::Random(5, 6);
    const Shape& s = kBlocks;
    Block b(rng_, s, c.types, /*bias=*/true, /*qk_norm=*/true, /*rope=*/true);
    config_.q8k_activations = c.q8;
    Status status = LayerForward(b.p, CpuBackend(), ctx_);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_TRUE(b.output.PadsAre0() && b.k.PadsAre0() && b.v.PadsAre0() &&
                b.q.PadsAre0() && b.attn_out.PadsAre0())
        << c.name;
    outputs[c.name] = b.output.v;
    for (const bool fused : {false, true}) {
      for (const int n_threads : {1, 3}) {
        ctx_.n_threads = n_threads;
        Padded k(s.hkv * kCap, s.hd, s.ad), v = k;
        k.v.assign(k.v.size(), kNan);
        v.v = k.v;
        for (size_t t = 0; t < s.t; ++t) {
          Padded out(1, s.d, s.ad_model), q(s.h, s.hd, s.ad);
          LayerParams p = b.p;
          p.input = b.input.data() + t * s.ad_model;
          p.output = out.data();
          p.q = q.data();
          p.attn_out = nullptr;
          p.k = k.data(), p.v = v.data();
          // Not token_index: CKE's RoPE row is the offset alone.
          p.rope_pos_offset = 5 + static_cast<int>(t);
          status = LayerDecode(p, static_cast<int>(t), kCap, fused,
                               CpuBackend(), ctx_);
          ASSERT_TRUE(status) << status.error().message;
          ASSERT_TRUE(SameBits(out.data(), b.output.data() + t * s.ad_model,
                               s.ad_model))
              << c.name << " token " << t << " fused " << fused;
          for (size_t h = 0; h < s.h; ++h) {
            EXPECT_TRUE(SameBits(&q.at(h, 0), &b.q.at(h * s.t + t, 0), s.ad));
          }
          for (size_t h = 0; h < s.hkv; ++h) {
            EXPECT_TRUE(SameBits(&k.at(h * kCap + t, 0),
                                 &b.k.at(h * s.t + t, 0), s.ad));
            EXPECT_TRUE(SameBits(&v.at(h * kCap + t, 0),
                                 &b.v.at(h * s.t + t, 0), s.ad));
            EXPECT_TRUE(std::isnan(k.at(h * kCap + t + 1, 0)))
                << "slots behind the token";
          }
        }
      }
    }
  }
  // The switch did something: activations of 8 bits are not those of f32.
  EXPECT_NE(outputs["q4k"], outputs["q4k q8k"]);
  EXPECT_NE(outputs["mixed"], outputs["mixed f32"]);
}

TEST_F(LayerAdapters, B62_TypedErrorsAndNothingWritten) {
  Block b(rng_, kSmall, kAllF32, true, true, true);
  b.output.v.assign(b.output.v.size(), 7.0f);
  b.k.v.assign(b.k.v.size(), 7.0f);
  const std::vector<float> before = b.output.v, k_before = b.k.v;
  const auto expect = [&](const std::function<void(LayerParams&)>& change,
                          const std::string& text) {
    LayerParams p = b.p;
    change(p);
    ExpectError(LayerForward(p, CpuBackend(), ctx_), text);
    EXPECT_EQ(b.output.v, before) << text;
    EXPECT_EQ(b.k.v, k_before) << text;
  };
  using P = LayerParams;
  expect([](P& p) { p.wq.data = nullptr; }, "layer_forward: wq is null");
  expect([](P& p) { p.input = nullptr; }, "input is null");
  expect([](P& p) { p.output = nullptr; }, "output is null");
  expect([](P& p) { p.k = nullptr; }, "k is null");
  expect([](P& p) { p.rope_sin = nullptr; }, "need both or neither");
  expect([](P& p) { p.tokens = 0; }, "tokens is 0");
  expect([](P& p) { p.num_heads = -4; }, "num_heads is -4");
  expect([](P& p) { p.num_kv_heads = 3; }, "4 heads are no multiple of 3");
  expect([](P& p) { p.aligned_head_dim = 8; },
         "aligned_head_dim 8 is less than head_dim 12");
  expect([](P& p) { p.aligned_embed_dim = 40; }, "less than embed_dim 44");
  expect([](P& p) { p.rope_pos_offset = 32; },
         "rope_pos_offset 32 with 9 tokens is outside the 40 rows");
  expect([](P& p) { p.wo.type = kQ4K; }, "wo has rows of 64");
  expect([](P& p) { p.w2.type = static_cast<TensorType>(77); }, "type 77");
  expect([](P& p) { p.eps = NAN; }, "eps");
  for (const int index : {-1, 3, 1000}) {
    ExpectError(LayerDecode(b.p, index, 3, false, CpuBackend(), ctx_),
                "token_index " + std::to_string(index) + " is outside 0..2");
  }
  Padded swiglu(1, kSmall.i, kSmall.i);
  b.p.swiglu_out = swiglu.data();
  ExpectError(LayerDecode(b.p, 0, 3, /*fused=*/true, CpuBackend(), ctx_),
              "swiglu_out is wanted");
  EXPECT_EQ(b.output.v, before);
}

TEST_F(LayerAdapters, B70_B71_B72_B73_B74_BackwardInCkesLayouts) {
  for (const bool bias : {false, true}) {
    const Shape& s = kSmall;
    Block b(rng_, s, kAllF32, bias, /*qk_norm=*/bias, /*rope=*/true);
    const Padded d_out = Padded::Random(rng_, s.t, s.d, s.ad_model);
    const std::vector<float> d_out_before = d_out.v;
    Padded d_in(s.t, s.d, s.ad_model);
    Padded wq(s.h * s.ad, s.d, s.ad_model, 0),
        wk(s.hkv * s.ad, s.d, s.ad_model, 0);
    Padded wv = wk, wo(s.h * s.ad_model, s.hd, s.ad, 0);
    Padded w1(2 * s.i, s.d, s.ad_model, 0), w2(s.ad_model, s.i, s.i, 0);
    Padded ln1(1, s.d, s.d), ln2 = ln1, bo = ln1, b2 = ln1;
    Padded bq(s.h, s.hd, s.ad, 0), bk(s.hkv, s.hd, s.ad, 0), bv = bk;
    Padded b1(1, 2 * s.i, 2 * s.i), q_gamma(1, s.hd, s.hd), k_gamma = q_gamma;
    LayerGradientPointers g;
    g.d_ln1_gamma = ln1.data(), g.d_ln2_gamma = ln2.data();
    g.d_wq = wq.data(), g.d_wk = wk.data(), g.d_wv = wv.data();
    g.d_wo = wo.data(), g.d_w1 = w1.data(), g.d_w2 = w2.data();
    if (bias) {
      g.d_bq = bq.data(), g.d_bk = bk.data(), g.d_bv = bv.data();
      g.d_bo = bo.data(), g.d_b1 = b1.data(), g.d_b2 = b2.data();
      g.d_q_gamma = q_gamma.data(), g.d_k_gamma = k_gamma.data();
    }
    Status status = LayerBackward(b.p, d_out.data(), d_in.data(), g, ctx_);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_TRUE(SameBits(d_out.data(), d_out_before.data(), d_out.v.size()));
    EXPECT_TRUE(d_in.PadsAre0());
    // Whether every gradient lands in its place; how exact gradients are, the
    // derived bounds of LayerBackward's own test say.
    const reference::Layer formula = b.Reference();
    const auto want = reference::LayerBackward(
        formula, reference::LayerForward(formula, b.input.matrix()),
        d_out.matrix());
    const reference::Layer& w = want.parameters;
    ExpectNear(d_in.matrix(), want.x, 200, "d_input");
    ExpectNear(b.HeadRows(wq.matrix(), s.h), w.q, 200, "d_wq");
    ExpectNear(b.HeadRows(wk.matrix(), s.hkv), w.k, 200, "d_wk");
    ExpectNear(b.HeadRows(wv.matrix(), s.hkv), w.v, 200, "d_wv");
    ExpectNear(b.Slabs(wo.matrix()), w.o, 200, "d_wo");
    ExpectNear(Block::Rows(w1.matrix(), 0, s.i), w.gate, 200, "d_gate");
    ExpectNear(Block::Rows(w1.matrix(), s.i, s.i), w.up, 200, "d_up");
    ExpectNear(Block::Rows(w2.matrix(), 0, s.d), w.down, 200, "d_down");
    ExpectNear(ln1.matrix(), w.attn_norm, 200, "d_ln1");
    ExpectNear(ln2.matrix(), w.ffn_norm, 200, "d_ln2");
    for (size_t r = 0; r < wq.rows; ++r) {
      for (size_t c = 0; r % s.ad >= s.hd && c < s.d; ++c) {
        ASSERT_EQ(wq.at(r, c), 0) << "rows of pads";
      }
    }
    if (bias) {
      ExpectNear(b.Flat(bq.matrix()), w.bq, 200, "d_bq", Largest(w.q));
      ExpectNear(b.Flat(bk.matrix()), w.bk, 200, "d_bk", Largest(w.k));
      ExpectNear(b.Flat(bv.matrix()), w.bv, 200, "d_bv");
      ExpectNear(bo.matrix(), w.bo, 200, "d_bo");
      ExpectNear(Block::Columns(b1.matrix(), 0, s.i), w.b_gate, 200, "d_b1");
      ExpectNear(b2.matrix(), w.b_down, 200, "d_b2");
      ExpectNear(q_gamma.matrix(), w.q_norm, 200, "d_q_gamma");
      ExpectNear(k_gamma.matrix(), w.k_norm, 200, "d_k_gamma");
    }
    // Once more: parameters add up, activations do not (B-72).
    const std::vector<float> wo_once = wo.v, w1_once = w1.v, in_once = d_in.v;
    status = LayerBackward(b.p, d_out.data(), d_in.data(), g, ctx_);
    ASSERT_TRUE(status);
    for (size_t i = 0; i < wo_once.size(); ++i) {
      ASSERT_EQ(wo.v[i], 2 * wo_once[i]);
    }
    for (size_t i = 0; i < w1_once.size(); ++i) {
      ASSERT_EQ(w1.v[i], 2 * w1_once[i]);
    }
    EXPECT_EQ(d_in.v, in_once);
  }
  Block quantised(rng_, kBlocks, kAllQ4K, false, false, true);
  Padded d(kBlocks.t, kBlocks.d, kBlocks.ad_model), d_in = d;
  ExpectError(LayerBackward(quantised.p, d.data(), d_in.data(), {}, ctx_),
              "weights of type Q4_K, need F32");
}

// Tiles of tokens do not show: 150 tokens of 512 lanes are more than one.
TEST_F(LayerAdapters, B51_B52_FusedMlpHasTheBitsOfItsParts) {
  constexpr size_t kTokens = 150, kD = 256, kFfn = 512;
  for (const TensorType type : {kF32, kQ4K, TensorType::kQ8_0}) {
    const auto make = [&](size_t rows, size_t cols, auto& bytes) {
      bytes = test::RandomWeightBytes(type, rows * cols, 0.06f, rng_);
      layer::Linear l;
      l.weights = {type, bytes.data(), rows, cols, RowBytes(type, cols)};
      l.bias.assign(rows, 0.25f);
      return l;
    };
    std::vector<std::byte> a, b, c;
    const layer::Linear gate = make(kFfn, kD, a), up = make(kFfn, kD, b);
    const layer::Linear down = make(kD, kFfn, c);
    const Padded x = Padded::Random(rng_, kTokens, kD, kD);
    Padded g(kTokens, kFfn, kFfn), u = g, want(kTokens, kD, kD), got = want;
    const Span2D<const float> xs(x.data(), kTokens, kD);
    const Span2D<float> gs(g.data(), kTokens, kFfn),
        us(u.data(), kTokens, kFfn);
    const GemmPart fc1[] = {{gate.weights, gate.bias, gs},
                            {up.weights, up.bias, us}};
    ASSERT_TRUE(ops::Gemm({xs, fc1}, ctx_));
    ASSERT_TRUE(ops::SwiGlu({gs, us, gs}, ctx_));
    const GemmPart fc2 = {down.weights, down.bias, {want.data(), kTokens, kD}};
    ASSERT_TRUE(ops::Gemm({gs, {&fc2, 1}}, ctx_));
    ASSERT_TRUE(layer::FusedMlp({xs, gate, up, down, {got.data(), kTokens, kD}},
                                CpuBackend(), ctx_));
    EXPECT_TRUE(SameBits(got.data(), want.data(), got.v.size()))
        << TypeName(type);
    ExpectError(layer::FusedMlp({xs, gate, up, down, gs}, CpuBackend(), ctx_),
                "mlp: out is [150, 512], must be [150, 256]");
  }
}

// NaN in a live lane shows wherever it must, and the stage it comes from is
// seen by the observer of the model's own path.
TEST_F(LayerAdapters, B62_NanInALiveLaneIsNotSwallowed) {
  Block b(rng_, kSmall, kAllF32, false, false, true);
  b.input.at(4, 7) = kNan;
  ASSERT_TRUE(LayerForward(b.p, CpuBackend(), ctx_));
  for (size_t t = 0; t < kSmall.t; ++t) {
    for (size_t d = 0; d < kSmall.d; ++d) {
      ASSERT_EQ(std::isnan(b.output.at(t, d)), t >= 4) << t << ", " << d;
    }
  }
  EXPECT_TRUE(b.output.PadsAre0());
}

}  // namespace
}  // namespace etalon::adapters::cke
