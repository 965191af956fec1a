// Costs of ops against numbers computed by hand, the recorder, and what comes
// out of a profile of a small model.
#include "profile/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "core/ticks.h"
#include "profile/bench_run.h"
#include "simd/attention_bf16.h"
#include "tests/util/model_builder.h"
#include "tests/util/temp_dir.h"

namespace etalon::profile {
namespace {

using ::testing::HasSubstr;

WeightMatrix Stored(TensorType type, size_t rows, size_t cols) {
  return {type, nullptr, rows, cols, RowBytes(type, cols)};
}
template <class T>
Span2D<T> Shape(size_t rows, size_t cols) {
  return {nullptr, rows, cols};
}

// Q4_K: 144 bytes per 256 weights. One token through 3072 x 1024.
TEST(OpCost, GemvOfQ4K) {
  const GemmPart part{
      Stored(TensorType::kQ4_K, 3072, 1024), {}, Shape<float>(1, 3072)};
  const OpCall c = Describe(GemmArgs{Shape<const float>(1, 1024), {&part, 1}});
  EXPECT_EQ(c.cost.streamed, 1769472);    // 3072 * 4 * 144
  EXPECT_EQ(c.cost.activations, 16384);   // 4 * (1024 + 3072)
  EXPECT_EQ(c.cost.operations, 6291456);  // 2 * 3072 * 1024
  EXPECT_EQ(c.key.TypeText(), "Q4_K");
  EXPECT_EQ(c.key.ShapeText(), "3072x1024");
  EXPECT_FALSE(c.key.many_rows);
  EXPECT_TRUE(c.key.integer);
}

// Q, K and V of qwen3 0.6B over 512 tokens: x is read once for all three. Q6_K
// has 210 bytes per 256 weights.
TEST(OpCost, ProductsThatShareTheirInput) {
  const std::vector<float> bias(1024);
  const GemmPart parts[] = {
      {Stored(TensorType::kQ4_K, 2048, 1024), {}, Shape<float>(512, 2048)},
      {Stored(TensorType::kQ4_K, 1024, 1024), {}, Shape<float>(512, 1024)},
      {Stored(TensorType::kQ6_K, 1024, 1024), bias, Shape<float>(512, 1024)}};
  const OpCall c = Describe(GemmArgs{Shape<const float>(512, 1024), parts});
  // 3072 * 576 + 1024 * 840 + 4 * 1024
  EXPECT_EQ(c.cost.streamed, 2633728);
  // 4 * 512 * (1024 + 4096)
  EXPECT_EQ(c.cost.activations, 10485760);
  // 2 * 512 * 4096 * 1024 + 512 * 1024
  EXPECT_EQ(c.cost.operations, 4295491584);
  EXPECT_EQ(c.key.TypeText(), "Q4_K+Q6_K");
  EXPECT_TRUE(c.key.many_rows);
}

// One token at position 1000 sees 1001 keys; 16 query heads over 8 of the
// cache, 128 wide, f16.
TEST(OpCost, AttentionOfOneToken) {
  AttentionArgs a;
  a.q.n_tokens = 1;
  a.q.n_heads = 16;
  a.q.head_dim = 128;
  a.k.type = a.v.type = TensorType::kF16;
  a.k.n_kv_heads = a.v.n_kv_heads = 8;
  a.kv_len = 1001;
  const OpCall c = Describe(a);
  EXPECT_EQ(c.cost.streamed, 4100096);    // 8 * 1001 * 128 * (2 + 2)
  EXPECT_EQ(c.cost.activations, 16384);   // 2 * 4 * 16 * 128
  EXPECT_EQ(c.cost.operations, 8200192);  // 4 * 1001 * 16 * 128
  EXPECT_EQ(c.key.TypeText(), "F16");
}

// Three tokens after two: they see 3, 4 and 5 keys; all see 5 when not causal.
TEST(OpCost, CausalAttentionCountsWhatIsSeen) {
  AttentionArgs a;
  a.q.n_tokens = 3;
  a.q.n_heads = 2;
  a.q.head_dim = 8;
  a.k.n_kv_heads = 1;
  a.kv_len = 5;
  EXPECT_EQ(Describe(a).cost.operations, 768);  // 4 * 12 * 2 * 8
  EXPECT_EQ(Describe(a).cost.streamed, 320);    // 5 * 8 * (4 + 4)
  a.variant.window = 4;                         // 3, 4 and 4
  EXPECT_EQ(Describe(a).cost.operations, 704);  // 4 * 11 * 2 * 8
  a.causal = false;
  a.variant.window = 0;
  EXPECT_EQ(Describe(a).cost.operations, 960);  // 4 * 15 * 2 * 8
}

TEST(OpCost, RmsNormOfTwoRows) {
  const std::vector<float> weight(100);
  RmsNormArgs a;
  a.x = Shape<const float>(2, 100);
  a.weight = weight;
  const OpCall c = Describe(a);
  EXPECT_EQ(c.cost.activations, 1600);  // 2 rows read, 2 written
  EXPECT_EQ(c.cost.streamed, 400);
  EXPECT_EQ(c.cost.operations, 800);
}

// Gate and up of 8 x 256 in Q8_0 (34 bytes per 32), 3 tokens.
TEST(OpCost, GemmSwiGlu) {
  GemmSwiGluArgs a;
  a.x = Shape<const float>(3, 256);
  a.gate.weights = a.up.weights = Stored(TensorType::kQ8_0, 8, 256);
  a.out = Shape<float>(3, 8);
  const OpCall c = Describe(a);
  EXPECT_EQ(c.cost.streamed, 4352);     // 2 * 8 * 8 * 34
  EXPECT_EQ(c.cost.activations, 3168);  // 4 * 3 * (256 + 8)
  EXPECT_EQ(c.cost.operations, 24672);  // 4 * 3 * 8 * 256 + 4 * 3 * 8
}

// Two tokens take experts {0, 2} and {2, 5}: three are read.
TEST(OpCost, MoeFfnReadsTheExpertsUsed) {
  const int32_t experts[] = {0, 2, 2, 5};
  MoeFfnArgs a;
  a.x = Shape<const float>(2, 64);
  a.experts = {experts, 2, 2};
  a.gate.first = a.up.first = Stored(TensorType::kF32, 32, 64);
  a.down.first = Stored(TensorType::kF32, 64, 32);
  a.gate.n_experts = a.up.n_experts = a.down.n_experts = 8;
  const OpCall c = Describe(a);
  EXPECT_EQ(c.cost.streamed, 73728);    // 3 experts * 3 * 32 * 64 * 4
  EXPECT_EQ(c.cost.operations, 50176);  // 4 * (6 * 2048 + 4 * 32 + 2 * 64)
  EXPECT_EQ(c.cost.activations, 1056);  // 2 * 4 * 2 * 64 + 8 * 4
}

class SmallModel : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = dir_.File("model.gguf");
    test::MakeModel(test::Quantised({}, {TensorType::kQ4_K})).Write(path);
    auto model = model::Model::Load(path, {});
    ASSERT_TRUE(model) << model.error().message;
    model_ = std::move(*model);
    options_.n_threads = 2;
  }
  std::vector<Phase> Run(ProfileSettings settings) {
    if (settings.repetitions == 0) settings.repetitions = 3;
    return RunAsSet(settings);
  }
  std::vector<Phase> RunAsSet(const ProfileSettings& settings) {
    Roofs roofs;
    roofs.bandwidths = {{Level::kL3, 2, {1e11, 0}},
                        {Level::kL2, 2, {2e11, 0}},
                        {Level::kL1, 2, {4e11, 0}},
                        {Level::kDram, 2, {1e10, 0}}};
    for (const SimdTier tier : SupportedSimdTiers()) {
      for (int i = 0; i < simd::kNumPeaks; ++i) {
        roofs.peaks.push_back({static_cast<simd::Peak>(i), tier, 2, {1e12, 0}});
      }
    }
    auto phases = RunProfile(*model_, options_, settings, roofs,
                             DescribeMachine(), Counters(), nullptr);
    EXPECT_TRUE(phases) << phases.error().message;
    return phases ? *phases : std::vector<Phase>();
  }
  test::TempDir dir_;
  std::unique_ptr<model::Model> model_;
  model::SessionOptions options_;
};

