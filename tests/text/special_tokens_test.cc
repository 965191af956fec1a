#include "text/special_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vocabulary_builder.h"

namespace etalon::text {
namespace {

using Ids = std::vector<TokenId>;

constexpr EncodeOptions kParse{.add_special = false, .parse_special = true};
constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

TEST(SpecialTokens, ControlTokensOnlyWhenAskedUserDefinedAlways) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  const TokenId control = b.Add("<c>", TokenType::kControl);
  const TokenId user = b.Add("<u>", TokenType::kUserDefined);
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t->Encode("a<c><u>b", kParse), (Ids{'a', control, user, 'b'}));
  EXPECT_EQ(t->Encode("a<c><u>b", kPlain),
            (Ids{'a', '<', 'c', '>', user, 'b'}));
}

TEST(SpecialTokens, TheLongestWinsThenTheLeftmost) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  const TokenId two = b.Add("  ", TokenType::kUserDefined);
  const TokenId four = b.Add("    ", TokenType::kUserDefined);
  const TokenId ab = b.Add("<a><b>", TokenType::kControl);
  const TokenId a = b.Add("<a>", TokenType::kControl);
  b.Add("><", TokenType::kControl);
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t->Encode("x" + std::string(7, ' ') + "x", kParse),
            (Ids{'x', four, two, ' ', 'x'}));
  EXPECT_EQ(t->Encode("<a><a><b>", kParse), (Ids{a, ab}));
  EXPECT_EQ(t->Encode(std::string(9, ' '), kParse), (Ids{four, four, ' '}));
  EXPECT_EQ(t->Encode("", kParse), Ids{});
}

TEST(SpecialTokens, StripRulesOfKnownModels) {
  VocabularyBuilder b = BytePairBase("jina-v2-code");
  const TokenId mask = b.Add("<mask>", TokenType::kControl);
  const Built left = Build(b);
  ASSERT_TRUE(left.tokenizer) << left.error;
  EXPECT_EQ(left->Encode("a \t<mask> b", kParse), (Ids{'a', mask, ' ', 'b'}));
  EXPECT_EQ(left->Encode(" <mask>", kParse), (Ids{mask}));

  VocabularyBuilder p = SentencePieceBase();
  p.flags = {{"add_space_prefix", false}};
  p.strings = {{"general.name", "Phi-3 mini"}};
  const TokenId end = p.Add("<|end|>", TokenType::kControl);
  const TokenId a = p.Add("a");
  const Built right = Build(p);
  ASSERT_TRUE(right.tokenizer) << right.error;
  EXPECT_EQ(right->Encode("a<|end|> \n a", kParse), (Ids{a, end, a}));
  EXPECT_EQ(right->Encode("</s>\na", kParse), (Ids{2, a}));
  EXPECT_EQ(right->Encode("<s>\na", kParse), (Ids{1, 3 + '\n', a}))
      << "<s> is excepted";
}

TEST(SpecialTokens, ManyOverLongTextStayFast) {
  VocabularyBuilder b = BytePairBase("gpt-2");
  for (size_t n = 2; n < 32; ++n) {
    b.Add(std::string(n, ' '), TokenType::kUserDefined);
  }
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  const std::string spaces(1 << 18, ' ');
  EXPECT_EQ(t->Encode(spaces, kPlain).size(), (spaces.size() + 30) / 31);
}

TEST(EndOfGeneration, IdsAndNames) {
  VocabularyBuilder b = BytePairBase("qwen2");
  const TokenId im_end = b.Add("<|im_end|>");  // not marked as control
  const TokenId custom = b.Add("<stop>", TokenType::kControl);
  const TokenId eot = b.Add("<eot>", TokenType::kControl);
  b.ids = {{"eos_token_id", static_cast<uint32_t>(custom)},
           {"eot_token_id", static_cast<uint32_t>(eot)}};
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_TRUE(t->IsEndOfGeneration(im_end));
  EXPECT_TRUE(t->IsEndOfGeneration(custom));
  EXPECT_TRUE(t->IsEndOfGeneration(eot));
  EXPECT_FALSE(t->IsEndOfGeneration('a'));
  EXPECT_EQ(t->type(im_end), TokenType::kControl) << "corrected by its name";
  EXPECT_EQ(t->Piece(im_end), "");
  EXPECT_EQ(t->Encode("<|im_end|>", kPlain).size(), 10u);
}

TEST(EndOfGeneration, InCallFormatsEndIsNotTheEnd) {
  VocabularyBuilder b = BytePairBase("gpt-4o");
  const TokenId end = b.Add("<|end|>", TokenType::kControl);
  EXPECT_TRUE(Build(b)->IsEndOfGeneration(end));
  const TokenId ret = b.Add("<|return|>", TokenType::kControl);
  const TokenId call = b.Add("<|call|>", TokenType::kControl);
  const TokenId channel = b.Add("<|channel|>", TokenType::kControl);
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_FALSE(t->IsEndOfGeneration(end));
  EXPECT_TRUE(t->IsEndOfGeneration(ret));
  EXPECT_TRUE(t->IsEndOfGeneration(call));
  EXPECT_EQ(t->Piece(channel), "<|channel|>");
}

}  // namespace
}  // namespace etalon::text
