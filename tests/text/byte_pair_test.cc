#include "text/byte_pair.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "vocabulary_builder.h"

namespace etalon::text {
namespace {

using Ids = std::vector<TokenId>;

TEST(ByteAlphabet, IsABijection) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<uint8_t>(byte);
    EXPECT_EQ(AlphabetToByte(ByteToAlphabet(b)), b);
  }
  EXPECT_EQ(ByteToAlphabet(' '), U'Ġ');
  EXPECT_EQ(ByteToAlphabet('\n'), U'Ċ');
  EXPECT_EQ(ByteToAlphabet(0xAD), U'Ń');
  EXPECT_EQ(AlphabetToByte(0x144), std::nullopt);
  EXPECT_EQ(AlphabetToByte(' '), std::nullopt);
  EXPECT_EQ(AlphabetToByte(0x10FFFF), std::nullopt);
}

TEST(BytePair, MergesInTheOrderOfTheList) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  const TokenId bc = AddMerge(&b, "b", "c");
  const TokenId ab = AddMerge(&b, "a", "b");
  const TokenId space_ab = AddMerge(&b, " ", "ab");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t.Plain("abc"), (Ids{'a', bc}));
  EXPECT_EQ(t.Plain("aba"), (Ids{ab, 'a'}));
  EXPECT_EQ(t.Plain("ab ab"), (Ids{ab, space_ab}));
}

TEST(BytePair, WordsThatAreTokensSkipMergingWhereThePreTokenizerSaysSo) {
  for (const bool ignores : {false, true}) {
    VocabularyBuilder b = BytePairBase(ignores ? "llama-bpe" : "dbrx");
    const TokenId abc = b.Add("abc");
    b.ids = {{"bos_token_id", 0}};
    const Built t = Build(b);
    ASSERT_TRUE(t.tokenizer) << t.error;
    EXPECT_EQ(t.Plain("abc"), ignores ? Ids{abc} : (Ids{'a', 'b', 'c'}));
    EXPECT_EQ(t->add_bos(), ignores);
  }
}

TEST(BytePair, MergesThroughStringsThatAreNoTokens) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  b.merges->push_back("a b");  // "ab" is no token
  b.merges->push_back("ab c");
  const TokenId abc = b.Add("abc");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t.Plain("abc"), Ids{abc});
  EXPECT_EQ(t.Plain("abx"), (Ids{'a', 'b', 'x'}));
}

TEST(BytePair, WithoutATokenForAByteUnkOrNothing) {
  VocabularyBuilder b;
  b.model = "gpt2";
  b.pre = "gpt-2";
  b.merges.emplace();
  const TokenId a = b.Add("a");
  EXPECT_EQ(Build(b).Plain("aza"), (Ids{a, a}));
  const TokenId unk = b.Add("<unk>", TokenType::kUnknown);
  b.ids = {{"unknown_token_id", static_cast<uint32_t>(unk)}};
  EXPECT_EQ(Build(b).Plain("aza"), (Ids{a, unk, a}));
}

TEST(BytePair, RawVocabulariesHoldUtf8AndByteTokens) {
  VocabularyBuilder b = SentencePieceBase();
  b.model = "gpt2";
  b.pre = "gemma4";
  b.ids = {{"bos_token_id", 1}};
  b.merges = {"é ▁"};
  const TokenId e = b.Add("é"), e_space = b.Add("é▁"), lines = b.Add("\n\n");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t->Encode("é é", {}), (Ids{1, e_space, e}));
  EXPECT_EQ(t.Plain("\n\né"), (Ids{lines, e}));
  EXPECT_EQ(t.Plain("\n"), (Ids{3 + '\n'}));
  EXPECT_EQ(t.Plain("\xFF"), (Ids{3 + 0xFF}));
  EXPECT_EQ(t->Piece(e_space), "é ");
  EXPECT_EQ(t->Piece(3 + 0xFF), "\xFF");
}

TEST(BytePair, PiecesLeaveTheAlphabet) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  const TokenId word = b.Add("Ġhé"), odd = b.Add("｜x");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t->Piece(word), " h\xE9");
  EXPECT_EQ(t->Piece(odd), "｜x") << "not of the alphabet: as it is";
}

Ids NaiveEncode(const VocabularyBuilder& b, const std::string& word) {
  std::map<std::string, TokenId> ids;
  for (size_t i = 0; i < b.tokens.size(); ++i) {
    ids.emplace(b.tokens[i], static_cast<TokenId>(i));
  }
  std::map<std::string, size_t> ranks;
  for (size_t i = 0; i < b.merges->size(); ++i) {
    ranks.emplace((*b.merges)[i], i);
  }
  std::vector<std::string> symbols;
  for (const char c : word) symbols.push_back(InAlphabet({&c, 1}));
  while (true) {
    size_t best = symbols.size(), best_rank = b.merges->size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find(symbols[i] + " " + symbols[i + 1]);
      if (found != ranks.end() && found->second < best_rank) {
        best = i;
        best_rank = found->second;
      }
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids out;
  for (const std::string& symbol : symbols) out.push_back(ids.at(symbol));
  return out;
}

// Words on both sides of the length where the heap takes over.
TEST(BytePair, MergesAsTheDefinition) {
  EXPECT_TRUE(rc::check("scan and heap equal the definition", [] {
    VocabularyBuilder b = BytePairBase("qwen2");
    std::vector<std::string> known = {"a", "b", "c"};
    const int n_merges = *rc::gen::inRange(0, 24);
    for (int i = 0; i < n_merges; ++i) {
      const std::string left = *rc::gen::elementOf(known);
      const std::string right = *rc::gen::elementOf(known);
      AddMerge(&b, left, right);
      known.push_back(left + right);
    }
    const Built t = Build(b);
    RC_ASSERT(t.tokenizer != nullptr);
    const size_t n = *rc::gen::inRange<size_t>(1, 80);
    const std::string word = *rc::gen::container<std::string>(
        n, rc::gen::elementOf(std::string("abc")));
    RC_ASSERT(t.Plain(word) == NaiveEncode(b, word));
  }));
}

TEST(BytePair, DecodeUndoesEncodeForAnyBytes) {
  for (const std::string_view pre : PreTokenizerNames()) {
    if (FindPreTokenizer(pre)->raw_utf8) continue;
    VocabularyBuilder b = BytePairBase(std::string(pre));
    AddMerge(&b, " ", "a");
    AddMerge(&b, "1", "2");
    AddMerge(&b, "\n", "\n");
    AddMerge(&b, "\xC3", "\xA9");
    const Built t = Build(b);
    ASSERT_TRUE(t.tokenizer) << pre << ": " << t.error;
    for (const std::string text :
         {"", "a", " a  a\n\n 12123412 é 日本\t!!'s", "\xFF\xC3 a\xE2\x82",
          "\xED\xA0\x80\xF4\x90\x80\x80\xC0\x80"}) {
      EXPECT_EQ(t->Decode(t.Plain(text)), text) << pre;
    }
  }
  VocabularyBuilder b = BytePairBase("llama-bpe");
  AddMerge(&b, " ", "a");
  AddMerge(&b, "\xC3", "\xA9");
  const Built t = Build(b);
  EXPECT_TRUE(rc::check("round trip", [&](const std::vector<uint8_t>& bytes) {
    const std::string text(bytes.begin(), bytes.end());
    RC_ASSERT(t->Decode(t.Plain(text)) == text);
  }));
}

}  // namespace
}  // namespace etalon::text
