#include "core/threads.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <numeric>

namespace etalon {
namespace {

namespace fs = std::filesystem;

std::vector<int> Cpus(int n) {
  std::vector<int> cpus(static_cast<size_t>(n));
  std::iota(cpus.begin(), cpus.end(), 0);
  return cpus;
}

// A made-up /proc and /sys.
class FakeRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (fs::temp_directory_path() / "etalon_threads_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  // n cores of `smt` CPUs each; CPU c and c + n share a core, as on most Intel
  // machines.
  void Cores(int n, int smt = 1) {
    for (int cpu = 0; cpu < n * smt; ++cpu) {
      const std::string dir =
          "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
      Write(dir + "physical_package_id", "0\n");
      Write(dir + "core_id", std::to_string(cpu % n) + "\n");
    }
  }
  void V2(const std::string& group, const std::string& mount_root = "/") {
    Write("proc/self/cgroup", "0::" + group + "\n");
    Write("proc/self/mountinfo",
          "22 1 0:5 / / rw - ext4 /dev/sda rw\n"
          "30 22 0:26 " +
              mount_root +
              " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n");
  }
  void V1(const std::string& group, const std::string& mount_root = "/") {
    Write("proc/self/cgroup",
          "9:name=systemd:/x\n4:cpu,cpuacct:" + group + "\n3:cpuset:/y\n");
    Write("proc/self/mountinfo",
          "31 22 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
          "35 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
          "32 31 0:29 " +
              mount_root +
              " /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
  }

  fs::path root_;
};

TEST_F(FakeRoot, OneThreadPerCoreWithoutQuota) {
  Cores(2);
  const ThreadBudget b = ThreadBudgetFrom(root_, Cpus(2));
  EXPECT_EQ(b.n_threads, 2);
  EXPECT_FALSE(b.quota);
  EXPECT_EQ(b.reason, "2 (2 cores visible, no cgroup quota)");
}

TEST_F(FakeRoot, HyperthreadsOfOneCoreCountOnce) {
  Cores(8, /*smt=*/2);
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(16)).n_threads, 8);
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(16)).reason,
            "8 (16 CPUs on 8 cores visible, no cgroup quota)");
  // Affinity: CPUs 3 and 11 are one core.
  EXPECT_EQ(ThreadBudgetFrom(root_, {3, 11}).n_threads, 1);
  EXPECT_EQ(ThreadBudgetFrom(root_, {3, 4}).n_threads, 2);
}

TEST_F(FakeRoot, CoresOfTwoSocketsAreDistinct) {
  for (int cpu = 0; cpu < 4; ++cpu) {
    const std::string dir =
        "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    Write(dir + "physical_package_id", std::to_string(cpu / 2) + "\n");
    Write(dir + "core_id", std::to_string(cpu % 2) + "\n");
  }
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(4)).n_threads, 4);
}

TEST_F(FakeRoot, WithoutTopologyEveryCpuIsACore) {
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(3)).n_threads, 3);
}

TEST_F(FakeRoot, V2QuotaIsRoundedDown) {
  Cores(16);
  V2("/user/me");
  Write("sys/fs/cgroup/user/me/cpu.max", "350000 100000\n");
  const ThreadBudget b = ThreadBudgetFrom(root_, Cpus(16));
  EXPECT_EQ(b.n_threads, 3);
  EXPECT_EQ(b.reason, "3 (16 cores visible, cgroup quota 3.50)");
}

TEST_F(FakeRoot, QuotaBelowOneCpuStillGivesOneThread) {
  V2("/");
  Write("sys/fs/cgroup/cpu.max", "20000 100000\n");
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(4)).n_threads, 1);
}

TEST_F(FakeRoot, QuotaAboveTheMachineChangesNothing) {
  V2("/a");
  Write("sys/fs/cgroup/a/cpu.max", "6400000 100000\n");
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(4)).n_threads, 4);
}

TEST_F(FakeRoot, TightestAncestorWins) {
  V2("/a/b/c");
  Write("sys/fs/cgroup/a/cpu.max", "200000 100000\n");
  Write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
  EXPECT_EQ(CgroupQuota(root_), 2.0);
}

TEST_F(FakeRoot, ContainerWithItsOwnGroupNamespace) {
  V2("/");
  Write("sys/fs/cgroup/cpu.max", "150000 50000\n");
  EXPECT_EQ(CgroupQuota(root_), 3.0);
}

TEST_F(FakeRoot, ContainerThatSeesTheHostsPath) {
  V2("/docker/abc/child", "/docker/abc");
  Write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  Write("sys/fs/cgroup/child/cpu.max", "100000 100000\n");
  EXPECT_EQ(CgroupQuota(root_), 1.0);
}

TEST_F(FakeRoot, PathOutsideTheNamespaceFallsBackToTheMount) {
  V2("/../../elsewhere");
  Write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(CgroupQuota(root_), 4.0);
}

TEST_F(FakeRoot, V1QuotaOfTheCpuController) {
  V1("/job");
  Write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000\n");
  Write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupQuota(root_), 2.0);
  EXPECT_EQ(ThreadBudgetFrom(root_, Cpus(16)).n_threads, 2);
}

TEST_F(FakeRoot, V1InsideDockerMountsItsOwnGroup) {
  V1("/docker/abc", "/docker/abc");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupQuota(root_), 3.0);
}

TEST_F(FakeRoot, V1MinusOneIsNoQuota) {
  V1("/");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(CgroupQuota(root_));
}

TEST(Quota, TextThatIsNotALimitIsNone) {
  EXPECT_EQ(ParseCpuMax("150000 100000\n"), 1.5);
  for (const char* none :
       {"", "max 100000\n", "max", "x y", "100000", "0 0", "100000 0",
        "-5 100000", "1 2 3", "99999999999999999999999 1"}) {
    EXPECT_FALSE(ParseCpuMax(none)) << none;
  }
}

TEST(Threads, ThisMachineGivesASaneAnswer) {
  const ThreadBudget b = DefaultThreads();
  EXPECT_GE(b.n_threads, 1);
  EXPECT_LE(b.n_threads, b.n_cpus);
  EXPECT_EQ(b.n_cpus, static_cast<int>(AffinityCpus().size()));
  EXPECT_EQ(b.reason.rfind(std::to_string(b.n_threads) + " (", 0), 0u);
}

}  // namespace
}  // namespace etalon
