#include "reference/backward_layer.h"

#include <array>
#include <utility>

#include "reference/backward_bounds.h"

namespace etalon::reference {
namespace {

// Every head's lanes as a row of their own, and back.
Matrix HeadsAsRows(Matrix x, size_t width) {
  x.rows *= x.cols / width;
  x.cols = width;
  return x;
}
Matrix RowsAsHeads(Matrix rows, size_t n_tokens) {
  rows.cols = rows.v.size() / n_tokens;
  rows.rows = n_tokens;
  return rows;
}

Matrix Sum(Matrix a, const Matrix& b) {
  for (size_t i = 0; i < a.v.size(); ++i) a.v[i] += b.v[i];
  return a;
}

Matrix QkNorm(const Matrix& x, const Matrix& weight, double eps) {
  if (weight.cols == 0) return x;
  return RowsAsHeads(RmsNormOf(HeadsAsRows(x, weight.cols), weight, eps),
                     x.rows);
}

// The wiring of the backward pass, stated once: gradients and, for a profile,
// what is known of a port's errors in them.
class Pass {
 public:
  Pass(const Layer& layer, const LayerTape& tape, const Profile* profile)
      : l_(layer), t_(tape), p_(profile) {}

  void Run(const Matrix& d_y) {
    const Measured d_out(d_y);
    const Measured d_ffn =
        Products(t_.ffn, {{{&Layer::down, &Layer::b_down, &d_out}}});
    const auto [d_gate, d_up] = SwiGlu(d_ffn);
    const Measured d_h2 =
        Products(t_.h2, {{{&Layer::gate, &Layer::b_gate, &d_gate},
                          {&Layer::up, &Layer::b_up, &d_up}}});
    const Measured d_mid = Add(d_out, Norm(t_.x_mid, &Layer::ffn_norm, d_h2));
    const Measured d_attn =
        Products(t_.attn, {{{&Layer::o, &Layer::bo, &d_mid}}});
    auto [d_q, d_k, d_v] = Attention(d_attn);
    for (Measured* d : {&d_q, &d_k}) {
      if (l_.cos.cols > 0) *d = Rope(*d);
    }
    if (l_.q_norm.cols > 0) d_q = HeadNorm(t_.q_raw, &Layer::q_norm, d_q);
    if (l_.k_norm.cols > 0) d_k = HeadNorm(t_.k_raw, &Layer::k_norm, d_k);
    const Measured d_h1 = Products(t_.h1, {{{&Layer::q, &Layer::bq, &d_q},
                                            {&Layer::k, &Layer::bk, &d_k},
                                            {&Layer::v, &Layer::bv, &d_v}}});
    const Measured d_x = Add(d_mid, Norm(t_.x, &Layer::attn_norm, d_h1));
    value.x = d_x.value, error.x = d_x.error;
  }

  LayerGradient value, error;

 private:
  using Parameter = Matrix Layer::*;
  struct Part {
    Parameter w, b;
    const Measured* d;
  };

  // Products that read the same x; a bias that the layer lacks has no gradient.
  Measured Products(const Matrix& x, const std::vector<Part>& parts) {
    Matrix d_x(x.rows, x.cols);
    std::vector<LinearPart> measured;
    for (const Part& part : parts) {
      LinearGradients g = LinearBackward(x, l_.*part.w, part.d->value);
      d_x = Sum(std::move(d_x), g.x);
      value.parameters.*part.w = std::move(g.w);
      const bool biased = (l_.*part.b).cols > 0;
      if (biased) value.parameters.*part.b = std::move(g.b);
      if (p_ == nullptr) continue;
      measured.push_back({l_.*part.w, *part.d});
      error.parameters.*part.w = LinearWeightBound(x, *part.d, *p_);
      if (biased) {
        error.parameters.*part.b = LinearBiasBound(*part.d, *p_);
      }
    }
    if (p_ == nullptr) return Measured(std::move(d_x));
    return {std::move(d_x), LinearInputBound(measured, *p_)};
  }

