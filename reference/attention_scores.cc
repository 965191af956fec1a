#include "reference/attention_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/exp.h"
#include "reference/formats.h"

namespace etalon::reference {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// tanh from Exp, so that no libm shows; below 1/32, where 1 - exp(-2 |x|)
// cancels, its series: the first term left out is below 2^-56 of the result.
double Tanh(double x) {
  if (std::abs(x) < 0x1p-5) {
    const double y = x * x;
    return x * (1.0 +
                y * (-1.0 / 3.0 +
                     y * (2.0 / 15.0 +
                          y * (-17.0 / 315.0 +
                               y * (62.0 / 2835.0 - y * 1382.0 / 155925.0)))));
  }
  const double small = Exp(-2.0 * std::abs(x));
  return std::copysign((1.0 - small) / (1.0 + small), x);
}

const float* MaskRow(const AttentionMask& mask, size_t t, size_t h) {
  if (mask.data == nullptr) return nullptr;
  return mask.data + t * mask.token_stride + h * mask.head_stride;
}

}  // namespace

RowMajor ReadCache(const KvView& cache, size_t head, size_t n) {
  RowMajor out(Index(n), Index(cache.head_dim));
  // A row begins with a block: both strides are whole blocks.
  const Format format = *WeightFormat(cache.type);
  for (size_t p = 0; p < n; ++p) {
    const size_t first = head * cache.head_stride + p * cache.pos_stride;
    DecodeRow(cache.type,
              cache.data + first / format.block_size * format.block_bytes,
              {out.data() + p * cache.head_dim, cache.head_dim});
  }
  return out;
}

QueryScores ScoresOf(const AttentionArgs& args, const RowMajor& keys, size_t t,
                     size_t h) {
  const HeadsView<const float>& q = args.q;
  const AttentionVariant& variant = args.variant;
  const double scale = static_cast<double>(args.scale);
  const size_t pos = args.kv_len - q.n_tokens + t;
  const size_t end = args.causal ? pos + 1 : args.kv_len;
  const size_t begin =
      variant.window != 0 && end > variant.window ? end - variant.window : 0;
  const float* mask = MaskRow(variant.mask, t, h);
  QueryScores out;
  for (size_t p = begin; p < end; ++p) {
    if (mask == nullptr || !(static_cast<double>(mask[p]) == -kInf)) {
      out.pos.push_back(p);
    }
  }
  const Eigen::VectorXd row =
      Eigen::Map<const Eigen::VectorXf>(q.at(t, h), Index(q.head_dim))
          .cast<double>();
  const size_t n = out.pos.size();
  // Products below 2^-126 lose up to 2^-150 each: u times the added term.
  const double floor =
      0x1p-126 * (1.0 + std::abs(scale) * static_cast<double>(q.head_dim));
  for (Eigen::VectorXd* x : {&out.s, &out.a, &out.t, &out.e, &out.d}) {
    x->setZero(Index(n));
  }
  for (size_t i = 0; i < n; ++i) {
    const auto key = keys.row(Index(out.pos[i])).transpose();
    double& s = out.s[Index(i)];
    double& a = out.a[Index(i)];
    s = scale * row.dot(key);
    a = std::abs(scale) * row.cwiseAbs().dot(key.cwiseAbs()) + floor;
    out.d[Index(i)] =
        std::abs(scale) * (row.cwiseAbs().sum() + key.cwiseAbs().sum());
    if (variant.softcap != 0.0f) {
      const double cap = static_cast<double>(variant.softcap);
      const double tanh = Tanh(s / cap);
      s = cap * tanh;
      out.a_per_cap = std::max(out.a_per_cap, a / cap);
      out.d_per_cap = std::max(out.d_per_cap, out.d[Index(i)] / cap);
      a *= 1.0 - tanh * tanh;
      out.t[Index(i)] = std::abs(s);
    }
    double& e = out.e[Index(i)];
    if (!variant.alibi_slopes.empty()) {
      const size_t p = out.pos[i];
      const double bias = static_cast<double>(variant.alibi_slopes[h]) *
                          static_cast<double>(p > pos ? p - pos : pos - p);
      s -= bias;
      e += std::abs(bias) + std::abs(s);
    }
    if (mask != nullptr) {
      s += static_cast<double>(mask[out.pos[i]]);
      e += std::abs(s);
    }
  }
  return out;
}

}  // namespace etalon::reference
