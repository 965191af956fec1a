// Row-wise kernels. Each `Is("...")` is one bug of the catalogue.
#include <algorithm>
#include <limits>
#include <numeric>

#include "reference/golden/emulator_kernels.h"

namespace etalon::golden::internal {

std::vector<double> EmulateRmsNorm(const Emulation& e) {
  const Machine& m = e.m;
  std::vector<double> x = e.In("x");
  const std::vector<double> w = e.In("weight");
  const size_t n = e.ShapeOf("x")[1];
  const double eps = e.F32("eps");
  std::vector<double> y(x.size());
  double first_rstd = 0.0;
  for (size_t r = 0; r * n < x.size(); ++r) {
    double* row = x.data() + r * n;
    size_t n_sum = n;
    if (e.Is("rms_tail_dropped")) n_sum = n / 16 * 16;
    if (e.Is("rms_last_dropped")) n_sum = n - 1;
    double mean = 0.0;
    if (e.Is("rms_mean_centred")) {
      mean = m.R(m.Sum(n, [&](size_t i) { return row[i]; }) /
                 static_cast<double>(n));
    }
    if (e.Is("rms_alias_half")) {
      // The first half is written before the sum is complete.
      for (size_t i = 0; i < n / 2; ++i) row[i] = m.R(row[i] * 0.5);
    }
    const auto centred = [&](size_t i) { return m.R(row[i] - mean); };
    double sum = 0.0;
    if (m.f64_norm_sum) {
      for (size_t i = 0; i < n_sum; ++i) sum += centred(i) * centred(i);
    } else {
      sum =
          m.Sum(n_sum, [&](size_t i) { return m.R(centred(i) * centred(i)); });
    }
    if (e.Is("rms_l1")) {
      sum = m.Sum(n, [&](size_t i) { return std::abs(row[i]); });
    }
    if (e.Is("rms_lane_lost")) {
      for (size_t i = 3; i < n; i += 16) sum = m.R(sum - m.R(row[i] * row[i]));
    }
    double count = static_cast<double>(n);
    if (e.Is("rms_n_minus_1")) count = std::max(1.0, count - 1);
    if (e.Is("rms_sum_not_mean")) count = 1;
    if (e.Is("rms_padded_n")) count = static_cast<double>((n + 15) / 16 * 16);
    double mean_square = sum / count;
    if (!m.f64_norm_sum) mean_square = m.R(mean_square);
    double rstd = 0.0;
    if (e.Is("rms_eps_outside")) {
      rstd = 1.0 / (std::sqrt(mean_square) + eps);
    } else if (e.Is("rms_eps_missing")) {
      rstd = 1.0 / std::sqrt(mean_square);
    } else if (e.Is("rms_eps_before_mean")) {
      rstd = 1.0 / std::sqrt((sum + eps) / count);
    } else if (e.Is("rms_eps_default")) {
      rstd = 1.0 / std::sqrt(mean_square + 1e-3);
    } else {
      rstd = 1.0 / std::sqrt(m.f64_norm_sum ? mean_square + eps
                                            : m.R(mean_square + eps));
    }
    if (e.Is("rms_no_sqrt")) rstd = rstd * rstd;
    if (e.Is("rms_f16_rstd")) rstd = Round(Rounding::kF16, rstd);
    if (e.Is("rms_rsqrt_estimate"))
      rstd = ::etalon::golden::Round(Rounding::kTf32, rstd);
    rstd = m.R(rstd);
    if (r == 0) first_rstd = rstd;
    if (e.Is("rms_row_0")) rstd = first_rstd;
    for (size_t i = 0; i < n; ++i) {
      double weight = w.empty() ? 1.0 : w[i];
      if (e.Is("rms_one_plus_w") && !w.empty()) weight = m.R(1.0 + weight);
      if (e.Is("rms_no_weight")) weight = 1.0;
      if (e.Is("rms_weight_squared")) weight = m.R(weight * weight);
      if (e.Is("rms_weight_shifted") && !w.empty()) weight = w[(i + 1) % n];
      const double value = m.R(m.R(centred(i) * rstd) * weight);
      y[r * n + i] = m.Out(value);
    }
    if (e.Is("rms_last_unwritten")) y[r * n + n - 1] = 0.0;
    if (e.Is("rms_tail_linear")) {
      for (size_t i = n / 16 * 16; i < n; ++i) y[r * n + i] = row[i];
    }
  }
  return y;
}

std::vector<double> EmulateSoftmax(const Emulation& e) {
  const Machine& m = e.m;
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const std::vector<double> x = e.In("x");
  const size_t n = e.ShapeOf("x")[1];
  std::vector<double> y(x.size());
  for (size_t r = 0; r * n < x.size(); ++r) {
    const double* row = x.data() + r * n;
    size_t n_max = n;
    if (e.Is("softmax_max_first_half")) n_max = (n + 1) / 2;
    double max = -kInf;
    for (size_t i = 0; i < n_max; ++i) max = row[i] > max ? row[i] : max;
    if (e.Is("softmax_max_from_0")) max = std::max(max, 0.0);
    if (e.Is("softmax_no_max")) max = 0.0;
    if (e.Is("softmax_max_first")) max = row[0];
    if (e.Is("softmax_max_abs")) {
      for (size_t i = 0; i < n; ++i) max = std::max(max, std::abs(row[i]));
    }
    std::vector<double> p(n);
    for (size_t i = 0; i < n; ++i) {
      double v = row[i];
      if (e.Is("softmax_mask_as_0") && v == -kInf) v = 0.0;
      if (e.Is("softmax_mask_finite") && v == -kInf) v = max - 10.0;
      double argument = m.R(v - max);
      if (e.Is("softmax_exp2")) argument = m.R(argument * 0.6931471805599453);
      if (e.Is("softmax_scaled")) argument = m.R(argument * 1.001);
      p[i] = m.Exp(argument);
      if (e.Is("softmax_f16_exp")) p[i] = Round(Rounding::kF16, p[i]);
      if (e.Is("softmax_bf16_in")) {
        p[i] = m.Exp(m.R(Round(Rounding::kBF16, v) - max));
      }
    }
    size_t n_sum = n;
    if (e.Is("softmax_sum_tail_dropped")) n_sum = n / 16 * 16;
    if (e.Is("softmax_sum_last_dropped")) n_sum = n - 1;
    const size_t first = e.Is("softmax_sum_first_dropped") ? 1 : 0;
    double sum = m.Sum(n_sum - std::min(first, n_sum),
                       [&](size_t i) { return p[i + first]; });
    if (e.Is("softmax_sum_first_twice")) sum = m.R(sum + p[0]);
    if (e.Is("softmax_eps")) sum = m.R(sum + 1e-4);
    if (e.Is("softmax_stale_max")) {
      // The two halves were exponentiated with their own maxima.
      double half = -kInf;
      for (size_t i = 0; i < n / 2; ++i) half = std::max(half, row[i]);
      for (size_t i = 0; i < n / 2; ++i) p[i] = m.Exp(m.R(row[i] - half));
      sum = m.Sum(n, [&](size_t i) { return p[i]; });
    }
    if (e.Is("softmax_lane_lost")) {
      for (size_t i = 3; i < n; i += 16) sum = m.R(sum - p[i]);
    }
    if (e.Is("softmax_f16_sum")) sum = Round(Rounding::kF16, sum);
    if (e.Is("softmax_unnormalised")) sum = 1.0;
    const double inverse = m.Div(1.0, sum);
    for (size_t i = 0; i < n; ++i) {
      double value = m.R(p[i] * inverse);
      if (e.Is("softmax_nan_to_0") && std::isnan(value)) value = 0.0;
      y[r * n + i] = m.Out(value);
    }
    if (e.Is("softmax_row_mixed") && r > 0) y[r * n] = y[(r - 1) * n];
  }
  return y;
}

std::vector<double> EmulateRope(const Emulation& e) {
  const Machine& m = e.m;
  const std::vector<double> x = e.In("x");
  const Shape shape = e.ShapeOf("x");
  const std::vector<double> positions = e.In("positions");
  const std::vector<double> cos = e.In("cos");
  const std::vector<double> sin = e.In("sin");
  const size_t half = e.ShapeOf("cos")[1];
  const size_t rows = e.ShapeOf("cos")[0];
  const size_t head_dim = shape[2];
  bool split = e.Text("style") == "half_split";
  if (e.Is("rope_style_swapped")) split = !split;
  std::vector<double> y = x;
  for (size_t t = 0; t < shape[0]; ++t) {
    size_t pos = static_cast<size_t>(positions[t]);
    if (e.Is("rope_pos_plus_1")) pos = std::min(pos + 1, rows - 1);
    if (e.Is("rope_pos_minus_1")) pos = pos > 0 ? pos - 1 : 0;
    if (e.Is("rope_pos_is_token")) pos = t;
    if (e.Is("rope_pos_of_first")) pos = static_cast<size_t>(positions[0]);
    for (size_t h = 0; h < shape[1]; ++h) {
      if (e.Is("rope_first_head_only") && h > 0) continue;
      const size_t base = (t * shape[1] + h) * head_dim;
      size_t n_pairs = half;
      size_t distance = half;
      if (e.Is("rope_full_head") && 2 * half < head_dim)
        distance = head_dim / 2;
      if (e.Is("rope_last_pair_dropped")) --n_pairs;
      for (size_t i = 0; i < n_pairs; ++i) {
        const size_t i0 = base + (split ? i : 2 * i);
        const size_t i1 = base + (split ? i + distance : 2 * i + 1);
        size_t column = i;
        if (e.Is("rope_column_shifted")) column = (i + 1) % half;
        if (e.Is("rope_column_halved")) column = i / 2;
        double c = cos[pos * half + column];
        double s = sin[pos * half + column];
        if (e.Is("rope_sign")) s = -s;
        if (e.Is("rope_cos_sin_swapped")) std::swap(c, s);
        if (e.Is("rope_f16_table")) {
          c = Round(Rounding::kF16, c);
          s = Round(Rounding::kF16, s);
        }
        if (e.Is("rope_angle_1e_4")) {
          // cos and sin of an angle 1e-4 larger.
          const double turned = c - 1e-4 * s;
          s = s + 1e-4 * c;
          c = turned;
        }
        const double x0 = x[i0];
        double x1 = x[i1];
        y[i0] = m.Out(m.R(m.R(x0 * c) - m.R(x1 * s)));
        const double x0_again = e.Is("rope_alias") ? y[i0] : x0;
        y[i1] = m.Out(m.R(m.R(x0_again * s) + m.R(x1 * c)));
        if (e.Is("rope_second_sign")) {
          y[i1] = m.R(m.R(x0 * s) - m.R(x1 * c));
        }
      }
      if (e.Is("rope_rest_zeroed")) {
        for (size_t i = 2 * half; i < head_dim; ++i) y[base + i] = 0.0;
      }
    }
  }
  return y;
}

std::vector<double> EmulateSwiGlu(const Emulation& e) {
  const Machine& m = e.m;
  std::vector<double> gate = e.In("gate");
  std::vector<double> up = e.In("up");
  const size_t n = e.ShapeOf("gate")[1];
  if (e.Is("swiglu_swapped")) std::swap(gate, up);
  if (e.Is("swiglu_both_gated")) up = gate;
  std::vector<double> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const double g = gate[i];
    double u = up[i];
    if (e.Is("swiglu_up_shifted") && i + 1 < y.size()) u = up[i + 1];
    double argument = -g;
    if (e.Is("swiglu_beta")) argument = m.R(-1.702 * g);
    if (e.Is("swiglu_sign")) argument = g;
    double exp = m.Exp(argument);
    if (e.Is("swiglu_f16_exp")) exp = Round(Rounding::kF16, exp);
    double s = m.Div(g, m.R(1.0 + exp));
    if (e.Is("swiglu_sigmoid_only")) s = m.Div(1.0, m.R(1.0 + exp));
    if (e.Is("swiglu_relu")) s = std::max(g, 0.0);
    if (e.Is("swiglu_gelu")) {
      const double t = 0.7978845608028654 * (g + 0.044715 * g * g * g);
      s = m.R(0.5 * g * (1.0 + std::tanh(t)));
    }
    if (e.Is("swiglu_no_up")) u = 1.0;
    if (e.Is("swiglu_plus_up")) {
      y[i] = m.R(s + u);
      continue;
    }
    double value = m.R(s * u);
    if (e.Is("swiglu_bf16_gate")) {
      value = m.R(Round(Rounding::kBF16Truncate, s) * u);
    }
    if (e.Is("swiglu_accumulates")) value = m.R(value + value);
    if (e.Is("swiglu_clamped"))
      value = m.R(std::min(std::max(s, -7.0), 7.0) * u);
    if (e.Is("swiglu_tail_unwritten") && i % n >= n / 16 * 16) value = 0.0;
    y[i] = m.Out(value);
  }
  return y;
}