const OpRow* Find(const Phase& p, Op op) {
  for (const OpRow& row : p.rows) {
    if (row.key.op == op) return &row;
  }
  return nullptr;
}

TEST_F(SmallModel, TheRecorderChangesNoBit) {
  const std::vector<int32_t> tokens = BenchTokens(0, 20, test::kTinyVocab);
  std::vector<float> logits[2];
  for (const bool recorded : {false, true}) {
    Recorder recorder(CpuBackend());
    model::SessionOptions o = options_;
    if (recorded) o.backend = &recorder.backend();
    const auto session = model::Session::Create(*model_, o);
    ASSERT_TRUE(session);
    std::vector<float>& out = logits[recorded ? 1 : 0];
    out.resize(test::kTinyVocab);
    ASSERT_TRUE((*session)->Append(tokens, {out.data(), 1, out.size()}));
    EXPECT_EQ(recorder.totals().empty(), !recorded);
  }
  EXPECT_EQ(logits[0], logits[1]);
}

// Products of f32 rounded to bf16 have another peak than those of f32.
TEST_F(SmallModel, FastAttentionIsHeldAgainstItsOwnPeak) {
  options_.config.profile = Profile::kFast;
  ProfileSettings s;
  s.n_prompt = 40;
  s.n_gen = 2;
  for (const Phase& p : Run(s)) {
    const OpRow* attention = Find(p, Op::kAttention);
    ASSERT_NE(attention, nullptr);
    EXPECT_EQ(attention->key.bf16,
              p.name == "prefill" && simd::HasAttentionBf16());
  }
}

