// Attention as flash kernels do it: keys in chunks, a running maximum, sum and
// output. Each `Is("...")` is one bug of the catalogue.
#include <algorithm>
#include <limits>

#include "reference/formats.h"
#include "reference/golden/emulator_kernels.h"

namespace etalon::golden::internal {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Keys and values [n_kv_heads, kv_capacity, head_dim] with the bugs of
// indexing.
struct Cache {
  std::vector<double> data;
  size_t n_heads, capacity, head_dim, kv_len;

  double At(const Emulation& e, size_t h, size_t p, size_t d) const {
    size_t i = (h * capacity + p) * head_dim + d;
    if (e.Is("attn_len_as_capacity")) i = (h * kv_len + p) * head_dim + d;
    if (e.Is("attn_token_major")) i = (p * n_heads + h) * head_dim + d;
    if (e.Is("attn_transposed")) i = (h * head_dim + d) * capacity + p;
    return i < data.size() ? data[i] : std::nan("");
  }
};

}  // namespace

std::vector<double> EmulateAttention(const Emulation& e) {
  const Machine& m = e.m;
  const std::vector<double> q = e.In("q");
  const Shape qs = e.ShapeOf("q");
  const size_t n_tokens = qs[0], n_heads = qs[1], head_dim = qs[2];
  const Shape ks = e.ShapeOf("k");
  const auto kv_len = static_cast<size_t>(e.Int("kv_len"));
  Cache k{e.In("k"), ks[0], ks[1], head_dim, kv_len};
  Cache v{e.In("v"), ks[0], ks[1], head_dim, kv_len};
  if (e.Is("attn_kv_swapped")) std::swap(k.data, v.data);
  const size_t n_kv_heads = ks[0];
  const size_t q_per_kv = n_heads / n_kv_heads;
  const bool causal = e.Int("causal") != 0;
  double scale = e.F32("scale");
  const double width = static_cast<double>(head_dim);
  if (e.Is("attn_scale_missing")) scale = 1.0;
  if (e.Is("attn_scale_twice")) scale = m.R(scale * scale);
  if (e.Is("attn_scale_padded")) {
    scale =
        m.R(1.0 / std::sqrt(static_cast<double>((head_dim + 127) / 128 * 128)));
  }
  if (e.Is("attn_scale_model_dim")) {
    scale = m.R(1.0 / std::sqrt(width * static_cast<double>(n_heads)));
  }
  if (e.Is("attn_scale_no_sqrt")) scale = m.R(1.0 / width);
  if (e.Is("attn_scale_1e_3")) scale = m.R(scale * 1.001);
  if (e.Is("attn_scale_1e_4")) scale = m.R(scale * 1.0001);
  if (e.Is("attn_scale_f16")) scale = Round(Rounding::kF16, scale);
  if (e.Is("attn_scale_bf16")) scale = Round(Rounding::kBF16, scale);
  if (e.Is("attn_scale_log2e")) scale = m.R(scale * 1.4426950408889634);
  if (e.Is("attn_exp2")) scale = m.R(scale * 0.6931471805599453);
  std::vector<double> y(q.size());
  for (size_t t = 0; t < n_tokens; ++t) {
    for (size_t h = 0; h < n_heads; ++h) {
      size_t kvh = h / q_per_kv;
      if (e.Is("attn_gqa_modulo")) kvh = h % n_kv_heads;
      if (e.Is("attn_gqa_head_0")) kvh = 0;
      if (e.Is("attn_gqa_last")) kvh = n_kv_heads - 1;
      size_t visible = causal ? kv_len - n_tokens + t + 1 : kv_len;
      if (e.Is("attn_causal_plus_1") && causal) {
        visible = std::min(visible + 1, kv_len);
      }
      if (e.Is("attn_causal_minus_1") && causal) visible = visible - 1;
      if (e.Is("attn_causal_top_left") && causal) visible = t + 1;
      if (e.Is("attn_causal_ignored")) visible = kv_len;
      if (e.Is("attn_always_causal")) {
        visible = kv_len + t < n_tokens ? 0 : kv_len - n_tokens + t + 1;
      }
      if (e.Is("attn_mask_of_first") && causal) {
        visible = kv_len - n_tokens + 1;
      }
      if (e.Is("attn_kv_minus_1") && visible > 1) --visible;
      if (e.Is("attn_kv_plus_1")) ++visible;
      if (e.Is("attn_last_chunk_dropped") && visible > 256) {
        visible = visible / 256 * 256;
      }
      if (e.Is("attn_tail_keys_dropped") && visible > 16) {
        visible = visible / 16 * 16;
      }
      const size_t first_key = e.Is("attn_first_key_dropped") && visible > 1;
      const size_t n_masked = e.Is("attn_mask_zero") ||
                                      e.Is("attn_mask_finite") ||
                                      e.Is("attn_mask_after")
                                  ? kv_len
                                  : visible;
      const double* qh = q.data() + (t * n_heads + h) * head_dim;
      if (e.Is("attn_q_token_major")) {
        qh = q.data() + (h * n_tokens + t) * head_dim;
      }
      if (e.Is("attn_q_head_0")) qh = q.data() + t * n_heads * head_dim;
      size_t dot_dim = head_dim;
      if (e.Is("attn_dot_last_lane")) --dot_dim;
      if (e.Is("attn_dot_tail_dropped") && head_dim > 16) {
        dot_dim = head_dim / 16 * 16;
      }
      std::vector<double> s(n_masked);
      for (size_t p = first_key; p < n_masked; ++p) {
        const size_t kp =
            e.Is("attn_stale_key") && p + 1 == visible && p > 0 ? p - 1 : p;
        const double dot = m.Dot(
            dot_dim, [&](size_t d) { return qh[d]; },
            [&](size_t d) { return k.At(e, kvh, kp, d); });
        s[p] = m.R(dot * scale);
        if (e.Is("attn_f16_scores")) s[p] = Round(Rounding::kF16, s[p]);
        if (e.Is("attn_bf16_scores")) s[p] = Round(Rounding::kBF16, s[p]);
        if (e.Is("attn_score_0_lost") && p == 0) s[p] = 0.0;
        if (p >= visible) {
          if (e.Is("attn_mask_zero")) s[p] = 0.0;
          if (e.Is("attn_mask_finite")) s[p] = m.R(s[p] - 10.0);
        }
      }
      const size_t chunk = std::max<size_t>(
          1, m.kv_chunk == 0 ? 1 : std::min(m.kv_chunk, n_masked));
      double max = e.Is("attn_max_from_0") ? 0.0 : -kInf;
      double l = 0.0;
      std::vector<double> o(head_dim, 0.0);
      if (e.Is("attn_uninitialised")) {
        l = 0.01;
        o.assign(head_dim, 0.01);
      }
      // What a broken kernel does at joints it does at least twice in a case.
      const size_t step = bool(e.bug.starts_with("attn_join_"))
                              ? std::min<size_t>(chunk, 16)
                              : chunk;
      for (size_t begin = first_key; begin < n_masked; begin += step) {
        const size_t end = std::min(begin + step, n_masked);
        double chunk_max = -kInf;
        for (size_t p = begin; p < end; ++p) {
          chunk_max = s[p] > chunk_max ? s[p] : chunk_max;
          if (std::isnan(s[p])) chunk_max = s[p];
          if (std::isnan(chunk_max)) break;
        }
        if (e.Is("attn_join_max_first")) chunk_max = s[begin];
        double next = chunk_max > max ? chunk_max : max;
        if (std::isnan(chunk_max)) next = chunk_max;
        if (e.Is("attn_no_max")) next = 0.0;
        if (e.Is("attn_join_max_stale") && begin > first_key) next = max;
        double a =
            begin == first_key && max == -kInf ? 0.0 : m.Exp(m.R(max - next));
        if (e.Is("attn_uninitialised") && begin == first_key) a = 1.0;
        if (e.Is("attn_join_no_rescale")) a = 1.0;
        if (e.Is("attn_join_overwrites")) a = 0.0;
        const double a_l = e.Is("attn_join_rescale_o_only") ? 1.0 : a;
        const double a_o = e.Is("attn_join_rescale_l_only") ? 1.0 : a;
        std::vector<double> w(end - begin);
        for (size_t p = begin; p < end; ++p) {
          w[p - begin] = m.Exp(m.R(s[p] - next));
          if (e.Is("attn_f16_p")) {
            w[p - begin] = Round(Rounding::kF16, w[p - begin]);
          }
          if (e.Is("attn_8bit_p")) {
            w[p - begin] = std::nearbyint(w[p - begin] * 255) / 255;
          }
        }
        double sum = m.Sum(w.size(), [&](size_t i) { return w[i]; });
        if (e.Is("attn_join_l_1e_3") && begin > first_key)
          sum = m.R(sum * .999);
        if (e.Is("attn_lane_lost")) {
          for (size_t i = 3; i < w.size(); i += 16) sum = m.R(sum - w[i]);
        }
        l = m.R(m.R(l * a_l) + sum);
        if (e.Is("attn_join_l_overwritten")) l = sum;
        if (e.Is("attn_mask_after")) {
          for (size_t p = std::max(begin, visible); p < end; ++p) {
            w[p - begin] = 0.0;
          }
        }
        for (size_t d = 0; d < head_dim; ++d) {
          const auto value = [&](size_t i) {
            size_t p = begin + i;
            if (e.Is("attn_v_shifted") && p + 1 == visible && p > 0) --p;
            if (e.Is("attn_stale_value") && p + 1 == visible && p > 0) --p;
            return v.At(e, kvh, p, d);
          };
          double part = 0.0;
          for (size_t i = 0; i < w.size(); ++i) {
            const double weight =
                m.p == Rounding::kNone ? w[i] : Round(m.p, w[i]);
            const double product = weight * m.In(value(i));
            part =
                m.A(part + (m.fused || m.in != Rounding::kNone ? product
                                                               : m.R(product)));
          }
          if (e.Is("attn_f16_acc")) part = Round(Rounding::kF16, part);
          o[d] = m.A(m.R(o[d] * a_o) + part);
          if (e.Is("attn_chunk_twice") && begin == first_key) {
            o[d] = m.R(o[d] + part);
          }
        }
        max = next;
      }
      if (e.Is("attn_eps_1e_4")) l = m.R(l + 1e-4);
      if (e.Is("attn_eps_1e_6")) l = m.R(l + 1e-6);
      if (e.Is("attn_unnormalised")) l = 1.0;
      // Over an empty cache 0 is what must come, not 0 / 0.
      const bool nothing = kv_len == 0 && n_masked == 0;
      const double inverse =
          nothing && !e.Is("attn_empty_cache") ? 0.0 : m.Div(1.0, l);
      double* out = y.data() + (t * n_heads + h) * head_dim;
      if (e.Is("attn_out_token_major")) {
        out = y.data() + (h * n_tokens + t) * head_dim;
      }
      for (size_t d = 0; d < head_dim; ++d) {
        double value = m.Out(m.R(o[d] * inverse));
        if (e.Is("attn_f16_out")) value = Round(Rounding::kF16, value);
        if (e.Is("attn_bf16_out")) {
          value = Round(Rounding::kBF16Truncate, value);
        }
        if (e.Is("attn_nan_to_0") && std::isnan(value)) value = 0.0;
        if (e.Is("attn_last_lane_unwritten") && d + 1 == head_dim) value = 0.0;
        if (e.Is("attn_tail_unwritten") && d >= head_dim / 16 * 16) value = 0.0;
        out[d] = value;
      }
    }
  }
  return y;
}

