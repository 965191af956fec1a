// The machine in words, its roofs as text and back.
#include "profile/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "profile/roofs.h"
#include "tests/util/temp_dir.h"

namespace etalon::profile {
namespace {

using ::testing::HasSubstr;

void Write(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(
      std::filesystem::path(path).parent_path());
  std::ofstream(path) << text;
}

TEST(Machine, ReadsCachesOfTheGivenTree) {
  const test::TempDir dir;
  const std::string cpu = dir.File("sys/devices/system/cpu/cpu0/cache/");
  const auto cache = [&](int i, const char* level, const char* type,
                         const char* size) {
    const std::string at = cpu + "index" + std::to_string(i) + "/";
    Write(at + "level", level);
    Write(at + "type", type);
    Write(at + "size", size);
  };
  cache(0, "1", "Data", "48K");
  cache(1, "1", "Instruction", "32K");
  cache(2, "2", "Unified", "2048K");
  cache(3, "3", "Unified", "30M");
  const Machine m = DescribeMachine(dir.File(""));
  EXPECT_EQ(m.l1d_bytes, 48u << 10);
  EXPECT_EQ(m.l2_bytes, 2u << 20);
  EXPECT_EQ(m.l3_bytes, 30u << 20);
  EXPECT_THAT(MachineText(m), HasSubstr("L1d 48 KiB, L2 2 MiB, L3 30 MiB"));
}

TEST(CpuClock, CountsOthersStealAndThrottling) {
  const test::TempDir dir;
  // user nice system idle iowait irq softirq steal, ticks of 10 ms.
  Write(
      dir.File("proc/stat"),
      "cpu  1000 100 200 5000 7 1 2 30 0 0\ncpu0 1 1 1\ncpu1 1 1 1\nintr 5\n");
  Write(dir.File("sys/fs/cgroup/cpu.stat"),
        "usage_usec 5\nthrottled_usec 1500000\n");
  const auto c = ReadCpuClock(dir.File(""));
  ASSERT_TRUE(c);
  EXPECT_DOUBLE_EQ(c->busy, 13.03);
  EXPECT_DOUBLE_EQ(c->steal, 0.30);
  EXPECT_DOUBLE_EQ(c->throttled, 1.5);
  EXPECT_EQ(c->n_cpus, 2);
  EXPECT_FALSE(ReadCpuClock(dir.File("nothing")));
}

TEST(Disturbance, IsSaidOnlyWhenThereIsOne) {
  CpuClock a, b;
  a.n_cpus = b.n_cpus = 2;
  b.wall = 10;
  b.own = 20;
  b.busy = 20.2;  // a hundredth of a CPU is background
  EXPECT_TRUE(DisturbanceBetween(a, b).quiet());
  EXPECT_EQ(DisturbanceText(DisturbanceBetween(a, b)), "quiet");
  b.busy = 25;
  b.own = 16;
  b.steal = 1;
  b.throttled = 3;
  const Disturbance d = DisturbanceBetween(a, b);
  EXPECT_FALSE(d.quiet());
  EXPECT_NEAR(d.others, 0.9, 0.01);
  EXPECT_EQ(DisturbanceText(d),
            "NOT QUIET: other processes 0.90 CPUs, stolen by other machines "
            "0.10 CPUs, throttled by the cgroup quota 0.30 CPUs");
  EXPECT_THAT(DisturbanceText(DisturbanceBetween(std::nullopt, b)),
              HasSubstr("no word"));
}

Roofs SomeRoofs() {
  Roofs r;
  r.machine = "some machine";
  r.time = "2026-11-21T11:29:43Z";
  r.state = "quiet";
  r.seconds = 7;
  r.bandwidths = {{Level::kDram, 1, {18e9, 0.01}},
                  {Level::kDram, 2, {29e9, 0.02}},
                  {Level::kL2, 2, {200e9, 0.0}}};
  r.peaks = {{simd::Peak::kFmaF32, SimdTier::kAvx2, 1, {100e9, 0.03}},
             {simd::Peak::kAmxInt8, SimdTier::kAmx, 2, {11e12, 0.04}}};
  return r;
}

TEST(Roofs, SurviveTheirFile) {
  const test::TempDir dir;
  const std::string path = dir.File("cache/etalon/roofs.json");
  Machine machine;
  machine.id = "some machine";
  EXPECT_FALSE(LoadRoofs(path, machine));
  ASSERT_TRUE(SaveRoofs(path, SomeRoofs()));
  const auto back = LoadRoofs(path, machine);
  ASSERT_TRUE(back);
  EXPECT_EQ(ToJson(*back), ToJson(SomeRoofs()));
  EXPECT_EQ(back->Bandwidth(Level::kDram, 2), 29e9);
  EXPECT_EQ(back->Bandwidth(Level::kDram, 8), 29e9);  // the nearest
  EXPECT_EQ(back->Bandwidth(Level::kL1, 2), 0);
  EXPECT_EQ(back->Peak(simd::Peak::kAmxInt8, SimdTier::kAmx, 1), 11e12);
  EXPECT_EQ(back->Peak(simd::Peak::kFmaF32, SimdTier::kAmx, 1), 0);
  machine.id = "another";
  EXPECT_FALSE(LoadRoofs(path, machine));
}

TEST(Roofs, AnythingElseInTheFileIsForgotten) {
  const std::string good = ToJson(SomeRoofs());
  ASSERT_TRUE(RoofsFromJson(good));
  for (size_t n = 0; n + 2 < good.size(); n += 7) {
    EXPECT_FALSE(RoofsFromJson(good.substr(0, n))) << n;
  }
  for (const auto& [from, to] :
       {std::pair{"\"version\": 3", "\"version\": 2"},
        std::pair{"\"DRAM\"", "\"disk\""}, std::pair{"\"amx\"", "\"cray\""},
        std::pair{"\"threads\": 2", "\"threads\": \"2\""},
        std::pair{"\"threads\": 2", "\"threads\": -2"},
        std::pair{"\"peaks\": [", "\"peaks\": [5,"}}) {
    std::string bad = good;
    const size_t at = bad.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bad.replace(at, std::string(from).size(), to);
    EXPECT_FALSE(RoofsFromJson(bad)) << to;
  }
}

}  // namespace
}  // namespace etalon::profile