// More calls than there is room for at first, and than are kept at a time.
TEST(RecorderTest, CountsAnyNumberOfCalls) {
  Recorder recorder(CpuBackend());
  recorder.Start(true);
  const TickMark start = TickMark::Now();
  float a[4] = {}, b[4] = {};
  const AddArgs args{{a, 1, 4}, {b, 1, 4}, {a, 1, 4}};
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  constexpr size_t kCalls = (size_t{1} << 20) + 1000;
  for (size_t i = 0; i < kCalls; ++i) {
    ASSERT_TRUE(recorder.backend().add(args, ctx));
  }
  const auto wall = static_cast<double>(TickMark::Now().ns - start.ns);
  ASSERT_EQ(recorder.totals().size(), 1u);
  const OpTotals& t = recorder.totals().begin()->second;
  EXPECT_EQ(t.calls, kCalls);
  EXPECT_EQ(t.call_ns.size(), kCalls);
  EXPECT_EQ(t.regions.regions, kCalls);
  EXPECT_EQ(t.cost.operations, 4.0 * kCalls);
  EXPECT_GT(t.ns, 0);
  EXPECT_LT(t.ns, wall * 1.001);
  double end = 0;
  for (const OpEvent& e : recorder.events()) {
    EXPECT_GE(e.begin_ns, end - 1);
    end = e.begin_ns + e.ns;
  }
}

TEST_F(SmallModel, CountsEveryCallOfBothPhases) {
  ProfileSettings s;
  s.n_prompt = 24;
  s.n_gen = 3;
  s.n_depth = 10;
  const std::vector<Phase> phases = Run(s);
  ASSERT_EQ(phases.size(), 2u);
  EXPECT_EQ(phases[0].test, "pp24 @ d10");
  EXPECT_EQ(phases[1].test, "tg3 @ d10");
  for (const Phase& p : phases) {
    const double steps = p.name == "decode" ? 3 : 1;
    const OpRow* attention = Find(p, Op::kAttention);
    ASSERT_NE(attention, nullptr);
    EXPECT_EQ(attention->calls, 2 * steps);  // layers
    const OpRow* embedding = Find(p, Op::kEmbedding);
    ASSERT_NE(embedding, nullptr);
    EXPECT_EQ(embedding->calls, steps);
    EXPECT_EQ(p.n_tokens, p.name == "decode" ? 3u : 24u);
    for (const OpRow& row : p.rows) {
      EXPECT_GT(row.seconds, 0);
      EXPECT_GE(row.wait_share, 0);
      EXPECT_LE(row.wait_share, 1);
      EXPECT_FALSE(row.roof.empty()) << OpName(row.key.op);
    }
    EXPECT_EQ(p.passes, 3u);
    double sum = 0, shares = 0;
    for (const OpRow& row : p.rows) {
      sum += row.seconds;
      shares += row.share;
    }
    EXPECT_GT(sum, 0);
    EXPECT_DOUBLE_EQ(p.accounted, sum);
    EXPECT_NEAR(shares, p.accounted / p.wall, 1e-12);
    EXPECT_LE(p.accounted, p.wall);
    EXPECT_GT(p.measured_wall, 0);
    EXPECT_FALSE(p.events.empty());
  }
  // Keys 10..33 and 10..12 are seen: sums 24 * 10 + 300 and 30 + 6; 4
  // operations, 8 heads of 64, 2 layers.
  EXPECT_EQ(Find(phases[0], Op::kAttention)->cost.operations,
            540.0 * 4 * 8 * 64 * 2);
  EXPECT_EQ(Find(phases[1], Op::kAttention)->cost.operations,
            36.0 * 4 * 8 * 64 * 2);
}

TEST_F(SmallModel, RunsUntilItIsSteadyOrTheTimeIsSpent) {
  ProfileSettings s;
  s.n_prompt = 4;
  s.n_gen = 1;
  s.budget = 0;
  for (const Phase& p : RunAsSet(s)) EXPECT_EQ(p.passes, 3u);
  s.budget = 0.5;
  const auto begin = std::chrono::steady_clock::now();
  const auto phases = RunAsSet(s);
  const bool spent = std::chrono::steady_clock::now() - begin >=
                     std::chrono::milliseconds(500);
  ASSERT_EQ(phases.size(), 2u);
  EXPECT_EQ(phases[0].passes, phases[1].passes);
  for (const Phase& p : phases) {
    if (spent || p.passes == 100) continue;  // never steady here
    EXPECT_GE(p.passes, 6u);
    EXPECT_EQ(p.passes % 2, 0u);
    EXPECT_LE(p.spread, 0.02);
  }
}