std::vector<double> EmulateKvWrite(const Emulation& e) {
  const std::vector<double> x = e.In("x");
  const Shape s = e.ShapeOf("x");
  std::vector<double> y(x.size());
  for (size_t t = 0; t < s[0]; ++t) {
    for (size_t h = 0; h < s[1]; ++h) {
      for (size_t d = 0; d < s[2]; ++d) {
        size_t from = (t * s[1] + h) * s[2] + d;
        if (e.Is("kv_head_major")) from = (h * s[0] + t) * s[2] + d;
        if (e.Is("kv_token_0")) from = h * s[2] + d;
        double value = x[from];
        const bool half = e.c.outputs[0].dtype == DType::kF16;
        if (e.Is("kv_truncates") && half && std::isfinite(value)) {
          uint16_t bits = reference::DoubleToF16(value);
          if (std::abs(reference::F16ToDouble(bits)) > std::abs(value)) --bits;
          value = reference::F16ToDouble(bits);
        }
        if (e.Is("kv_saturates") && half) {
          value = std::clamp(value, -65504.0, 65504.0);
        }
        if (e.Is("kv_flushes") && half && std::abs(value) < 0x1p-14) value = 0;
        y[(h * s[0] + t) * s[2] + d] = value;
      }
    }
  }
  return y;
}

}  // namespace etalon::golden::internal
