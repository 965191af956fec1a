#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "vocabulary_builder.h"

namespace etalon::text {
namespace {

// Refused, with one line that has these words.
void ExpectRefused(const VocabularyBuilder& b, std::string_view words) {
  const Built built = Build(b);
  EXPECT_EQ(built.tokenizer, nullptr) << words;
  EXPECT_NE(built.error.find(words), std::string::npos)
      << "wanted: " << words << "\n   got: " << built.error;
  EXPECT_EQ(built.error.find('\n'), std::string::npos);
}

VocabularyBuilder BytePair() { return BytePairBase("gpt-2"); }

TEST(Vocabulary, ModelIsKnown) {
  VocabularyBuilder b = SentencePieceBase();
  b.model = "bogus";
  ExpectRefused(b,
                "tokenizer.ggml.model \"bogus\": unknown, need llama or gpt2");
  for (const char* model : {"bert", "t5", "rwkv", "plamo2", "none"}) {
    b.model = model;
    ExpectRefused(b, "\": not supported, need llama or gpt2");
  }
}

TEST(Vocabulary, TokensAreThereAndShort) {
  VocabularyBuilder b;
  ExpectRefused(b, "tokenizer.ggml.tokens empty");
  b = SentencePieceBase();
  b.Add(std::string(kMaxTokenBytes, 'x'));
  EXPECT_TRUE(Build(b).tokenizer);
  b.Add(std::string(kMaxTokenBytes + 1, 'x'));
  ExpectRefused(b, "tokenizer.ggml.tokens[260] too long: 65536 bytes > 65535");
}

TEST(Vocabulary, ScoresMatchTheTokens) {
  VocabularyBuilder b = SentencePieceBase();
  b.scores.pop_back();
  ExpectRefused(b, "tokenizer.ggml.scores count 258, need 259");
  b = SentencePieceBase();
  b.scores[5] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(b, "tokenizer.ggml.scores[5] NaN");
  b = SentencePieceBase();
  b.scores[5] = -std::numeric_limits<float>::infinity();
  EXPECT_TRUE(Build(b).tokenizer);
  b.scores.clear();
  ASSERT_TRUE(Build(b).tokenizer);
  EXPECT_EQ(Build(b)->warnings().size(), 1u);
}

TEST(Vocabulary, TypesMatchTheTokens) {
  VocabularyBuilder b = SentencePieceBase();
  b.types.push_back(1);
  ExpectRefused(b, "tokenizer.ggml.token_type count 260, need 259");
  b = SentencePieceBase();
  b.types[0] = 99;
  ExpectRefused(b, "tokenizer.ggml.token_type[0] 99, need 0..6");
  b.types[0] = -1;
  ExpectRefused(b, "tokenizer.ggml.token_type[0] -1, need 0..6");
  b.types.clear();
  EXPECT_TRUE(Build(b).tokenizer) << "all normal";
}

TEST(Vocabulary, ByteTokensNameAByte) {
  for (const char* bad :
       {"<0x-1>", "<0xZZ>", "<0x1>", "<0x012>", "0x01>", ""}) {
    VocabularyBuilder b = SentencePieceBase();
    b.tokens[3] = bad;
    ExpectRefused(b, "tokenizer.ggml.tokens[3]");
    ExpectRefused(b, "bad byte token");
  }
  EXPECT_EQ(ParseByteToken("<0xeF>"), 0xEF);
}

TEST(Vocabulary, MergesHaveTwoSides) {
  VocabularyBuilder b = BytePair();
  b.merges.reset();
  ExpectRefused(b, "tokenizer.ggml.merges missing");
  b.pre = "kimi-k2";
  EXPECT_TRUE(Build(b).tokenizer) << "complete without merges";
  b.pre = "gpt-2";
  b.merges = {"a b", "ab"};
  ExpectRefused(b, "tokenizer.ggml.merges[1] \"ab\": no space");
  for (const char* bad : {" a", "a ", " "}) {
    b.merges = {bad};
    ExpectRefused(b, "tokenizer.ggml.merges[0]");
    ExpectRefused(b, "empty side");
  }
}

TEST(Vocabulary, PreTokenizerIsKnownOrDefault) {
  VocabularyBuilder b = BytePair();
  b.pre = "bogus";
  ExpectRefused(b, "tokenizer.ggml.pre \"bogus\": unknown");
  b.pre.reset();
  const Built built = Build(b);
  ASSERT_TRUE(built.tokenizer);
  ASSERT_EQ(built->warnings().size(), 1u);
  EXPECT_NE(built->warnings()[0].find("tokenizer.ggml.pre missing"),
            std::string::npos);
}

TEST(Vocabulary, SpecialIdsAreTokens) {
  for (const std::string key : {"bos_token_id", "eos_token_id", "eot_token_id",
                                "eom_token_id", "unknown_token_id"}) {
    VocabularyBuilder b = SentencePieceBase();
    b.ids = {{key, 259}};
    ExpectRefused(b, "tokenizer.ggml." + key + " 259, need < 259");
    b.ids = {{key, 0xFFFFFFFF}};
    ExpectRefused(b, key);
  }
  VocabularyBuilder b = SentencePieceBase();
  b.ids = {{"padding_token_id", 0xFFFFFFFF}};
  const Built built = Build(b);
  ASSERT_TRUE(built.tokenizer) << "converters write this for none";
  EXPECT_EQ(built->warnings().size(), 1u);
}

TEST(Vocabulary, DefaultsOfTheModels) {
  const Built spm = Build(SentencePieceBase());
  ASSERT_TRUE(spm.tokenizer);
  EXPECT_EQ(spm->bos(), 1);
  EXPECT_EQ(spm->eos(), 2);
  EXPECT_TRUE(spm->add_bos());
  EXPECT_FALSE(spm->add_eos());
  EXPECT_TRUE(spm->IsEndOfGeneration(2));
  const Built bpe = Build(BytePair());
  ASSERT_TRUE(bpe.tokenizer);
  EXPECT_EQ(bpe->bos(), std::nullopt);
  EXPECT_FALSE(bpe->add_bos());
  VocabularyBuilder b = BytePair();
  b.flags = {{"add_bos_token", true}};
  const Built no_bos = Build(b);
  ASSERT_TRUE(no_bos.tokenizer);
  EXPECT_FALSE(no_bos->add_bos()) << "there is none";
  EXPECT_EQ(no_bos->warnings().size(), 1u);
}

TEST(Vocabulary, DuplicatesAndEmptyTokensWarn) {
  VocabularyBuilder b = BytePair();
  b.Add("a");
  b.Add("");
  b.Add("");
  const Built built = Build(b);
  ASSERT_TRUE(built.tokenizer) << built.error;
  ASSERT_EQ(built->warnings().size(), 2u);
  EXPECT_EQ(built->warnings()[0],
            "tokenizer.ggml.tokens[256] \"a\" duplicate of tokens[97]: the "
            "first is used");
  EXPECT_EQ(built->warnings()[1],
            "tokenizer.ggml.tokens[257] empty, and 1 more");
  EXPECT_EQ(built.Plain("a"), std::vector<TokenId>{'a'});
}

TEST(Vocabulary, ChatTemplatesAreUtf8) {
  VocabularyBuilder b = SentencePieceBase();
  b.strings = {{"tokenizer.chat_template", "{{ messages }}"}};
  EXPECT_TRUE(Build(b).tokenizer);
  b.strings = {{"tokenizer.chat_template", "ab\xFF"}};
  ExpectRefused(b, "tokenizer.chat_template not UTF-8 at byte 2");
  b.strings = {{"tokenizer.chat_template.tool_use", "\xFF"}};
  ExpectRefused(b, "tokenizer.chat_template.tool_use not UTF-8");
}

TEST(Vocabulary, WrongTypesAreNamed) {
  const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "a"};
  const auto build = [&](auto&& add) {
    io::GgufWriter writer;
    EXPECT_TRUE(writer.AddString("tokenizer.ggml.model", "llama"));
    EXPECT_TRUE(writer.AddStrings("tokenizer.ggml.tokens", tokens));
    add(&writer);
    return FromBytes(*writer.ToBytes()).error;
  };
  using Writer = io::GgufWriter*;
  const std::vector<uint8_t> bytes(4);
  const std::vector<double> doubles(4);
  EXPECT_EQ(build([&](Writer) {}), "");
  EXPECT_EQ(build([&](Writer w) {
              (void)w->AddNumbers<uint8_t>("tokenizer.ggml.token_type", bytes);
            }),
            "tokenizer.ggml.token_type element type u8, need i32");
  EXPECT_EQ(build([&](Writer w) {
              (void)w->AddNumbers<double>("tokenizer.ggml.scores", doubles);
            }),
            "tokenizer.ggml.scores element type f64, need f32");
  EXPECT_NE(build([&](Writer w) {
              (void)w->AddString("tokenizer.ggml.bos_token_id", "1");
            }).find("tokenizer.ggml.bos_token_id"),
            std::string::npos);
  EXPECT_NE(build([&](Writer w) {
              (void)w->AddNumber<uint32_t>("tokenizer.ggml.add_bos_token", 1);
            }).find("tokenizer.ggml.add_bos_token"),
            std::string::npos);
  EXPECT_NE(build([&](Writer w) {
              (void)w->AddNumber<uint32_t>("tokenizer.chat_template", 1);
            }).find("tokenizer.chat_template"),
            std::string::npos);

  io::GgufWriter numbers;
  EXPECT_TRUE(numbers.AddString("tokenizer.ggml.model", "llama"));
  EXPECT_TRUE(numbers.AddNumbers<uint32_t>("tokenizer.ggml.tokens",
                                           std::vector<uint32_t>(4)));
  EXPECT_EQ(FromBytes(*numbers.ToBytes()).error,
            "tokenizer.ggml.tokens element type u32, need string");
  io::GgufWriter nothing;
  EXPECT_TRUE(nothing.AddString("general.architecture", "llama"));
  EXPECT_EQ(FromBytes(*nothing.ToBytes()).error,
            "tokenizer.ggml.model missing");
  EXPECT_TRUE(nothing.AddString("tokenizer.ggml.model", "llama"));
  EXPECT_EQ(FromBytes(*nothing.ToBytes()).error,
            "tokenizer.ggml.tokens missing");
}

}  // namespace
}  // namespace etalon::text