TEST_F(SmallModel, PhasesWithoutTokensAreLeftOut) {
  ProfileSettings s;
  s.n_prompt = 0;
  s.n_gen = 1;
  s.repetitions = 1;
  const auto phases = Run(s);
  ASSERT_EQ(phases.size(), 1u);
  EXPECT_EQ(phases[0].name, "decode");
}

TEST_F(SmallModel, OutputsAreWellFormed) {
  ProfileSettings s;
  s.n_prompt = 8;
  s.n_gen = 2;
  ProfileReport r;
  r.phases = Run(s);
  r.model = LabelOf(*model_);
  r.model_path = "a \"model\" <x>\xff.gguf";
  r.tier = "avx2";
  r.n_threads = 2;
  const auto j = nlohmann::json::parse(ToJson(r));
  ASSERT_EQ(j["phases"].size(), 2u);
  EXPECT_EQ(j["quiet"], false);
  EXPECT_TRUE(j["roofs"].is_null());
  for (const auto& op : j["phases"][1]["ops"]) {
    for (const char* field : {"calls", "seconds", "share", "bytes", "ops"}) {
      EXPECT_TRUE(op[field].is_number()) << field;
    }
  }
  const std::string csv = ToCsv(r);
  EXPECT_EQ(static_cast<size_t>(std::count(csv.begin(), csv.end(), '\n')),
            1 + r.phases[0].rows.size() + r.phases[1].rows.size());
  EXPECT_THAT(ToText(r), HasSubstr("inside ops"));
  const std::string html = ToHtml(r);
  EXPECT_THAT(html, HasSubstr("a &quot;model&quot; &lt;x&gt;"));
  EXPECT_THAT(html, ::testing::Not(HasSubstr("http")));
}

// What Chrome and Perfetto require of the format: named complete events with
// times, and none that begins before the one before it has ended (one thread).
TEST_F(SmallModel, TheTraceIsValid) {
  ProfileSettings s;
  s.n_prompt = 8;
  s.n_gen = 2;
  ProfileReport r;
  r.phases = Run(s);
  const auto trace = nlohmann::json::parse(ToTrace(r));
  std::map<int, double> ends;
  size_t complete = 0;
  std::set<std::string> names;
  for (const auto& e : trace["traceEvents"]) {
    ASSERT_TRUE(e["name"].is_string() && e["ph"].is_string());
    ASSERT_TRUE(e["pid"].is_number_integer());
    if (e["ph"] == "M") continue;
    ASSERT_EQ(e["ph"], "X");
    ++complete;
    names.insert(e["name"].get<std::string>());
    const int tid = e["tid"].get<int>();
    const double ts = e["ts"].get<double>(), dur = e["dur"].get<double>();
    EXPECT_GT(dur, 0);
    EXPECT_GE(ts, ends[tid] - 1e-3);
    ends[tid] = ts + dur;
  }
  EXPECT_EQ(complete, r.phases[0].events.size() + r.phases[1].events.size());
  EXPECT_TRUE(names.contains("gemm Q4_K 768x256")) << *names.begin();
}

TEST(RegionClock, CountsBusyAndWaitingTime) {
  RegionClock clock;
  const TickMark start = TickMark::Now();
  SetRegionClock(&clock);
  std::atomic<int> sum{0};
  // One long task and one short: the thread of the short one waits.
  ParallelFor(
      2, 2,
      [&](size_t task, int) {
        const auto begin = std::chrono::steady_clock::now();
        const auto time = std::chrono::milliseconds(task == 0 ? 20 : 1);
        while (std::chrono::steady_clock::now() - begin < time) ++sum;
      },
      Schedule::kStatic);
  ParallelFor(3, 1, [&](size_t, int) { ++sum; });
  SetRegionClock(nullptr);
  const RegionClock before = clock;
  ParallelFor(3, 1, [&](size_t, int) { ++sum; });
  EXPECT_EQ(clock.regions, before.regions);
  EXPECT_EQ(clock.regions, 2u);
  const double ms = NsPerTick(start, TickMark::Now()) * 1e-6;
  const auto in_ms = [ms](uint64_t n) { return static_cast<double>(n) * ms; };
  // A thousandth for the rate of the ticks.
  EXPECT_GE(in_ms(clock.longest), 19.98);
  EXPECT_GE(clock.wall, clock.longest);
  EXPECT_GE(in_ms(clock.busy), 20.97);
  EXPECT_LE(clock.busy, clock.thread);
  EXPECT_GE(in_ms(clock.thread - clock.busy), 15);
}

}  // namespace
}  // namespace etalon::profile
