#include "profile/roofs.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "core/memory.h"
#include "core/parallel.h"
#include "profile/bench_output.h"

namespace etalon::profile {
namespace {

// Short runs, at least kFewest of them and at most what fits the time: under
// load, where one takes long, fewer do.
constexpr size_t kFewest = 3, kMost = 7;
constexpr double kSecondsPerRoof = 0.25;
constexpr size_t kLine = 64;

double Seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Best and spread of what `rate` returns.
template <class F>
Measured Repeat(F rate) {
  std::vector<double> rates;
  const double begin = Seconds();
  while (rates.size() < kFewest ||
         (rates.size() < kMost && Seconds() - begin < kSecondsPerRoof)) {
    rates.push_back(rate());
  }
  std::sort(rates.begin(), rates.end());
  const double best = rates.back();
  return {best, best > 0 ? 1 - rates[rates.size() / 2] / best : 0};
}

// Memory that is there, page by page.
class Buffer {
 public:
  static std::unique_ptr<Buffer> Make(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    madvise(p, bytes, MADV_HUGEPAGE);  // a refusal costs speed, no more
    auto* data = static_cast<std::byte*>(p);
    // Not zeros throughout: those may be one page for all.
    for (size_t i = 0; i < bytes; i += 4096) {
      data[i] = static_cast<std::byte>(i >> 12 | 1);
    }
    return std::unique_ptr<Buffer>(new Buffer(data, bytes));
  }
  ~Buffer() { munmap(data_, bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  const std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  Buffer(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_;
  size_t bytes_;
};

// Every thread reads a region of its own over and over: `region` bytes that fit
// the level.
double CacheRate(const Buffer& buffer, size_t region, int n_threads) {
  constexpr size_t kBytesPerThread = size_t{96} << 20;
  const size_t streams = region >= (1u << 20) ? 8 : 1;
  const size_t stream = region / streams / kLine * kLine;
  const size_t rounds = std::max<size_t>(1, kBytesPerThread / region);
  std::vector<uint64_t> sink(static_cast<size_t>(n_threads) * 8);
  double begin = 0;
  for (int pass = 0; pass < 2; ++pass) {  // the first fills the cache
    begin = Seconds();
    ParallelFor(
        static_cast<size_t>(n_threads), n_threads,
        [&](size_t task, int) {
          const std::byte* own = buffer.data() + task * region;
          for (size_t r = 0; r < (pass == 0 ? 1 : rounds); ++r) {
            sink[task * 8] ^= simd::ReadStreams(own, streams, stream, 0);
          }
        },
        Schedule::kStatic);
  }
  return static_cast<double>(n_threads) *
         static_cast<double>(rounds * streams * stream) / (Seconds() - begin);
}

// How a thread reads DRAM: in streams, each asked for some bytes ahead.
struct Pattern {
  size_t n_streams, ahead;
};
// The roof is the best of them; which one that is differs between machines. The
// first is how the product kernels read weights.
constexpr Pattern kPatterns[] = {{16, 320}, {4, 2048}, {1, 8192}};

// The whole buffer once.
double DramRate(const Buffer& buffer, Pattern pattern, int n_threads) {
  const auto [n_streams, ahead] = pattern;
  const size_t n_tasks = 4 * static_cast<size_t>(n_threads);
  const size_t stream = buffer.size() / n_tasks / n_streams / kLine * kLine;
  std::vector<uint64_t> sink(n_tasks * 8);
  const double begin = Seconds();
  ParallelFor(n_tasks, n_threads, [&](size_t task, int) {
    sink[task * 8] = simd::ReadStreams(
        buffer.data() + task * n_streams * stream, n_streams, stream, ahead);
  });
  return static_cast<double>(n_tasks * n_streams * stream) /
         (Seconds() - begin);
}

double PeakRate(simd::Peak peak, int n_threads, size_t steps) {
  std::vector<double> ops(static_cast<size_t>(n_threads) * 8);
  const double begin = Seconds();
  ParallelFor(
      static_cast<size_t>(n_threads), n_threads,
      [&](size_t task, int) { ops[task * 8] = simd::RunPeak(peak, steps); },
      Schedule::kStatic);
  const double seconds = Seconds() - begin;
  double sum = 0;
  for (const double n : ops) sum += n;
  return sum / seconds;
}

// As many steps as take about 8 ms on one thread.
size_t StepsFor(simd::Peak peak) {
  size_t steps = 1000;
  while (true) {
    const double begin = Seconds();
    simd::RunPeak(peak, steps);
    const double seconds = Seconds() - begin;
    if (seconds > 1e-3 || steps > size_t{1} << 30) {
      return static_cast<size_t>(static_cast<double>(steps) * 8e-3 / seconds) +
             1;
    }
    steps *= 4;
  }
}

// Larger than the last-level cache, which on a server may be hundreds of MiB.
size_t DramBytes(const Machine& machine) {
  uint64_t bytes =
      std::max<uint64_t>(uint64_t{256} << 20, 2 * machine.l3_bytes);
  bytes = std::min({bytes, uint64_t{3} << 29, AvailableMemoryBytes() / 2});
  return static_cast<size_t>(bytes) / 4096 * 4096;
}

std::vector<int> ThreadCounts(int most) {
  std::vector<int> counts;
  for (int n = 1; n < most; n *= 2) counts.push_back(n);
  counts.push_back(most);
  return counts;
}

// Half of the level: the other half is for what else lives there. L3 is shared
// and may be huge; 8 times L2 per thread is certainly not in L2.
size_t RegionBytes(const Machine& m, Level level) {
  const uint64_t l1 = m.l1d_bytes > 0 ? m.l1d_bytes : 32 << 10;
  const uint64_t l2 = m.l2_bytes > 0 ? m.l2_bytes : 512 << 10;
  if (level == Level::kL1) return l1 / 2;
  if (level == Level::kL2) return l2 / 2;
  const auto n = static_cast<uint64_t>(m.threads.n_threads);
  const uint64_t share = m.l3_bytes / 2 / n;
  return std::min<uint64_t>(8 * l2, share) / 4096 * 4096;
}

// Puts the tier back that was active.
class TierScope {
 public:
  TierScope() : tier_(ActiveSimdTier()) {}
  ~TierScope() { static_cast<void>(SetActiveSimdTier(tier_)); }
  TierScope(const TierScope&) = delete;
  TierScope& operator=(const TierScope&) = delete;

 private:
  SimdTier tier_;
};

constexpr simd::Peak kPeaks[] = {
    simd::Peak::kMulAddF32, simd::Peak::kFmaF32,  simd::Peak::kVnniInt8,
    simd::Peak::kAmxInt8,   simd::Peak::kAmxBf16, simd::Peak::kVectorBf16};

}  // namespace

const char* LevelName(Level level) {
  constexpr const char* kNames[kNumLevels] = {"L1", "L2", "L3", "DRAM"};
  return kNames[static_cast<int>(level)];
}

Expected<Roofs> MeasureRoofs(
    const Machine& machine, const std::function<bool()>& stop,
    const std::function<void(size_t, size_t)>& progress) {
  const TierScope scope;
  Roofs roofs;
  roofs.machine = machine.id;
  roofs.time = UtcTime();
  const double begin = Seconds();
  const auto clock = ReadCpuClock();
  const std::vector<int> counts = ThreadCounts(machine.threads.n_threads);
  const std::unique_ptr<Buffer> buffer = Buffer::Make(DramBytes(machine));
  if (!buffer) {
    return Fail(ErrorCode::kLimit,
                "no memory to measure the DRAM bandwidth with");
  }
  const size_t total =
      counts.size() * (kNumLevels + SupportedSimdTiers().size());
  size_t done = 0;
  const auto go_on = [&] {
    if (progress) progress(done++, total);
    return !(stop && stop());
  };
  ETALON_RETURN_IF_ERROR(SetActiveSimdTier(SupportedSimdTiers().back()));
  for (const int n : counts) {
    for (const Level level :
         {Level::kL1, Level::kL2, Level::kL3, Level::kDram}) {
      if (!go_on()) return roofs;
      BandwidthRoof roof{level, n, {}};
      if (level == Level::kDram) {
        for (const Pattern pattern : kPatterns) {
          const Measured rate =
              Repeat([&] { return DramRate(*buffer, pattern, n); });
          if (rate.best > roof.rate.best) roof.rate = rate;
        }
      } else {
        const size_t region = RegionBytes(machine, level);
        if (region < 4096 || region * static_cast<size_t>(n) > buffer->size()) {
          continue;
        }
        roof.rate = Repeat([&] { return CacheRate(*buffer, region, n); });
      }
      roofs.bandwidths.push_back(roof);
    }
  }
  for (const SimdTier tier : SupportedSimdTiers()) {
    ETALON_RETURN_IF_ERROR(SetActiveSimdTier(tier));
    for (const int n : counts) {
      if (!go_on()) return roofs;
      for (const simd::Peak peak : kPeaks) {
        if (!simd::HasPeak(peak)) continue;
        const size_t steps = StepsFor(peak);
        roofs.peaks.push_back(
            {peak, tier, n, Repeat([&] { return PeakRate(peak, n, steps); })});
      }
    }
  }
  roofs.seconds = Seconds() - begin;
  roofs.state = DisturbanceText(DisturbanceBetween(clock, ReadCpuClock()));
  return roofs;
}

namespace {
// The entry whose thread count is nearest.
template <class Entry, class Is>
double Nearest(const std::vector<Entry>& entries, int n_threads, Is is) {
  double rate = 0;
  int best = 1 << 30;
  for (const Entry& e : entries) {
    const int away = std::abs(e.n_threads - n_threads);
    if (!is(e) || away >= best) continue;
    best = away;
    rate = e.rate.best;
  }
  return rate;
}
}  // namespace

double Roofs::Bandwidth(Level level, int n_threads) const {
  return Nearest(bandwidths, n_threads,
                 [&](const BandwidthRoof& r) { return r.level == level; });
}

double Roofs::Peak(simd::Peak peak, SimdTier tier, int n_threads) const {
  return Nearest(peaks, n_threads, [&](const PeakRoof& r) {
    return r.peak == peak && r.tier == tier;
  });
}

}  // namespace etalon::profile