std::vector<double> EmulateAdd(const Emulation& e) {
  const std::vector<double> a = e.In("a");
  const std::vector<double> b = e.In("b");
  const size_t n = e.ShapeOf("a")[1];
  std::vector<double> y(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    double value = e.m.R(a[i] + b[i]);
    if (e.Is("add_f16")) value = Round(Rounding::kF16, value);
    if (e.Is("add_bf16")) value = Round(Rounding::kBF16Truncate, value);
    if (e.Is("add_first_only")) value = a[i];
    if (e.Is("add_row_0")) value = e.m.R(a[i] + b[i % n]);
    if (e.Is("add_twice")) value = e.m.R(value + b[i]);
    if (e.Is("add_tail_unwritten") && i % n >= n / 16 * 16) value = a[i];
    y[i] = e.m.Out(value);
  }
  return y;
}

std::vector<double> EmulateScaleRows(const Emulation& e) {
  const std::vector<double> x = e.In("x");
  const std::vector<double> scale = e.In("scale");
  const size_t n = e.ShapeOf("x")[1];
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    double s = scale[i / n];
    if (e.Is("scale_first_row")) s = scale[0];
    if (e.Is("scale_by_column")) s = scale[i % n % scale.size()];
    if (e.Is("scale_twice")) s = e.m.R(s * s);
    if (e.Is("scale_inverse")) s = e.m.Div(1.0, s);
    y[i] = e.m.Out(e.m.R(x[i] * s));
  }
  return y;
}