  Measured Norm(const Matrix& x, Parameter weight, const Measured& d) {
    RmsNormGradients g = RmsNormBackward(x, l_.*weight, l_.eps, d.value);
    value.parameters.*weight = std::move(g.weight);
    if (p_ == nullptr) return Measured(std::move(g.x));
    RmsNormGradients b = RmsNormBackwardBound(x, l_.*weight, l_.eps, d, *p_);
    error.parameters.*weight = std::move(b.weight);
    return {std::move(g.x), std::move(b.x)};
  }
  Measured HeadNorm(const Matrix& raw, Parameter weight, const Measured& d) {
    const size_t width = (l_.*weight).cols;
    const Measured g =
        Norm(HeadsAsRows(raw, width), weight,
             {HeadsAsRows(d.value, width), HeadsAsRows(d.error, width)});
    return {RowsAsHeads(g.value, raw.rows), RowsAsHeads(g.error, raw.rows)};
  }

  std::array<Measured, 2> SwiGlu(const Measured& d) {
    SwiGluGradients g = SwiGluBackward(t_.gate, t_.up, d.value);
    if (p_ == nullptr) return {Measured(g.gate), Measured(g.up)};
    SwiGluGradients b = SwiGluBackwardBound(t_.gate, t_.up, d, *p_);
    return {Measured(g.gate, b.gate), Measured(g.up, b.up)};
  }

  std::array<Measured, 3> Attention(const Measured& d) {
    const auto g = AttentionBackward(l_.attention, t_.q, t_.k, t_.v, d.value);
    if (p_ == nullptr) return {Measured(g.q), Measured(g.k), Measured(g.v)};
    const auto b =
        AttentionBackwardBound(l_.attention, t_.q, t_.k, t_.v, d, *p_);
    return {Measured(g.q, b.q), Measured(g.k, b.k), Measured(g.v, b.v)};
  }

  Measured Rope(const Measured& d) {
    const size_t dim = l_.attention.head_dim;
    Matrix g = RopeOf(d.value, dim, l_.cos, l_.sin, l_.interleaved,
                      /*backward=*/true);
    if (p_ == nullptr) return Measured(std::move(g));
    return {std::move(g),
            RopeBackwardBound(dim, l_.cos, l_.sin, l_.interleaved, d, *p_)};
  }

  Measured Add(const Measured& a, const Measured& b) {
    if (p_ == nullptr) return Measured(Sum(a.value, b.value));
    return SumOf(a, b, *p_);
  }

  const Layer& l_;
  const LayerTape& t_;
  const Profile* p_;
};

}  // namespace

LayerTape LayerForward(const Layer& l, const Matrix& x) {
  const size_t dim = l.attention.head_dim;
  LayerTape t;
  t.x = x;
  t.h1 = RmsNormOf(x, l.attn_norm, l.eps);
  t.q_raw = Linear(t.h1, l.q, l.bq);
  t.k_raw = Linear(t.h1, l.k, l.bk);
  t.v = Linear(t.h1, l.v, l.bv);
  t.q = QkNorm(t.q_raw, l.q_norm, l.eps);
  t.k = QkNorm(t.k_raw, l.k_norm, l.eps);
  if (l.cos.cols > 0) {
    t.q = RopeOf(t.q, dim, l.cos, l.sin, l.interleaved);
    t.k = RopeOf(t.k, dim, l.cos, l.sin, l.interleaved);
  }
  t.attn = AttentionOf(l.attention, t.q, t.k, t.v);
  t.x_mid = Sum(x, Linear(t.attn, l.o, l.bo));
  t.h2 = RmsNormOf(t.x_mid, l.ffn_norm, l.eps);
  t.gate = Linear(t.h2, l.gate, l.b_gate);
  t.up = Linear(t.h2, l.up, l.b_up);
  t.ffn = SwiGluOf(t.gate, t.up);
  t.out = Sum(t.x_mid, Linear(t.ffn, l.down, l.b_down));
  return t;
}

LayerGradient LayerBackward(const Layer& layer, const LayerTape& tape,
                            const Matrix& d_y) {
  Pass pass(layer, tape, nullptr);
  pass.Run(d_y);
  return std::move(pass.value);
}

LayerGradient LayerBackwardBound(const Layer& layer, const LayerTape& tape,
                                 const Matrix& d_y, const Profile& profile) {
  Pass pass(layer, tape, &profile);
  pass.Run(d_y);
  return std::move(pass.error);
}

}  // namespace etalon::reference
