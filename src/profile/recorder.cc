#include "profile/recorder.h"

#include <algorithm>
#include <type_traits>

#include "ops/attention_fast.h"

namespace etalon::profile {
namespace {

thread_local Recorder* recorder = nullptr;

// Enough for a minute of decoding; a trace of more nobody looks at.
constexpr size_t kMaxEvents = 200000;
// Room for a pass of a hundred tokens; a longer one makes room once.
constexpr size_t kFirstCalls = size_t{1} << 16;
// Past about 80 MiB they are counted in between, which is seen in the time
// between ops, not in theirs.
constexpr size_t kMaxCalls = size_t{1} << 20;

}  // namespace

template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
Status Recorder::Timed(const Args& args, ExecContext& ctx) {
  Recorder& r = *recorder;
  if (r.with_regions_) r.before_ = r.clock_;
  const uint64_t begin = Ticks();
  Status status = (r.inner_.*Entry)(args, ctx);
  const uint64_t end = Ticks();
  OpCall call = Describe(args);
  if constexpr (std::is_same_v<Args, AttentionArgs>) {
    call.key.bf16 =
        status && r.inner_.name == "cpu" && ops::TakesAttentionFast(args, ctx);
  }
  r.Add(call, begin, end);
  return status;
}

void Recorder::Add(const OpCall& op, uint64_t begin, uint64_t end) {
  calls_.push_back({op, begin, end});
  if (with_regions_) regions_.push_back({before_, clock_});
  if (calls_.size() == kMaxCalls) Count();
}

void Recorder::Count() {
  if (calls_.empty()) return;
  const double ns_per_tick = NsPerTick(start_, TickMark::Now());
  // Counters of two sockets may be a little apart.
  const auto since = [ns_per_tick](uint64_t from, uint64_t to) {
    return to > from ? static_cast<double>(to - from) * ns_per_tick : 0.0;
  };
  for (size_t i = 0; i < calls_.size(); ++i) {
    const Call& c = calls_[i];
    const double ns = since(c.begin, c.end);
    const auto it = totals_.try_emplace(c.op.key).first;
    OpTotals& t = it->second;
    ++t.calls;
    t.ns += ns;
    t.call_ns.push_back(static_cast<float>(ns));
    t.cost.streamed += c.op.cost.streamed;
    t.cost.activations += c.op.cost.activations;
    t.cost.operations += c.op.cost.operations;
    if (with_regions_) {
      const auto& [before, after] = regions_[i];
      t.regions.regions += after.regions - before.regions;
      t.regions.wall += after.wall - before.wall;
      t.regions.thread += after.thread - before.thread;
      t.regions.busy += after.busy - before.busy;
      t.regions.longest += after.longest - before.longest;
    }
    if (events_.size() < kMaxEvents) {
      events_.push_back(
          {&it->first, since(start_.ticks, c.begin), ns, c.op.cost});
    }
  }
  calls_.clear();
  regions_.clear();
}

Recorder::Recorder(const Backend& inner) : inner_(inner), backend_(inner) {
  backend_.name = "recording";
  ForEachEntry([&]<class Args, auto Entry>() {
    // A port's table may lack entries.
    if (inner_.*Entry != nullptr) {
      backend_.*Entry = &Recorder::Timed<Args, Entry>;
    }
  });
  // Its pages are there before anything is timed.
  calls_.resize(kFirstCalls);
  regions_.resize(kFirstCalls);
  Start(false);
  recorder = this;
}

Recorder::~Recorder() {
  SetRegionClock(nullptr);
  recorder = nullptr;
}

void Recorder::Start(bool regions) {
  SetRegionClock(regions ? &clock_ : nullptr);
  with_regions_ = regions;
  events_.clear();
  calls_.clear();
  regions_.clear();
  totals_.clear();
  start_ = TickMark::Now();
}

}  // namespace etalon::profile