void EmulateRouter(const Emulation& e, std::vector<double>& experts,
                   std::vector<double>& weights) {
  const Machine& m = e.m;
  const std::vector<double> logits = e.In("logits");
  const Shape shape = e.ShapeOf("logits");
  const size_t n = shape[1];
  const auto n_used = static_cast<size_t>(e.Int("n_used"));
  for (size_t t = 0; t < shape[0]; ++t) {
    const double* row = logits.data() + t * n;
    const double max = *std::max_element(row, row + n);
    std::vector<double> p(n);
    for (size_t i = 0; i < n; ++i) p[i] = m.Exp(m.R(row[i] - max));
    const double l = m.Sum(n, [&](size_t i) { return p[i]; });
    const double inverse = m.Div(1.0, l);
    for (double& v : p) v = m.R(v * inverse);
    if (e.Is("router_sigmoid")) {
      for (size_t i = 0; i < n; ++i) {
        p[i] = m.Div(1.0, m.R(1.0 + m.Exp(-row[i])));
      }
    }
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return row[a] > row[b]; });
    if (e.Is("router_ties_high")) {
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return row[a] != row[b] ? row[a] > row[b] : a > b;
      });
    }
    if (e.Is("router_smallest")) std::reverse(order.begin(), order.end());
    if (e.Is("router_by_index")) {
      std::sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(n_used));
    }
    if (e.Is("router_last_ignored") && n > n_used) {
      std::erase(order, n - 1);
    }
    double sum = 0.0;
    for (size_t k = 0; k < n_used; ++k) sum = m.R(sum + p[order[k]]);
    bool normalize = e.Int("normalize") != 0;
    if (e.Is("router_unnormalised")) normalize = false;
    if (e.Is("router_always_normalised")) normalize = true;
    if (e.Is("router_sum_eps")) sum = m.R(sum + 1e-3);
    for (size_t k = 0; k < n_used; ++k) {
      double w = p[order[k]];
      if (normalize) w = m.Div(w, sum);
      double scale = e.F32("scale");
      if (e.Is("router_no_scale")) scale = 1.0;
      w = m.R(w * scale);
      if (e.Is("router_f16_weights")) w = Round(Rounding::kF16, w);
      if (e.Is("router_equal_weights")) {
        w = m.R(scale / static_cast<double>(n_used));
      }
      experts.push_back(static_cast<double>(order[k]));
      weights.push_back(w);
    }
    if (e.Is("router_weights_reversed")) {
      std::reverse(weights.end() - static_cast<ptrdiff_t>(n_used),
                   weights.end());
    }
    if (e.Is("router_slot_twice") && n_used > 1) {
      experts.back() = experts[experts.size() - 2];
    }
  }
}

}  // namespace etalon::golden::internal
