#include "profile/recorder.h"

#include <chrono>

namespace etalon::profile {
namespace {

thread_local Recorder* recorder = nullptr;

uint64_t Now() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(
          std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

// Enough for a minute of decoding; a trace of more nobody looks at.
constexpr size_t kMaxEvents = 200000;

}  // namespace

template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
Status Recorder::Timed(const Args& args, ExecContext& ctx) {
  Recorder& r = *recorder;
  const RegionClock before = r.clock_;
  const uint64_t begin = Now();
  Status status = (r.inner_.*Entry)(args, ctx);
  const uint64_t ns = Now() - begin;
  const OpCall call = Describe(args);
  const auto it = r.totals_.try_emplace(call.key).first;
  OpTotals& t = it->second;
  ++t.calls;
  t.ns += ns;
  t.call_ns.push_back(static_cast<float>(ns));
  t.cost.streamed += call.cost.streamed;
  t.cost.activations += call.cost.activations;
  t.cost.operations += call.cost.operations;
  t.regions.regions += r.clock_.regions - before.regions;
  t.regions.wall += r.clock_.wall - before.wall;
  t.regions.thread += r.clock_.thread - before.thread;
  t.regions.busy += r.clock_.busy - before.busy;
  t.regions.longest += r.clock_.longest - before.longest;
  if (r.events_.size() < kMaxEvents) {
    r.events_.push_back({&it->first, begin, ns, call.cost});
  }
  return status;
}

// A port's table may lack entries.
template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
void Recorder::Wrap() {
  if (inner_.*Entry != nullptr) backend_.*Entry = Timed<Args, Entry>;
}

Recorder::Recorder(const Backend& inner) : inner_(inner), backend_(inner) {
  backend_.name = "recording";
  Wrap<EmbeddingArgs, &Backend::embedding>();
  Wrap<RmsNormArgs, &Backend::rms_norm>();
  Wrap<RopeArgs, &Backend::rope>();
  Wrap<GemmArgs, &Backend::gemm>();
  Wrap<GemmSwiGluArgs, &Backend::gemm_swiglu>();
  Wrap<KvWriteArgs, &Backend::kv_write>();
  Wrap<AttentionArgs, &Backend::attention>();
  Wrap<SwiGluArgs, &Backend::swiglu>();
  Wrap<AddArgs, &Backend::add>();
  Wrap<ScaleRowsArgs, &Backend::scale_rows>();
  Wrap<SoftmaxArgs, &Backend::softmax>();
  Wrap<MoeRouterArgs, &Backend::moe_router>();
  Wrap<MoeFfnArgs, &Backend::moe_ffn>();
  recorder = this;
  SetRegionClock(&clock_);
}

Recorder::~Recorder() {
  SetRegionClock(nullptr);
  recorder = nullptr;
}

void Recorder::Start() {
  events_.clear();
  events_.reserve(kMaxEvents / 10);
  totals_.clear();
}

}  // namespace etalon::profile
