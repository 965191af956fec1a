// Block formats, activation quantisation and matrix products. The decoder is a
// third one of this project, with the mistakes that people make in it.
#include <algorithm>
#include <cstring>
#include <limits>

#include "reference/formats.h"
#include "reference/golden/emulator_kernels.h"

namespace etalon::golden::internal {
namespace {

// A block as integers and scales: weight i = d sc[i / sub] q[i] - dmin m[i /
// sub], as every format here can be written (Q4_1: sc = 1, m = -1, dmin = m).
struct Block {
  size_t size = 32;
  size_t sub = 32;
  double d = 0.0;
  double dmin = 0.0;
  bool has_min = false;
  int sc[16] = {};
  int m[16] = {};
  int q[256] = {};
};

double F16At(const uint8_t* b, size_t at) {
  uint16_t bits;
  std::memcpy(&bits, b + at, 2);
  return reference::F16ToDouble(bits);
}

void DecodeScales(const Emulation& e, const uint8_t* s, Block& out) {
  for (size_t j = 0; j < 8; ++j) {
    if (j < 4) {
      out.sc[j] = s[j] & 63;
      out.m[j] = s[j + 4] & 63;
    } else {
      out.sc[j] = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
      out.m[j] = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
    if (e.Is("k_scales_no_split")) {
      out.sc[j] = s[j] & 63;
      out.m[j] = s[std::min<size_t>(j + 4, 11)] & 63;
    }
    if (e.Is("k_scales_no_high") && j >= 4) {
      out.sc[j] &= 15;
      out.m[j] &= 15;
    }
    if (e.Is("k_mins_no_high") && j >= 4) out.m[j] &= 15;
    if (e.Is("k_scales_nibbles_swapped") && j >= 4) {
      out.sc[j] = (s[j + 4] >> 4) | (s[j - 4] >> 6) << 4;
      out.m[j] = (s[j + 4] & 15) | (s[j] >> 6) << 4;
    }
  }
  if (e.Is("k_scale_min_swapped")) std::swap(out.sc, out.m);
  if (e.Is("k_sub_block_shifted")) std::rotate(out.sc, out.sc + 1, out.sc + 8);
  if (e.Is("k_min_shifted")) std::rotate(out.m, out.m + 1, out.m + 8);
}

void DecodeK(const Emulation& e, const uint8_t* b, bool five, Block& out) {
  out.size = 256;
  out.has_min = true;
  out.d = F16At(b, 0);
  out.dmin = F16At(b, 2);
  if (e.Is("k_d_dmin_swapped")) std::swap(out.d, out.dmin);
  DecodeScales(e, b + 4, out);
  const uint8_t* qh = b + 16;
  const uint8_t* qs = b + (five ? 48 : 16);
  for (size_t i = 0; i < 256; ++i) {
    size_t byte = i / 64 * 32 + i % 32;
    bool high = i % 64 >= 32;
    if (e.Is("q_nibbles_swapped")) high = !high;
    if (e.Is("q_nibbles_interleaved")) {
      byte = i / 2;
      high = i % 2 == 1;
    }
    out.q[i] = high ? qs[byte] >> 4 : qs[byte] & 15;
    if (five && !e.Is("q5_no_fifth_bit")) {
      const size_t bit = e.Is("q5_bit_shifted") ? (i / 32 + 1) % 8 : i / 32;
      out.q[i] |= ((qh[i % 32] >> bit) & 1) << 4;
    }
  }
}

void DecodeQ6K(const Emulation& e, const uint8_t* b, Block& out) {
  out.size = 256;
  out.sub = 16;
  out.d = F16At(b, 208);
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128;
    const size_t quarter = i % 128 / 32;
    const size_t l = i % 32;
    bool high = quarter >= 2;
    if (e.Is("q_nibbles_swapped")) high = !high;
    const uint8_t low = b[half * 64 + quarter % 2 * 32 + l];
    const uint8_t qh = b[128 + half * 32 + l];
    int q = high ? low >> 4 : low & 15;
    const size_t shift = e.Is("q6_high_bits_order") ? 3 - quarter : quarter;
    if (!e.Is("q6_no_high_bits")) q |= ((qh >> (2 * shift)) & 3) << 4;
    out.q[i] = q - (e.Is("q_offset_missing") ? 0 : 32);
  }
  for (size_t j = 0; j < 16; ++j) {
    const uint8_t s = b[192 + j];
    out.sc[j] = e.Is("q6_scales_unsigned") ? s : static_cast<int8_t>(s);
  }
  if (e.Is("k_sub_block_shifted")) {
    std::rotate(out.sc, out.sc + 1, out.sc + 16);
  }
}

void Decode32(const Emulation& e, const std::string& type, const uint8_t* b,
              Block& out) {
  out.sc[0] = 1;
  out.d = F16At(b, 0);
  if (type == "Q8_0") {
    for (size_t i = 0; i < 32; ++i) {
      const uint8_t q = b[2 + i];
      out.q[i] = e.Is("q8_unsigned") ? q : static_cast<int8_t>(q);
    }
    return;
  }
  const bool five = type[1] == '5';
  out.has_min = type.back() == '1';
  size_t at = 2;
  if (out.has_min) {
    out.dmin = F16At(b, 2);
    out.m[0] = -1;
    at = 4;
  }
  const uint8_t* qh = b + at;
  const uint8_t* qs = qh + (five ? 4 : 0);
  for (size_t i = 0; i < 32; ++i) {
    size_t byte = i % 16;
    bool high = i >= 16;
    if (e.Is("q_nibbles_swapped")) high = !high;
    if (e.Is("q_nibbles_interleaved")) {
      byte = i / 2;
      high = i % 2 == 1;
    }
    out.q[i] = high ? qs[byte] >> 4 : qs[byte] & 15;
    if (five && !e.Is("q5_no_fifth_bit")) {
      const size_t bit = e.Is("q5_bit_shifted") ? (i + 1) % 32 : i;
      out.q[i] |= ((qh[bit / 8] >> (bit % 8)) & 1) << 4;
    }
    if (!out.has_min && !e.Is("q_offset_missing")) out.q[i] -= five ? 16 : 8;
  }
}

Block DecodeBlock(const Emulation& e, const std::string& type,
                  const uint8_t* b) {
  Block out;
  if (type == "Q4_K" || type == "Q5_K") {
    DecodeK(e, b, type == "Q5_K", out);
  } else if (type == "Q6_K") {
    DecodeQ6K(e, b, out);
  } else {
    Decode32(e, type, b, out);
  }
  if (e.Is("q_min_dropped")) out.dmin = 0.0;
  if (e.Is("q_min_sign")) out.dmin = -out.dmin;
  if (e.Is("q_d_is_abs")) out.d = std::abs(out.d);
  return out;
}

double Weight(const Emulation& e, const Block& b, size_t i) {
  const size_t s = i / b.sub;
  double scale = e.m.R(b.d * b.sc[s]);
  if (e.Is("q_scale_f16")) scale = Round(Rounding::kF16, scale);
  double w = e.m.R(scale * b.q[i]);
  if (b.has_min) {
    double min = e.m.R(b.dmin * b.m[s]);
    if (e.Is("q_scale_f16")) min = Round(Rounding::kF16, min);
    w = e.m.R(w - min);
  }
  return e.Is("q_weight_bf16") ? Round(Rounding::kBF16, w) : w;
}

size_t BytesOf(const std::string& type) {
  if (type == "Q4_0") return 18;
  if (type == "Q4_1") return 20;
  if (type == "Q5_0") return 22;
  if (type == "Q5_1") return 24;
  if (type == "Q8_0") return 34;
  if (type == "Q4_K") return 144;
  return type == "Q5_K" ? 176 : 210;
}

struct Weights {
  std::string type;
  size_t rows = 0;
  size_t cols = 0;
  std::vector<Block> blocks;   // of block types, row by row
  std::vector<double> values;  // dequantised
  size_t block() const { return blocks.empty() ? 1 : blocks[0].size; }
};

Weights ReadWeights(const Emulation& e, std::string_view name) {
  Weights w;
  w.type = e.Text("type");
  const Input& input = *e.c.FindInput(name);
  w.rows = input.shape[0];
  if (input.dtype != DType::kU8) {
    w.cols = input.shape[1];
    w.values = e.In(name);
    if (e.Is("w_row_shifted")) {
      std::rotate(w.values.begin(),
                  w.values.begin() + static_cast<ptrdiff_t>(w.cols),
                  w.values.end());
    }
    return w;
  }
  const size_t bytes = BytesOf(w.type);
  const auto* data = reinterpret_cast<const uint8_t*>(input.data.bytes.data());
  for (size_t at = 0; at < input.data.bytes.size(); at += bytes) {
    w.blocks.push_back(DecodeBlock(e, w.type, data + at));
  }
  const size_t per_row = w.blocks.size() / w.rows;
  if (e.Is("w_row_shifted")) {
    std::rotate(w.blocks.begin(),
                w.blocks.begin() + static_cast<ptrdiff_t>(per_row),
                w.blocks.end());
  }
  if (e.Is("q_d_of_first")) {
    for (size_t i = 0; i < w.blocks.size(); ++i) {
      w.blocks[i].d = w.blocks[i / per_row * per_row].d;
    }
  }
  w.cols = per_row * w.blocks[0].size;
  for (const Block& b : w.blocks) {
    for (size_t i = 0; i < b.size; ++i) w.values.push_back(Weight(e, b, i));
  }
  return w;
}

// One block of activations: d and q by the rule of the format, or a bug.
struct Activation {
  double d = 0.0;
  std::vector<double> q;
};

double RoundQuant(const Emulation& e, double x) {
  if (e.Is("a_half_away")) return std::round(x);
  if (e.Is("a_truncates")) return std::trunc(x);
  if (e.Is("a_floor")) return std::floor(x + 0.5);
  return std::nearbyint(x);
}

Activation QuantizeBlock(const Emulation& e, const double* x, size_t size,
                         double row_max) {
  const Machine& m = e.m;
  Activation a;
  a.q.assign(size, 0.0);
  double signed_max = 0.0;
  for (size_t i = 0; i < size; ++i) {
    if (!std::isfinite(x[i])) {
      a.d = std::nan("");
      return a;
    }
    const bool larger = e.Is("a_last_of_ties")
                            ? std::abs(x[i]) >= std::abs(signed_max)
                            : std::abs(x[i]) > std::abs(signed_max);
    if (larger && !(e.Is("a_max_without_abs") && x[i] < 0)) signed_max = x[i];
  }
  double max = signed_max;
  if (e.Is("a_per_row")) max = max < 0 ? -row_max : row_max;
  const double amax = std::abs(max);
  if (amax < (e.Is("a_zero_threshold") ? 0x1p-20 : 0x1p-120)) return a;
  double levels = 127.0;
  if (e.Is("a_128")) levels = 128.0;
  if (e.Is("a_126")) levels = 126.0;
  double inverse = 0.0;
  if (size == 256) {
    inverse = m.Div(-levels, max);
    if (e.Is("a_positive_scale")) inverse = m.Div(levels, amax);
    a.d = m.Div(1.0, inverse);
    if (e.Is("a_d_from_max")) a.d = m.R(-max / levels);
  } else {
    a.d = m.R(amax / levels);
    if (!e.Is("a_f32_scale")) a.d = Round(Rounding::kF16, a.d);
    if (std::isinf(a.d)) {
      a.d = std::nan("");
      return a;
    }
    inverse = m.Div(levels, amax);
    if (e.Is("a_from_rounded_d")) inverse = a.d > 0 ? m.Div(1.0, a.d) : 0.0;
  }
  if (e.Is("a_d_inverted")) a.d = inverse;
  if (e.Is("a_d_f16")) a.d = Round(Rounding::kF16, a.d);
  if (e.Is("a_d_bf16")) a.d = Round(Rounding::kBF16, a.d);
  for (size_t i = 0; i < size; ++i) {
    double q = RoundQuant(e, m.R(inverse * x[i]));
    if (e.Is("a_clamped_126")) q = std::clamp(q, -126.0, 126.0);
    if (e.Is("a_wraps") && q == -127.0) q = 127.0;
    if (e.Is("a_abs")) q = std::abs(q);
    a.q[i] = e.Is("a_128") ? std::clamp(q, -128.0, 127.0) : q;
  }
  if (e.Is("a_last_zero")) a.q[size - 1] = 0.0;
  return a;
}

std::vector<Activation> QuantizeRow(const Emulation& e, const double* x,
                                    size_t n, size_t size) {
  double row_max = 0.0;
  for (size_t i = 0; i < n; ++i) row_max = std::max(row_max, std::abs(x[i]));
  std::vector<Activation> row;
  for (size_t i = 0; i < n; i += size) {
    row.push_back(QuantizeBlock(e, x + i, size, row_max));
  }
  if (e.Is("a_d_of_first")) {
    for (Activation& a : row) a.d = row[0].d;
  }
  return row;
}

// Exact integers of `size` elements, then the float chain.
double QuantizedDot(const Emulation& e, const Block* w,
                    const std::vector<Activation>& x, size_t n_blocks) {
  const Machine& m = e.m;
  double acc = 0.0;
  if (e.Is("gemm_uninitialised")) acc = 0.5;
  double last_t = 0.0;
  size_t end = n_blocks;
  if (e.Is("gemm_last_block_dropped")) --end;
  for (size_t b = 0; b < end; ++b) {
    const Block& block = w[b];
    const size_t step = m.grade == reference::QuantizedGrade::kSubBlock
                            ? block.sub
                            : block.size;
    const Activation& a =
        x[e.Is("gemm_x_block_shifted") ? (b + 1) % n_blocks : b];
    for (size_t first = 0; first < block.size; first += step) {
      double s = 0.0;
      double t = 0.0;
      for (size_t i = first; i < first + step; ++i) {
        const size_t sub = i / block.sub;
        if (e.Is("gemm_last_sub_dropped") &&
            sub + 1 == block.size / block.sub && block.size > block.sub) {
          continue;
        }
        s += block.sc[sub] * block.q[i] * a.q[i];
        double m_q = block.m[sub] * a.q[i];
        if (e.Is("gemm_lane_lost") && i % 16 == 3)
          s -= block.sc[sub] * block.q[i] * a.q[i];
        t += m_q;
      }
      if (e.Is("gemm_int16")) {
        s = static_cast<double>(static_cast<int16_t>(static_cast<int64_t>(s)));
      }
      if (e.Is("gemm_f16_sum")) s = Round(Rounding::kF16, s);
      if (e.Is("gemm_bf16_sum")) s = Round(Rounding::kBF16, s);
      if (e.Is("gemm_stale_bsum")) std::swap(t, last_t);
      double d = m.R(block.d * a.d);
      double dmin = m.R(block.dmin * a.d);
      if (e.Is("gemm_scale_f16")) {
        d = Round(Rounding::kF16, d);
        dmin = Round(Rounding::kF16, dmin);
      }
      if (e.Is("gemm_min_without_dx")) dmin = block.dmin;
      const auto add = [&](double scale, double sum) {
        const double product = scale * m.R(sum);
        acc = m.A(acc + (m.fused ? product : m.R(product)));
        if (e.Is("gemm_f16_acc")) acc = Round(Rounding::kF16, acc);
        if (e.Is("gemm_bf16_acc")) acc = Round(Rounding::kBF16, acc);
      };
      add(d, s);
      if (block.has_min && !e.Is("gemm_min_dropped")) add(-dmin, t);
      if (e.Is("gemm_first_block_twice") && b == 0) add(d, s);
    }
  }
  return acc;
}

}  // namespace

std::vector<double> EmulateDequantize(const Emulation& e) {
  const Weights w = ReadWeights(e, "w");
  if (e.c.op == "dequantize") return w.values;
  std::vector<double> y;
  for (double token : e.In("tokens")) {
    auto row = static_cast<size_t>(token);
    if (e.Is("embedding_plus_1")) row = (row + 1) % w.rows;
    if (e.Is("embedding_row_0")) row = 0;
    const auto first = w.values.begin() + static_cast<ptrdiff_t>(row * w.cols);
    y.insert(y.end(), first, first + static_cast<ptrdiff_t>(w.cols));
  }
  return y;
}

std::vector<double> EmulateGemm(const Emulation& e) {
  const Machine& m = e.m;
  const std::vector<double> x = e.In("x");
  const size_t n_rows = e.ShapeOf("x")[0];
  const Weights w = ReadWeights(e, "w");
  const std::vector<double> bias = e.In("bias");
  const size_t k = w.cols;
  const bool quantized = e.Text("act") != "f32";
  const bool as_elements =
      !quantized || m.grade == reference::QuantizedGrade::kElement;
  double scale = e.F32("scale");
  if (e.Is("gemm_scale_ignored")) scale = 1.0;
  if (e.Is("gemm_scale_twice")) scale = m.R(scale * scale);
  if (e.Is("gemm_scale_1e_3")) scale = m.R(scale * 1.001);
  if (e.Is("gemm_scale_inverse")) scale = m.Div(1.0, scale);
  if (e.Is("gemm_scale_abs")) scale = std::abs(scale);
  std::vector<double> y(n_rows * w.rows);
  for (size_t r = 0; r < n_rows; ++r) {
    const double* row = x.data() + (e.Is("gemm_x_row_0") ? 0 : r) * k;
    if (e.Is("gemm_x_row_last")) row = x.data() + (n_rows - 1) * k;
    std::vector<Activation> a;
    std::vector<double> dequantized;
    if (quantized && !e.Is("gemm_f32_activations")) {
      a = QuantizeRow(e, row, k, w.block());
      for (const Activation& block : a) {
        for (const double q : block.q) dequantized.push_back(m.R(block.d * q));
      }
      row = dequantized.data();
    }
    if (!quantized && e.Is("gemm_q8_activations") && k % 32 == 0) {
      a = QuantizeRow(e, row, k, 32);
      for (const Activation& block : a) {
        for (const double q : block.q) dequantized.push_back(m.R(block.d * q));
      }
      row = dequantized.data();
    }
    for (size_t n = 0; n < w.rows; ++n) {
      const double* wn = w.values.data() + n * k;
      double acc = 0.0;
      if (as_elements || e.Is("gemm_f32_activations")) {
        size_t end = k;
        if (e.Is("gemm_k_tail_dropped")) end = k / 16 * 16;
        if (e.Is("gemm_last_k_dropped")) end = k - 1;
        Rounding in = Rounding::kNone;
        if (e.Is("gemm_tf32")) in = Rounding::kTf32;
        if (e.Is("gemm_bf16_in")) in = Rounding::kBF16;
        if (e.Is("gemm_bf16_truncated_in")) in = Rounding::kBF16Truncate;
        if (e.Is("gemm_f16_in")) in = Rounding::kF16;
        const auto at = [&](const double* v) {
          return [&, v](size_t i) { return Round(in, v[i]); };
        };
        if (e.Is("gemm_f16_acc") || e.Is("gemm_bf16_acc")) {
          Machine narrow = m;
          narrow.acc = e.Is("gemm_f16_acc") ? Rounding::kF16 : Rounding::kBF16;
          acc = narrow.Dot(end, at(row), at(wn));
        } else {
          acc = m.Dot(end, at(row), at(wn));
        }
        if (e.Is("gemm_lane_lost")) {
          for (size_t i = 3; i < k; i += 16) acc = m.R(acc - row[i] * wn[i]);
        }
        if (e.Is("gemm_uninitialised")) acc = m.R(acc + 0.5);
        if (e.Is("gemm_first_block_twice")) acc = m.R(acc + row[0] * wn[0]);
      } else {
        acc = QuantizedDot(e, w.blocks.data() + n * (k / w.block()), a,
                           k / w.block());
      }
      double b = bias.empty() ? 0.0 : bias[n];
      if (e.Is("gemm_bias_ignored")) b = 0.0;
      if (e.Is("gemm_bias_shifted") && !bias.empty()) {
        b = bias[(n + 1) % bias.size()];
      }
      if (e.Is("gemm_bias_by_row") && !bias.empty()) b = bias[r % bias.size()];
      if (e.Is("gemm_bias_twice")) b = m.R(b + b);
      double value = m.R(m.R(acc * scale) + b);
      if (e.Is("gemm_scale_on_bias")) value = m.R(m.R(acc + b) * scale);
      if (e.Is("gemm_f16_out")) value = Round(Rounding::kF16, value);
      if (e.Is("gemm_bf16_out")) value = Round(Rounding::kBF16Truncate, value);
      y[r * w.rows + n] = m.Out(value);
    }
    if (e.Is("gemm_last_output_dropped")) y[r * w.rows + w.rows - 1] = 0.0;
    if (e.Is("gemm_panel_tail_dropped")) {
      for (size_t n = w.rows / 16 * 16; n < w.rows; ++n) y[r * w.rows + n] = 0;
    }
    if (e.Is("gemm_column_twice") && w.rows > 1) {
      y[r * w.rows + w.rows - 1] = y[r * w.rows + w.rows - 2];
    }
    if (e.Is("gemm_last_row_dropped") && r + 1 == n_rows) {
      for (size_t n = 0; n < w.rows; ++n) y[r * w.rows + n] = 0.0;
    }
  }
  if (e.Is("gemm_transposed_out")) {
    std::vector<double> z(y.size());
    for (size_t r = 0; r < n_rows; ++r) {
      for (size_t n = 0; n < w.rows; ++n) z[n * n_rows + r] = y[r * w.rows + n];
    }
    return z;
  }
  return y;
}

void EmulateQuantize(const Emulation& e, std::vector<double>& d,
                     std::vector<double>& q) {
  const std::vector<double> x = e.In("x");
  const Shape shape = e.ShapeOf("x");
  const size_t size = e.c.op == "quantize_q8_k" ? 256 : 32;
  for (size_t r = 0; r < shape[0]; ++r) {
    for (const Activation& a :
         QuantizeRow(e, x.data() + r * shape[1], shape[1], size)) {
      d.push_back(a.d);
      q.insert(q.end(), a.q.begin(), a.q.end());
    }
  }
}

}  // namespace etalon::golden::internal
