// Large tables: time and memory grow with the file, not with its square.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <set>

#include "gguf_bytes.h"
#include "io/name_index.h"

namespace etalon::io {
namespace {

// Processor time: a busy machine does not count.
class Stopwatch {
 public:
  double Seconds() const {
    return static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC;
  }

 private:
  std::clock_t start_ = std::clock();
};

constexpr uint64_t kEntries = 300000;
// Comparing each of 300,000 names with all before it takes minutes; hashing
// takes about 0.1 s, and 20 s leave room for sanitizers and a slow machine.
constexpr double kMaxSeconds = 20.0;

TEST(GgufScale, ManyKeys) {
  Bytes b;
  b.Header(0, kEntries);
  for (uint64_t i = 0; i < kEntries; ++i) {
    b.KvU32(fmt::format("some.common.prefix.{}", i), static_cast<uint32_t>(i));
  }
  const Stopwatch watch;
  const auto file = GgufFile::Parse(b.span());
  ASSERT_TRUE(file) << file.error().message;
  RecordProperty("parse_ms_per_mb",
                 fmt::format("{:.2f}", watch.Seconds() * 1e9 /
                                           static_cast<double>(b.size())));
  for (uint64_t i = 0; i < kEntries; ++i) {
    ASSERT_EQ(file->GetUint(fmt::format("some.common.prefix.{}", i)), i);
  }
  EXPECT_EQ(file->Find("some.common.prefix.300000"), nullptr);
  EXPECT_LT(watch.Seconds(), kMaxSeconds);
}

TEST(GgufScale, ManyTensors) {
  Bytes b;
  b.Header(kEntries, 0);
  for (uint64_t i = 0; i < kEntries; ++i) {
    b.Info(fmt::format("blk.{}.weight", i), {8}, 0, 32 * i);
  }
  b.PadTo(32).Zeros(32 * kEntries);
  const Stopwatch watch;
  const auto file = GgufFile::Parse(b.span());
  ASSERT_TRUE(file) << file.error().message;
  for (uint64_t i = 0; i < kEntries; ++i) {
    const GgufTensor* t = file->FindTensor(fmt::format("blk.{}.weight", i));
    ASSERT_EQ(t, &file->tensors()[i]);
  }
  EXPECT_LT(watch.Seconds(), kMaxSeconds);
}

TEST(GgufScale, ManyStrings) {
  Bytes b;
  b.Header(0, 1).Str("tokens").U32(9).U32(8).U64(kEntries);
  for (uint64_t i = 0; i < kEntries; ++i) b.Str(fmt::format("token{}", i));
  const Stopwatch watch;
  const auto file = GgufFile::Parse(b.span());
  ASSERT_TRUE(file) << file.error().message;
  const GgufStrings strings = (*file->GetArray("tokens"))->strings();
  uint64_t n = 0;
  for (const std::string_view s : strings) {
    ASSERT_EQ(s, fmt::format("token{}", n++));
  }
  EXPECT_EQ(n, kEntries);
  EXPECT_LT(watch.Seconds(), kMaxSeconds);
}

// A claim of many entries costs nothing until they are read.
TEST(GgufScale, RefusalsAreFast) {
  Bytes b;
  b.Header(1 << 20, 1 << 20).Zeros(64 << 20);
  const Stopwatch watch;
  EXPECT_NE(Refusal(b), "");
  EXPECT_LT(watch.Seconds(), 5.0);
}

TEST(NameIndex, AgreesWithASet) {
  const auto seed =
      static_cast<uint32_t>(testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE("--gtest_random_seed=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::vector<std::string> names;
  const auto name_at = [&](size_t i) -> std::string_view { return names[i]; };
  NameIndex index;
  std::set<std::string> seen;
  EXPECT_EQ(index.Find("a", name_at), std::nullopt);
  size_t duplicates = 0;
  for (int i = 0; i < 20000; ++i) {
    // Short names of few letters: duplicates, and names that differ in length
    // only, zero bytes included.
    std::string name(random() % 12, '\0');
    for (char& c : name) c = static_cast<char>(random() % 3);
    const auto earlier = index.Insert(name, names.size(), name_at);
    ASSERT_EQ(earlier.has_value(), !seen.insert(name).second);
    if (earlier) {
      ASSERT_EQ(names[*earlier], name);
      ++duplicates;
    } else {
      names.push_back(name);
    }
  }
  EXPECT_GT(duplicates, 1000u);
  for (size_t i = 0; i < names.size(); ++i) {
    ASSERT_EQ(index.Find(names[i], name_at), i);
  }
  EXPECT_EQ(index.Find("absent", name_at), std::nullopt);
}

TEST(HashName, EqualNamesOfOtherStorageAgree) {
  for (size_t n = 0; n < 40; ++n) {
    const std::string a(n, 'x');
    const std::string shifted = "y" + a + "z";
    EXPECT_EQ(HashName(a), HashName(std::string_view(shifted).substr(1, n)));
    EXPECT_NE(HashName(a), HashName(a + "x"));
  }
}

}  // namespace
}  // namespace etalon::io
