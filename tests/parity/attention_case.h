// An attention problem of any variant, with NaN wherever nothing may be read:
// behind kv_len, between rows, at positions that a window or a mask hides from
// all rows.
#ifndef ETALON_TESTS_PARITY_ATTENTION_CASE_H_
#define ETALON_TESTS_PARITY_ATTENTION_CASE_H_

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "etalon/backend.h"
#include "etalon/config.h"
#include "tests/util/random.h"

namespace etalon::test {

enum class Variant {
  kPlain,
  kBidirectional,
  kWindow,
  kSoftcap,
  kAlibi,
  kMask,
  kSinks,
  kGate,
  kAll,
};
inline constexpr const char* kVariantNames[] = {
    "plain", "bidirectional", "window", "softcap", "alibi",
    "mask",  "sinks",         "gate",   "all"};

// What the scores and values look like (numerics.md's families of inputs).
enum class Inputs {
  kNormal,
  kUniform,
  kExactInt,
  kLarge,     // scores of hundreds
  kConstant,  // all scores equal
  kOneHot,    // one score far above the rest
  kRising,    // every key a new maximum
  kFalling,
  kOutlier,
  kOffsetV,  // 50 +- 0.01
  kCancelV,  // neighbours cancel
  kTiny,     // products underflow
  kZero,     // signed zeros
};
inline constexpr const char* kInputNames[] = {
    "normal",   "uniform", "exact_int", "large",   "constant",
    "one_hot",  "rising",  "falling",   "outlier", "offset_v",
    "cancel_v", "tiny",    "zero"};

struct AttentionCase {
  size_t n_tokens = 1, n_kv_heads = 1, q_per_kv = 1, kv_len = 1;
  size_t head_dim = 16, head_dim_v = 16;
  TensorType type_k = TensorType::kF32, type_v = TensorType::kF32;
  Variant variant = Variant::kPlain;
  Inputs inputs = Inputs::kNormal;
  bool token_major = false;

  size_t n_heads() const { return n_kv_heads * q_per_kv; }
  bool Has(Variant v) const {
    return variant == v || (variant == Variant::kAll && v != Variant::kPlain &&
                            v != Variant::kBidirectional);
  }
  bool causal() const { return variant != Variant::kBidirectional; }
  // Not a power of two, so that its edge falls inside chunks and blocks.
  size_t window() const {
    return Has(Variant::kWindow) ? 1 + kv_len * 3 / 7 : 0;
  }
  // Multiplications of q k: the price of a case.
  size_t Cost() const {
    return n_tokens * n_heads() * kv_len * (head_dim + head_dim_v) / 2;
  }
  std::string Text() const {
    return fmt::format(
        "{} T={} Hkv={} q_per_kv={} kv_len={} hd={}/{} {}/{} {}{}",
        kVariantNames[static_cast<size_t>(variant)], n_tokens, n_kv_heads,
        q_per_kv, kv_len, head_dim, head_dim_v, TypeName(type_k),
        TypeName(type_v), kInputNames[static_cast<size_t>(inputs)],
        token_major ? " token-major" : "");
  }
};

class AttentionData {
 public:
  AttentionData(const AttentionCase& c, uint32_t stream) : c_(c) {
    Random rng(stream);
    const size_t n_rows = c.n_tokens * c.n_heads();
    q_ = rng.Vector(QueryFamily(), n_rows * c.head_dim);
    std::vector<float> k =
        Drawn(rng, QueryFamily(), c.kv_len * c.n_kv_heads * c.head_dim);
    std::vector<float> v =
        Drawn(rng, ValueFamily(), c.kv_len * c.n_kv_heads * c.head_dim_v);
    Shape(k, v);
    MakeCache(c.type_k, c.head_dim, k, &k_bytes_, &k_);
    MakeCache(c.type_v, c.head_dim_v, v, &v_bytes_, &v_);
    for (size_t h = 0; h < c.n_heads(); ++h) {
      slopes_.push_back(std::ldexp(1.0f, -static_cast<int>(h % 8 + 1)));
      sinks_.push_back(rng.Normal() * 3.0f);
    }
    if (c.Has(Variant::kGate)) {
      gate_ = rng.Vector(Family::kNormal, n_rows * c.head_dim_v);
      for (size_t i = 0; i < gate_.size(); ++i) {
        gate_[i] *= i % 7 == 3 ? 40.0f : 3.0f;
      }
    }
    if (c.Has(Variant::kMask)) MakeMask(rng);
    Poison();
  }

