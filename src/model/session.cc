#include "model/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "layer/log_observer.h"
#include "model/chunk_memory.h"
#include "ops/correctly_rounded.h"

namespace etalon::model {
namespace {

// Rows start on cache lines.
size_t RowStride(size_t cols) { return (cols + 15) / 16 * 16; }

template <class T>
Expected<Span2D<T>> AllocateRows(Workspace& w, size_t rows, size_t cols) {
  const size_t stride = RowStride(cols);
  ETALON_ASSIGN_OR_RETURN(const std::span<T> data,
                          w.Allocate<T>(rows * stride));
  return Span2D<T>(data.data(), rows, cols, stride);
}

// The first `rows` rows and `cols` columns.
template <class T>
Span2D<T> Corner(Span2D<T> s, size_t rows, size_t cols) {
  return {s.data, rows, cols, s.stride};
}

}  // namespace

Expected<std::unique_ptr<Session>> Session::Create(
    const Model& model, const SessionOptions& options) {
  ETALON_ENSURE(options.n_ctx > 0, "context size: 0, need at least 1");
  ETALON_ASSIGN_OR_RETURN(
      KvCache cache, KvCache::Create(model.hyperparameters(), options.n_ctx,
                                     options.k_type, options.v_type));
  if (options.n_ctx > kMaxRopePositions) {
    return Fail(ErrorCode::kLimit,
                fmt::format("context size: {} is over the limit of {}",
                            options.n_ctx, kMaxRopePositions));
  }
  std::unique_ptr<Session> s(new Session(model, options, std::move(cache)));
  size_t& n_batch = s->options_.n_batch;
  if (n_batch == 0) n_batch = ChooseBatch(model, options);
  n_batch = std::min(n_batch, options.n_ctx);
  ETALON_RETURN_IF_ERROR(s->Prepare());
  return s;
}

Status Session::Prepare() {
  const Hyperparameters& hp = model_.hyperparameters();
  const size_t n = options_.n_batch;
  const bool moe = hp.n_experts > 0;
  ETALON_ASSIGN_OR_RETURN(rope_, MakeRopeFrequencies(hp.rope));

  struct Buffer {
    Span2D<float>* rows;
    size_t cols;
  };
  const Buffer of_rows[] = {{&buffers_.x, hp.model_dim},
                            {&buffers_.h, hp.model_dim},
                            {&buffers_.router_logits, hp.n_experts},
                            {&buffers_.expert_weights, hp.n_experts_used},
                            {&buffers_.moe_out, moe ? hp.model_dim : 0},
                            {&rope_cos_, hp.rope.rotary_dim / 2},
                            {&rope_sin_, hp.rope.rotary_dim / 2}};
  // Everything in one block, so that it lies in huge pages where there are any:
  // which small pages the rows get would make their ops faster or slower by a
  // tenth from one process to the next.
  size_t floats = 2 * RowStride(n);  // rope_rows_, q_scale_
  for (const Buffer& b : of_rows) floats += n * RowStride(b.cols);
  if (moe) floats += n * RowStride(hp.n_experts_used);
  ETALON_RETURN_IF_ERROR(workspace_.Reserve(floats * sizeof(float) +
                                            ScratchBytes(model_, n, options_)));
  for (const Buffer& b : of_rows) {
    if (b.cols == 0) continue;
    ETALON_ASSIGN_OR_RETURN(*b.rows,
                            AllocateRows<float>(workspace_, n, b.cols));
  }
  if (moe) {
    ETALON_ASSIGN_OR_RETURN(
        buffers_.experts,
        AllocateRows<int32_t>(workspace_, n, hp.n_experts_used));
  }
  ETALON_ASSIGN_OR_RETURN(rope_rows_, workspace_.Allocate<int32_t>(n));
  std::iota(rope_rows_.begin(), rope_rows_.end(), 0);
  if (hp.attn_temperature != 0.0f) {
    ETALON_ASSIGN_OR_RETURN(q_scale_, workspace_.Allocate<float>(n));
  }
  return {};
}

layer::LayerBuffers Session::Buffers(size_t layer, size_t n) const {
  const layer::LayerConfig c = model_.LayerConfigOf(layer);
  layer::LayerBuffers b;
  b.x = Corner(buffers_.x, n, c.model_dim);
  b.h = Corner(buffers_.h, n, c.model_dim);
  b.router_logits = Corner(buffers_.router_logits, n, c.n_experts);
  b.experts = Corner(buffers_.experts, n, c.n_experts_used);
  b.expert_weights = Corner(buffers_.expert_weights, n, c.n_experts_used);
  b.moe_out = Corner(buffers_.moe_out, n, c.model_dim);
  return b;
}

void Session::FillPositions(size_t n_tokens) {
  FillRopeRows(rope_, n_past_, rope_cos_.Rows(0, n_tokens),
               rope_sin_.Rows(0, n_tokens));
  const Hyperparameters& hp = model_.hyperparameters();
  for (size_t t = 0; t < n_tokens && !q_scale_.empty(); ++t) {
    const size_t era = (n_past_ + t) / hp.rope.n_ctx_orig;
    q_scale_[t] =
        static_cast<float>(ops::LogOf(static_cast<double>(era + 1)) *
                               static_cast<double>(hp.attn_temperature) +
                           1.0);
  }
}

// `what` and the position name the first bad element.
Status Session::CheckFinite(const std::string& what, size_t first_position,
                            Span2D<const float> x) const {
  for (size_t t = 0; t < x.rows; ++t) {
    const std::span<const float> row = x.row(t);
    // All ones in the exponent. In integers, which the compiler vectorises: a
    // sum of floats has an order to keep.
    constexpr uint32_t kExponent = 0x7F800000;
    uint32_t found = 0;
    for (const float v : row) {
      const uint32_t exponent = std::bit_cast<uint32_t>(v) & kExponent;
      found |= static_cast<uint32_t>(exponent == kExponent);
    }
    if (found == 0) continue;
    const auto bad = std::find_if(row.begin(), row.end(),
                                  [](float v) { return !std::isfinite(v); });
    return BadInput(fmt::format(
        "{} {} of position {} is {}, the model's numbers leave the range of "
        "f32",
        what, bad - row.begin(), first_position + t, *bad));
  }
  return {};
}

Status Session::Chunk(std::span<const int32_t> tokens, Span2D<float> logits) {
  const Hyperparameters& hp = model_.hyperparameters();
  const Weights& weights = model_.weights();
  const Backend& backend = *options_.backend;
  const size_t n = tokens.size();
  ExecContext ctx{&workspace_, &options_.config,
                  options_.config.strict_parity ? 1 : options_.n_threads};

  FillPositions(n);
  layer::LayerState state;
  state.pos = n_past_;
  state.positions = rope_rows_.first(n);
  state.rope_cos = rope_cos_.Rows(0, n);
  state.rope_sin = rope_sin_.Rows(0, n);
  if (!q_scale_.empty()) state.q_scale = q_scale_.first(n);
  state.attention_scale = 1.0f / std::sqrt(static_cast<float>(hp.head_dim));
  state.activations = options_.config.UseQ8Activations() ? Activations::kAuto
                                                         : Activations::kF32;

  layer::LogObserver log_stages;
  state.observer = options_.observer;
  if (state.observer == nullptr && options_.config.layer_debug) {
    state.observer = &log_stages;
  }

  const Span2D<float> x = Corner(buffers_.x, n, hp.model_dim);
  ETALON_RETURN_IF_ERROR(
      backend.embedding({weights.token_embd, tokens, x}, ctx));
  for (size_t i = 0; i < hp.n_layers; ++i) {
    if (state.observer != nullptr) state.observer->OnLayer(i);
    state.k_cache = cache_.k(i);
    state.v_cache = cache_.v(i);
    ETALON_RETURN_IF_ERROR(layer::Forward(model_.LayerConfigOf(i),
                                          weights.layers[i], state,
                                          Buffers(i, n), backend, ctx));
    ETALON_RETURN_IF_ERROR(
        CheckFinite(fmt::format("layer {}: activation", i), n_past_, x));
  }
  if (logits.rows > 0) {
    const Span2D<float> last = x.Rows(n - logits.rows, n);
    const Span2D<float> h = Corner(buffers_.h, logits.rows, hp.model_dim);
    ETALON_RETURN_IF_ERROR(
        backend.rms_norm({last, weights.output_norm, hp.rms_eps, h, {}}, ctx));
    const layer::Linear& out = weights.output;
    const GemmPart part{out.weights, out.bias, logits, out.scale};
    ETALON_RETURN_IF_ERROR(
        backend.gemm({h, {&part, 1}, state.activations}, ctx));
    ETALON_RETURN_IF_ERROR(
        CheckFinite("logit", n_past_ + n - logits.rows, logits));
  }
  n_past_ += n;
  return {};
}

Status Session::Append(std::span<const int32_t> tokens, Span2D<float> logits) {
  const Hyperparameters& hp = model_.hyperparameters();
  ETALON_ENSURE(!tokens.empty(), "tokens: none given");
  ETALON_ENSURE(logits.rows <= 1 || logits.rows == tokens.size(),
                fmt::format("logits: {} rows, need 0, 1 or {}", logits.rows,
                            tokens.size()));
  ETALON_ENSURE(
      logits.rows == 0 || logits.cols == hp.n_vocab,
      fmt::format("logits: {} columns, need {}", logits.cols, hp.n_vocab));
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<size_t>(tokens[i]) >= hp.n_vocab) {
      return BadInput(fmt::format("token[{}]: {} is outside 0..{}", i,
                                  tokens[i], hp.n_vocab - 1));
    }
  }
  if (tokens.size() > n_ctx() - n_past_) {
    return BadInput(
        fmt::format("{} tokens do not fit the context: {} of {} positions used",
                    tokens.size(), n_past_, n_ctx()));
  }

  const size_t start = n_past_;
  const bool all = logits.rows == tokens.size();
  for (size_t begin = 0; begin < tokens.size();) {
    const size_t end = std::min(tokens.size(), begin + options_.n_batch);
    Span2D<float> rows;
    if (all) {
      rows = logits.Rows(begin, end);
    } else if (end == tokens.size()) {
      rows = logits;
    }
    if (Status status = Chunk(tokens.subspan(begin, end - begin), rows);
        !status) {
      n_past_ = start;
      return status;
    }
    begin = end;
    if (on_chunk && !on_chunk(begin)) break;
  }
  return {};
}

}  // namespace etalon::model
