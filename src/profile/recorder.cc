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
// Counted together, about 2 MiB.
constexpr size_t kMaxCalls = 8192;

}  // namespace

template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
Status Recorder::Timed(const Args& args, ExecContext& ctx) {
  Recorder& r = *recorder;
  const RegionClock before = r.clock_;
  const uint64_t begin = Now();
  Status status = (r.inner_.*Entry)(args, ctx);
  const uint64_t ns = Now() - begin;
  r.calls_.push_back({Describe(args), begin, ns, before, r.clock_});
  if (r.calls_.size() == kMaxCalls) r.Count();
  return status;
}

void Recorder::Count() {
  for (const Call& c : calls_) {
    const auto it = totals_.try_emplace(c.op.key).first;
    OpTotals& t = it->second;
    ++t.calls;
    t.ns += c.ns;
    t.call_ns.push_back(static_cast<float>(c.ns));
    t.cost.streamed += c.op.cost.streamed;
    t.cost.activations += c.op.cost.activations;
    t.cost.operations += c.op.cost.operations;
    t.regions.regions += c.after.regions - c.before.regions;
    t.regions.wall += c.after.wall - c.before.wall;
    t.regions.thread += c.after.thread - c.before.thread;
    t.regions.busy += c.after.busy - c.before.busy;
    t.regions.longest += c.after.longest - c.before.longest;
    if (events_.size() < kMaxEvents) {
      events_.push_back({&it->first, c.begin_ns, c.ns, c.op.cost});
    }
  }
  calls_.clear();
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
  calls_.resize(kMaxCalls);
  calls_.clear();
  recorder = this;
}

Recorder::~Recorder() {
  SetRegionClock(nullptr);
  recorder = nullptr;
}

void Recorder::Start(bool regions) {
  SetRegionClock(regions ? &clock_ : nullptr);
  events_.clear();
  calls_.clear();
  totals_.clear();
}

}  // namespace etalon::profile
