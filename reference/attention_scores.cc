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

Keys::Keys(const KvView& cache, size_t head, size_t n)
    : dim_(cache.head_dim),
      numbers_((n + kBlock - 1) / kBlock * kBlock * dim_),
      abs_sum_(n) {
  const Format format = *WeightFormat(cache.type);
  std::vector<double> row(dim_);
  for (size_t p = 0; p < n; ++p) {
    const size_t first = head * cache.head_stride + p * cache.pos_stride;
    DecodeRow(cache.type,
              cache.data + first / format.block_size * format.block_bytes, row);
    double* at = numbers_.data() + p / kBlock * dim_ * kBlock + p % kBlock;
    for (size_t d = 0; d < dim_; ++d) {
      at[d * kBlock] = row[d];
      abs_sum_[p] += std::abs(row[d]);
    }
  }
}

std::vector<Products> ProductsOf(const AttentionArgs& args, const Keys& keys,
                                 std::span<const QueryIndex> queries) {
  constexpr size_t kBlock = Keys::kBlock;
  const HeadsView<const float>& q = args.q;
  std::vector<Products> out;
  size_t begin = args.kv_len, end = 0;
  for (const QueryIndex& x : queries) {
    Products p;
    const size_t pos = args.kv_len - q.n_tokens + x.token;
    const size_t window = args.variant.window;
    p.end = args.causal ? pos + 1 : args.kv_len;
    p.begin = window != 0 && p.end > window ? p.end - window : 0;
    begin = std::min(begin, p.begin);
    end = std::max(end, p.end);
    p.s.resize(p.end - p.begin);
    p.a.resize(p.end - p.begin);
    out.push_back(std::move(p));
  }
  for (size_t b = begin / kBlock; b * kBlock < end; ++b) {
    for (size_t i = 0; i < queries.size(); ++i) {
      Products& p = out[i];
      const size_t from = std::max(b * kBlock, p.begin);
      const size_t to = std::min((b + 1) * kBlock, p.end);
      if (from >= to) continue;
      const float* row = q.at(queries[i].token, queries[i].head);
      double s[kBlock] = {}, a[kBlock] = {};
      for (size_t d = 0; d < keys.dim(); ++d) {
        const double x = static_cast<double>(row[d]);
        const double* k = keys.At(b, d);
        for (size_t j = 0; j < kBlock; ++j) {
          s[j] += x * k[j];
          a[j] += std::abs(x) * std::abs(k[j]);
        }
      }
      std::copy(s + from % kBlock, s + from % kBlock + (to - from),
                &p.s[from - p.begin]);
      std::copy(a + from % kBlock, a + from % kBlock + (to - from),
                &p.a[from - p.begin]);
    }
  }
  return out;
}

QueryScores ScoresOf(const AttentionArgs& args, const Keys& keys,
                     const Products& products, QueryIndex query) {
  const auto [token, h] = query;
  const HeadsView<const float>& q = args.q;
  const AttentionVariant& variant = args.variant;
  const double scale = static_cast<double>(args.scale);
  const size_t pos = args.kv_len - q.n_tokens + token;
  const float* mask = MaskRow(variant.mask, token, h);
  QueryScores out;
  for (size_t p = products.begin; p < products.end; ++p) {
    if (mask == nullptr || !(static_cast<double>(mask[p]) == -kInf)) {
      out.pos.push_back(p);
    }
  }
  double q_sum = 0.0;
  for (size_t d = 0; d < q.head_dim; ++d) {
    q_sum += std::abs(static_cast<double>(q.at(token, h)[d]));
  }
  const size_t n = out.pos.size();
  // Products below 2^-126 lose up to 2^-150 each: u times the added term.
  const double floor =
      0x1p-126 * (1.0 + std::abs(scale) * static_cast<double>(q.head_dim));
  for (Eigen::VectorXd* x : {&out.s, &out.a, &out.t, &out.e, &out.d}) {
    x->setZero(Index(n));
  }
  for (size_t i = 0; i < n; ++i) {
    const size_t p = out.pos[i];
    double& s = out.s[Index(i)];
    double& a = out.a[Index(i)];
    s = scale * products.s[p - products.begin];
    a = std::abs(scale) * products.a[p - products.begin] + floor;
    out.d[Index(i)] = std::abs(scale) * (q_sum + keys.abs_sum(p));
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
      const double bias = static_cast<double>(variant.alibi_slopes[h]) *
                          static_cast<double>(p > pos ? p - pos : pos - p);
      s -= bias;
      e += std::abs(bias) + std::abs(s);
    }
    if (mask != nullptr) {
      s += static_cast<double>(mask[p]);
      e += std::abs(s);
    }
  }
  return out;
}

}  // namespace etalon::reference
