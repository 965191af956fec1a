// What a vocabulary costs beside its file, while it loads and after.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "vocabulary_builder.h"

namespace {

std::atomic<size_t> g_bytes{0}, g_peak{0};

}  // namespace

// The other forms of new and delete end here.
[[gnu::noinline]] void* operator new(size_t n) {
  void* p = std::malloc(n);
  if (p == nullptr) std::abort();
  const size_t bytes = g_bytes += malloc_usable_size(p);
  g_peak = std::max(g_peak.load(), bytes);
  return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  if (p != nullptr) g_bytes -= malloc_usable_size(p);
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
  operator delete(p);
}

namespace etalon::text {
namespace {

// Tables of 32-bit numbers: a token takes its offset, two index slots, its
// type and its score; a merge takes two symbols, the result, two slots.
constexpr size_t kTokenBytes = 4 + 8 + 1 + 4;
constexpr size_t kMergeBytes = 12 + 8;
// The special tokens' names, the pre-tokenizer's rules and the like.
constexpr size_t kFixedBytes = size_t{64} << 10;

void ExpectPeakWithin(size_t limit, const std::vector<std::byte>& bytes) {
  const size_t before = g_bytes;
  g_peak = before;
  {
    const auto file = io::GgufFile::Parse(bytes);
    ASSERT_TRUE(file);
    const auto tokenizer = Tokenizer::FromGguf(*file);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_GT(g_bytes - before, limit / 2) << "nothing was counted";
  }
  EXPECT_LE(g_peak - before, limit);
}

TEST(TokenizerMemory, BytePairsTakeAFewWordsEach) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  const std::string letters = "abcdefghijklmnopqrstuvwxyz0123456789";
  for (const char x : letters) {
    for (const char y : letters) AddMerge(&b, {&x, 1}, {&y, 1});
  }
  const size_t n_pairs = letters.size() * letters.size();
  for (size_t i = 0; i < 20 * n_pairs; ++i) {
    AddMerge(&b, b.tokens[256 + i / n_pairs], b.tokens[256 + i % n_pairs]);
  }
  ExpectPeakWithin(b.tokens.size() * kTokenBytes +
                       b.merges->size() * kMergeBytes + kFixedBytes,
                   b.Bytes());
}

TEST(TokenizerMemory, SentencePiecesTakeAFewWordsEach) {
  VocabularyBuilder b = SentencePieceBase();
  for (size_t i = 0; i < 20000; ++i) {
    b.Add("piece" + std::to_string(i), TokenType::kNormal, 1);
  }
  ExpectPeakWithin(b.tokens.size() * kTokenBytes + kFixedBytes, b.Bytes());
}

}  // namespace
}  // namespace etalon::text
