// Steps of training (forward, backward, AdamW) of the bundled model's shape:
// tokens/s, and the share of the f32 FMA roof measured between the steps of the
// same process. Counted are the fused multiply-adds of the products, forward
// once and backward twice, attention included; norms, softmax, cross-entropy
// and the optimiser take time and count nothing. First one thread and all
// threads must give one loss and one gradient, bit for bit.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bench/roof.h"
#include "bench/threads.h"
#include "train/adamw.h"
#include "train/net.h"
#include "train/random.h"

namespace etalon::bench {
namespace {

constexpr size_t kWindows = 4;

struct Trainer {
  std::unique_ptr<train::Net> net;
  train::AdamWState state;
  std::vector<int32_t> tokens, targets;
  double loss = 0;
};

bool Create(int n_threads, Trainer* t) {
  const train::NetShape shape = {.n_vocab = 4096,
                                 .n_layers = 5,
                                 .model_dim = 256,
                                 .n_heads = 4,
                                 .n_kv_heads = 4,
                                 .head_dim = 64,
                                 .ffn_dim = 768,
                                 .seq_len = 512};
  auto net = train::Net::Create(shape, kWindows, n_threads);
  if (!net) return false;
  t->net = std::move(*net);
  t->net->Initialise(1);
  t->state.m.assign(t->net->values().size(), 0.0f);
  t->state.v.assign(t->net->values().size(), 0.0f);
  for (size_t i = 0; i <= kWindows * shape.seq_len; ++i) {
    t->tokens.push_back(
        static_cast<int32_t>(train::RandomBits(1, 2, i) % shape.n_vocab));
  }
  t->targets.assign(t->tokens.begin() + 1, t->tokens.end());
  t->tokens.pop_back();
  return true;
}

bool Gradients(Trainer& t) {
  std::fill(t.net->gradients().begin(), t.net->gradients().end(), 0.0f);
  const float scale = 1.0f / static_cast<float>(t.tokens.size());
  const auto loss = t.net->Loss(t.tokens, t.targets, true, scale);
  if (loss) t.loss = *loss;
  return loss.has_value();
}

bool Verified(Trainer& t) {
  Trainer one;
  if (!Create(1, &one) || !Gradients(one) || !Gradients(t)) return false;
  const auto a = one.net->gradients(), b = t.net->gradients();
  return one.loss == t.loss &&
         std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

void Step(benchmark::State& state) {
  const int n_threads = Threads();
  Trainer t;
  if (!Create(n_threads, &t)) return state.SkipWithError("refused");
  if (!Verified(t)) return state.SkipWithError("threads change the gradient");
  const train::AdamWOptions options;
  double seconds = 0, roof = 0;
  size_t steps = 0;
  for (auto _ : state) {
    roof += FmaRoof(n_threads);
    const double start = Seconds();
    if (!Gradients(t)) return state.SkipWithError("refused");
    train::AdamWUpdate(options, steps++, 1e-4f, *t.net, t.state, n_threads);
    const double step = Seconds() - start;
    state.SetIterationTime(step);
    seconds += step;
  }
  const auto n = static_cast<double>(steps);
  const double per_second = n * static_cast<double>(t.tokens.size()) / seconds;
  state.counters["tok/s"] = per_second;
  state.counters["TOP/s"] = 2e-12 * t.net->FmaPerToken() * per_second;
  if (roof > 0) {
    state.counters["roof_TOP/s"] = roof / n * 1e-12;
    state.counters["share"] = 2 * t.net->FmaPerToken() * per_second * n / roof;
  }
  state.SetLabel(std::to_string(n_threads) + " threads");
}

BENCHMARK(Step)
    ->Name("train_step/5M")
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace etalon::bench
