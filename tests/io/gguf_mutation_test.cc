// Every prefix and every single-bit flip of a small file: refused or accepted,
// never a crash, and nothing read past the end.
#include <gtest/gtest.h>

#include <random>

#include "gguf_bytes.h"
#include "io/gguf_writer.h"

namespace etalon::io {
namespace {

// Every value type, strings, arrays, tensors of several ranks and types.
std::vector<std::byte> SmallFile() {
  GgufWriter w(64);
  const std::vector<std::string> tokens{"<unk>", "", "a", "\xC3\xA9", "token"};
  const std::vector<float> scores{0, -1, 2.5f};
  const std::vector<int32_t> types{1, 3, 6};
  EXPECT_TRUE(w.AddString("general.architecture", "llama"));
  EXPECT_TRUE(w.AddNumber<uint32_t>("llama.block_count", 1));
  EXPECT_TRUE(w.AddNumber<float>("llama.rope.freq_base", 10000));
  EXPECT_TRUE(w.AddStrings("tokenizer.ggml.tokens", tokens));
  EXPECT_TRUE(w.AddNumbers<float>("tokenizer.ggml.scores", scores));
  EXPECT_TRUE(w.AddNumbers<int32_t>("tokenizer.ggml.token_type", types));
  EXPECT_TRUE(w.AddBool("b", true));
  EXPECT_TRUE(w.AddBools("bs", {true, false, true}));
  EXPECT_TRUE(w.AddNumber<uint8_t>("u8", 1));
  EXPECT_TRUE(w.AddNumber<int16_t>("i16", -1));
  EXPECT_TRUE(w.AddNumber<uint64_t>("u64", 1));
  EXPECT_TRUE(w.AddNumber<double>("f64", 1));
  const std::vector<std::byte> data(1000);
  const auto add = [&](const char* name, uint32_t type,
                       std::vector<uint64_t> ne, size_t n_bytes) {
    EXPECT_TRUE(w.AddTensor(name, type, ne, std::span(data).first(n_bytes)));
  };
  add("token_embd.weight", 8, {32, 5}, 170);
  add("blk.0.attn_norm.weight", 0, {32}, 128);
  add("blk.0.attn_q.weight", 12, {256, 2}, 288);
  add("cube", 1, {2, 3, 4, 5}, 240);
  return *w.ToBytes();
}

uint64_t g_sink = 0;

// Touches everything that a caller can get hold of.
void ReadAll(const GgufFile& file) {
  for (const GgufKv& kv : file.kvs()) {
    ASSERT_EQ(file.Find(kv.key), &kv.value);
    g_sink += file.GetUint(kv.key).has_value();
    g_sink += file.GetFloat(kv.key).has_value();
    g_sink += file.GetBoolOr(kv.key, false).has_value();
    if (const auto s = file.GetString(kv.key)) {
      for (const char c : *s) g_sink += static_cast<uint8_t>(c);
    }
    if (const auto a = file.GetArray(kv.key)) {
      for (const std::string_view s : (*a)->strings()) {
        for (const char c : s) g_sink += static_cast<uint8_t>(c);
      }
      if ((*a)->element_type == GgufType::kString) continue;
      for (uint64_t i = 0; i < (*a)->count; ++i) {
        g_sink +=
            static_cast<uint64_t>((*a)->Integer(i)) + ((*a)->Number(i) > 0);
      }
    }
  }
  for (const GgufTensor& t : file.tensors()) {
    ASSERT_EQ(file.FindTensor(t.name), &t);
    for (uint64_t i = 0; i < t.n_bytes; ++i) {
      g_sink += std::to_integer<uint8_t>(t.data[i]);
    }
  }
}

TEST(GgufMutation, TheSmallFileIsGood) {
  const auto bytes = SmallFile();
  const auto file = GgufFile::Parse(bytes);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(file->warnings().empty());
  EXPECT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(file->kvs().size(), 13u);  // with general.alignment
}

TEST(GgufMutation, EveryPrefix) {
  const auto bytes = SmallFile();
  GuardedBytes guarded(bytes.size());
  size_t accepted = 0;
  for (size_t n = 0; n < bytes.size(); ++n) {
    const auto prefix = guarded.Place(std::span(bytes).first(n));
    if (const auto file = GgufFile::Parse(prefix)) {
      ++accepted;
      ReadAll(*file);
    } else {
      EXPECT_NE(Refusal(prefix), "") << n;
    }
  }
  // Only the padding after the last tensor may be missing.
  EXPECT_EQ(accepted, 64u - 240 % 64);
}

TEST(GgufMutation, EveryBitFlipOfTheMetadata) {
  const auto bytes = SmallFile();
  const uint64_t data_begin = GgufFile::Parse(bytes)->tensors()[0].offset;
  GuardedBytes guarded(bytes.size());
  const auto flipped = guarded.Place(bytes);
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * data_begin; ++bit) {
    const auto mask = static_cast<std::byte>(1u << bit % 8);
    flipped[bit / 8] ^= mask;
    if (const auto file = GgufFile::Parse(flipped)) {
      ReadAll(*file);
    } else {
      ++refused;
      ASSERT_NE(Refusal(flipped), "");
    }
    flipped[bit / 8] ^= mask;
  }
  EXPECT_GT(refused, data_begin);  // the loop did something
}

// Random 1 to 8 byte edits with the values that break arithmetic.
TEST(GgufMutation, InterestingNumbersAnywhere) {
  const auto bytes = SmallFile();
  const uint64_t data_begin = GgufFile::Parse(bytes)->tensors()[0].offset;
  const uint64_t values[] = {0,
                             1,
                             0x7F,
                             0xFF,
                             0xFFFF,
                             0x7FFFFFFF,
                             0xFFFFFFFF,
                             uint64_t{1} << 32,
                             (uint64_t{1} << 61) - 1,
                             uint64_t{1} << 61,
                             uint64_t{1} << 62,
                             (uint64_t{1} << 63) - 1,
                             uint64_t{1} << 63,
                             ~uint64_t{0} - 31,
                             ~uint64_t{0}};
  GuardedBytes guarded(bytes.size());
  const auto seed =
      static_cast<uint32_t>(testing::UnitTest::GetInstance()->random_seed());
  std::mt19937_64 random(seed);
  SCOPED_TRACE("--gtest_random_seed=" + std::to_string(seed));
  for (int round = 0; round < 60000; ++round) {
    const auto mutated = guarded.Place(bytes);
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      const uint64_t value = values[random() % std::size(values)];
      const size_t n = size_t{1} << random() % 4;
      std::memcpy(mutated.data() + random() % (data_begin - 8), &value, n);
    }
    const auto file = GgufFile::Parse(mutated);
    if (file) ReadAll(*file);
  }
}

}  // namespace
}  // namespace etalon::io