  // Outputs are the caller's: [n_tokens, n_heads, head_dim_v] at `stride`.
  AttentionArgs Args(float* out, size_t token_stride) const {
    AttentionArgs a;
    a.q = {q_.data(),
           c_.n_tokens,
           c_.n_heads(),
           c_.head_dim,
           c_.n_heads() * c_.head_dim,
           c_.head_dim};
    a.k = Const(k_);
    a.v = Const(v_);
    a.kv_len = c_.kv_len;
    a.scale = 1.0f / std::sqrt(static_cast<float>(c_.head_dim));
    a.causal = c_.causal();
    a.out = {out,           c_.n_tokens,  c_.n_heads(),
             c_.head_dim_v, token_stride, c_.head_dim_v};
    a.variant.window = c_.window();
    if (c_.Has(Variant::kSoftcap)) a.variant.softcap = 5.0f;
    if (c_.Has(Variant::kAlibi)) a.variant.alibi_slopes = slopes_;
    if (c_.Has(Variant::kSinks)) a.variant.sinks = sinks_;
    if (!mask_.empty()) {
      a.variant.mask = {mask_.data(), c_.n_heads() * c_.kv_len, c_.kv_len};
    }
    if (!gate_.empty()) {
      a.gate = {gate_.data(),
                c_.n_tokens,
                c_.n_heads(),
                c_.head_dim_v,
                c_.n_heads() * c_.head_dim_v,
                c_.head_dim_v};
    }
    return a;
  }
  // Tokens [begin, begin + n) alone, as a later prefill call sees them.
  AttentionArgs Slice(AttentionArgs a, size_t begin, size_t n) const {
    a.q.data = a.q.at(begin, 0);
    a.out.data = a.out.at(begin, 0);
    a.q.n_tokens = a.out.n_tokens = n;
    if (a.gate.data != nullptr) {
      a.gate.data = a.gate.at(begin, 0);
      a.gate.n_tokens = n;
    }
    if (a.variant.mask.data != nullptr) {
      a.variant.mask.data += begin * a.variant.mask.token_stride;
    }
    a.kv_len = c_.kv_len - c_.n_tokens + begin + n;
    return a;
  }

 private:
  // n elements; from a prime number on they repeat, out of step with any row.
  static std::vector<float> Drawn(Random& rng, Family family, size_t n) {
    constexpr size_t kPool = 262139;
    std::vector<float> x = rng.Vector(family, std::min(n, kPool));
    x.resize(n);
    for (size_t i = kPool; i < n; ++i) x[i] = x[i - kPool];
    return x;
  }
  Family QueryFamily() const {
    switch (c_.inputs) {
      case Inputs::kUniform:
        return Family::kUniform;
      case Inputs::kExactInt:
        return Family::kExactInt;
      case Inputs::kOutlier:
        return Family::kOutlier;
      case Inputs::kTiny:
        return Family::kTiny;
      case Inputs::kZero:
        return Family::kZero;
      default:
        return Family::kNormal;
    }
  }
  Family ValueFamily() const {
    switch (c_.inputs) {
      case Inputs::kOffsetV:
        return Family::kOffset;
      case Inputs::kCancelV:
        return Family::kCancel;
      case Inputs::kExactInt:
      case Inputs::kOutlier:
      case Inputs::kTiny:
      case Inputs::kZero:
        return QueryFamily();
      default:
        return Family::kNormal;
    }
  }
  // k and v are [kv_len, n_kv_heads, dim].
  void Shape(std::vector<float>& k, std::vector<float>& v) {
    const size_t row = c_.n_kv_heads * c_.head_dim;
    const float n = static_cast<float>(c_.kv_len);
    for (size_t p = 0; p < c_.kv_len; ++p) {
      float factor = 1.0f;
      const float at = static_cast<float>(p + 1) / n;
      if (c_.inputs == Inputs::kLarge) factor = 80.0f;
      if (c_.inputs == Inputs::kRising) factor = 30.0f * at;
      if (c_.inputs == Inputs::kFalling) factor = 30.0f * (1.0f - at);
      if (c_.inputs == Inputs::kOneHot) factor = p == c_.kv_len / 2 ? 60.0f : 0;
      for (size_t i = p * row; i < (p + 1) * row; ++i) {
        // The same sign as the query's, so that factors order the scores.
        if (factor != 1.0f && c_.inputs != Inputs::kLarge) {
          k[i] = std::fabs(k[i]) + 0.5f;
        }
        k[i] = c_.inputs == Inputs::kConstant ? 0.25f : k[i] * factor;
      }
    }
    const bool ordered = c_.inputs == Inputs::kRising ||
                         c_.inputs == Inputs::kFalling ||
                         c_.inputs == Inputs::kOneHot;
    if (ordered) {
      for (float& x : q_) x = std::fabs(x) + 0.25f;
    }
    static_cast<void>(v);
  }

  static size_t Block(TensorType type) {
    return GetTypeTraits(type).block_size;
  }
  void MakeCache(TensorType type, size_t dim, const std::vector<float>& x,
                 std::vector<std::byte>* bytes, MutableKvView* view) {
    const size_t block = Block(type);
    const size_t capacity = c_.kv_len + 3;
    const size_t lanes = (dim + block - 1) / block * block + 3 * block;
    *view = {type, nullptr, c_.n_kv_heads, capacity, dim, 0, 0};
    view->head_stride = c_.token_major ? lanes : lanes * capacity;
    view->pos_stride = c_.token_major ? lanes * c_.n_kv_heads : lanes;
    const TypeTraits& traits = GetTypeTraits(type);
    // All ones is a NaN in every type, and in the scale of a block.
    bytes->assign(lanes * capacity * c_.n_kv_heads / block * traits.block_bytes,
                  std::byte{0xff});
    view->data = bytes->data();
    Workspace workspace;
    const Config config;
    ExecContext ctx{&workspace, &config, 1};
    const Status status = ops::KvWrite(
        {{x.data(), c_.kv_len, c_.n_kv_heads, dim, c_.n_kv_heads * dim, dim},
         0,
         *view,
         0},
        ctx);
    EXPECT_TRUE(status) << status.error().message;
  }
  static KvView Const(const MutableKvView& c) {
    return {c.type,     c.data,        c.n_kv_heads, c.kv_capacity,
            c.head_dim, c.head_stride, c.pos_stride};
  }

  // Numbers, and -Inf in patterns that rotate with the row: single positions,
  // runs across blocks and chunks, everything but one position, everything.
  void MakeMask(Random& rng) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const size_t n = c_.kv_len;
    mask_ = rng.Vector(Family::kNormal, c_.n_tokens * c_.n_heads() * n);
    for (size_t row = 0; row < c_.n_tokens * c_.n_heads(); ++row) {
      float* m = mask_.data() + row * n;
      for (size_t p = 0; p < n; ++p) {
        bool hide = AlwaysHidden(p);
        switch (row % 5) {
          case 0:
            hide = hide || p % 3 == 1;
            break;
          case 1:
            hide = hide || (p >= 17 && p < 300);
            break;
          case 2:
            hide = hide || p < n / 2;
            break;
          case 3:  // no -Inf of its own: numbers only
            break;
          case 4:
            hide = hide || (row % 10 == 4 && p != n / 3);
            break;
        }
        if (hide) m[p] = -kInf;
      }
      // A row without any visible position is 0 / 0: only with sinks.
      if (row == 6 && c_.Has(Variant::kSinks)) std::fill(m, m + n, -kInf);
    }
  }
  // By every row's mask.
  bool AlwaysHidden(size_t p) const {
    return c_.kv_len > 4 && (p % 29 == 11 || p == c_.kv_len / 2 + 1);
  }
  // Where no row may look, whatever the variant hides.
  void Poison() {
    for (size_t p = 0; p < c_.kv_len; ++p) {
      const size_t window = c_.window();
      const size_t first_row = c_.kv_len - c_.n_tokens;
      const bool out_of_window = window != 0 && p + window <= first_row;
      const bool masked = c_.Has(Variant::kMask) && AlwaysHidden(p);
      if (!out_of_window && !masked) continue;
      for (const MutableKvView* x : {&k_, &v_}) {
        const TypeTraits& traits = GetTypeTraits(x->type);
        const size_t blocks =
            (x->head_dim + traits.block_size - 1) / traits.block_size;
        for (size_t h = 0; h < x->n_kv_heads; ++h) {
          const size_t at = h * x->head_stride + p * x->pos_stride;
          std::memset(x->data + at / traits.block_size * traits.block_bytes,
                      0xff, blocks * traits.block_bytes);
        }
      }
    }
  }

  AttentionCase c_;
  std::vector<float> q_, gate_, mask_, slopes_, sinks_;
  std::vector<std::byte> k_bytes_, v_bytes_;
  MutableKvView k_, v_;
};

}  // namespace etalon::test

#endif  // ETALON_TESTS_PARITY_ATTENTION_CASE_H_
