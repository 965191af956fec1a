#include "text/sentence_piece.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <string>
#include <vector>

#include "text/unicode.h"
#include "vocabulary_builder.h"

namespace etalon::text {
namespace {

using Ids = std::vector<TokenId>;

TEST(SentencePiece, BestScoreMergesFirstThenTheLeftmost) {
  VocabularyBuilder b = SentencePieceBase();
  b.flags = {{"add_space_prefix", false}};
  const TokenId a = b.Add("a"), c = b.Add("c");
  b.Add("b");
  const TokenId ab = b.Add("ab", TokenType::kNormal, -2);
  const TokenId bc = b.Add("bc", TokenType::kNormal, -1);
  const TokenId aa = b.Add("aa", TokenType::kNormal, -5);
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t.Plain("abc"), (Ids{a, bc}));
  EXPECT_EQ(t.Plain("abac"), (Ids{ab, a, c}));
  EXPECT_EQ(t.Plain("aaa"), (Ids{aa, a}));
}

TEST(SentencePiece, SpacePrefixGoesBeforeTextAndAfterSpecialTokens) {
  VocabularyBuilder b = SentencePieceBase();
  const TokenId mark = b.Add(std::string(kSpaceMark)), x = b.Add("x");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t->Encode("x", {}), (Ids{1, mark, x}));
  EXPECT_EQ(t->Encode("x</s>x x", {}), (Ids{1, mark, x, 2, mark, x, mark, x}));
  EXPECT_EQ(t->Encode("", {}), (Ids{1}));
  b.flags = {{"add_space_prefix", false},
             {"add_bos_token", false},
             {"add_eos_token", true}};
  EXPECT_EQ(Build(b)->Encode("x", {}), (Ids{x, 2}));
  EXPECT_EQ(Build(b)->Encode("", {}), (Ids{2}));
}

TEST(SentencePiece, UnknownCharactersFallBackToBytes) {
  VocabularyBuilder b = SentencePieceBase();
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  const TokenId first = 3;  // <0x00>
  EXPECT_EQ(t.Plain("\n"),
            (Ids{first + 0xE2, first + 0x96, first + 0x81, first + 0x0A}));
  b.Add(std::string(kSpaceMark));
  const Built with_mark = Build(b);
  EXPECT_EQ(with_mark->Decode(with_mark.Plain("é ü")), "é ü");
}

TEST(SentencePiece, WithoutByteTokensUnknownCharactersBecomeUnk) {
  VocabularyBuilder b;
  b.Add("<unk>", TokenType::kUnknown);
  b.Add("<s>", TokenType::kControl);
  b.Add("</s>", TokenType::kControl);
  const TokenId mark = b.Add(std::string(kSpaceMark)), x = b.Add("x");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t.Plain("x\nx"), (Ids{mark, x, 0, x}));
  EXPECT_EQ(t.Plain("日x"), (Ids{mark, 0, x}));
  // Each invalid byte is one unknown; its neighbours stay whole.
  EXPECT_EQ(t.Plain("\xE6\x97x\xFFx"), (Ids{mark, 0, 0, x, 0, x}));
}

TEST(SentencePiece, InvalidBytesKeepTheirNeighbours) {
  VocabularyBuilder b = SentencePieceBase();
  const TokenId mark_a = b.Add(std::string(kSpaceMark) + "a");
  b.Add(std::string(kSpaceMark));
  b.Add("a");
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t.Plain("a\xE9 a"), (Ids{mark_a, 3 + 0xE9, mark_a}));
}

TEST(SentencePiece, PiecesShowWhatTokensStandFor) {
  VocabularyBuilder b = SentencePieceBase();
  const TokenId word = b.Add(std::string(kSpaceMark) + "hi");
  const TokenId user = b.Add("<tool>", TokenType::kUserDefined);
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_EQ(t->Piece(word), " hi");
  EXPECT_EQ(t->Piece(user), "<tool>");
  EXPECT_EQ(t->Piece(3 + 0xC3), "\xC3");
  EXPECT_EQ(t->Piece(2), "");
  EXPECT_EQ(t->Piece(2, /*special=*/true), "</s>");
  EXPECT_EQ(t->Piece(0), "");
  EXPECT_EQ(t->Decode({1, word, word}), "hi hi");
}

// The definition, step by step: of all neighbours that form a token merge the
// best scored, of equals the leftmost.
Ids NaiveEncode(const VocabularyBuilder& b, const std::string& escaped) {
  std::map<std::string, TokenId> ids;
  for (size_t i = 0; i < b.tokens.size(); ++i) {
    ids.emplace(b.tokens[i], static_cast<TokenId>(i));
  }
  std::vector<std::string> symbols;
  for (size_t at = 0; at < escaped.size();) {
    const size_t n = DecodeUtf8(std::string_view(escaped).substr(at)).n_bytes;
    symbols.push_back(escaped.substr(at, n));
    at += n;
  }
  while (true) {
    size_t best = symbols.size();
    float best_score = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ids.find(symbols[i] + symbols[i + 1]);
      if (found == ids.end()) continue;
      const float score = b.scores[static_cast<size_t>(found->second)];
      if (best == symbols.size() || score > best_score) {
        best = i;
        best_score = score;
      }
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids out;
  for (const std::string& symbol : symbols) {
    if (const auto found = ids.find(symbol); found != ids.end()) {
      out.push_back(found->second);
    } else {
      for (const char c : symbol) out.push_back(3 + static_cast<uint8_t>(c));
    }
  }
  return out;
}

// Some vocabularies have tokens over word boundaries, others let words be
// tokenized alone.
TEST(SentencePiece, EncodesAsTheDefinition) {
  EXPECT_TRUE(rc::check("heap and words equal the definition", [] {
    const auto letters = rc::gen::elementOf(
        std::vector<std::string>{"a", "b", "é", std::string(kSpaceMark)});
    const auto word = rc::gen::map(
        rc::gen::resize(
            5, rc::gen::nonEmpty(
                   rc::gen::container<std::vector<std::string>>(letters))),
        [](const std::vector<std::string>& parts) {
          std::string joined;
          for (const std::string& part : parts) joined += part;
          return joined;
        });
    VocabularyBuilder b = SentencePieceBase();
    b.flags = {{"add_space_prefix", false}};
    for (const std::string& text : *rc::gen::resize(
             20, rc::gen::container<std::vector<std::string>>(word))) {
      bool is_new = true;
      for (const std::string& token : b.tokens) is_new &= token != text;
      if (is_new) {
        b.Add(text, TokenType::kNormal,
              static_cast<float>(*rc::gen::inRange(-4, 1)));
      }
    }
    const Built t = Build(b);
    RC_ASSERT(t.tokenizer != nullptr);
    const auto parts =
        *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(
            std::vector<std::string>{"a", "b", "é", " ", "\xC3", "ab"}));
    std::string text;
    for (const std::string& part : parts) text += part;
    RC_ASSERT(t.Plain(text) == NaiveEncode(b, EscapeSpaces(text)));
  }));
}

TEST(SentencePiece, DecodeUndoesEncodeForAnyBytes) {
  VocabularyBuilder b = SentencePieceBase();
  b.Add(std::string(kSpaceMark));
  b.Add(std::string(kSpaceMark) + "a", TokenType::kNormal, -1);
  b.Add("a");
  b.Add("aa", TokenType::kNormal, -2);
  const Built t = Build(b);
  ASSERT_TRUE(t.tokenizer) << t.error;
  EXPECT_TRUE(rc::check("round trip", [&](const std::vector<uint8_t>& bytes) {
    const std::string text(bytes.begin(), bytes.end());
    // U+2581 itself reads as a space: the vocabulary's own limit.
    RC_PRE(text.find(kSpaceMark) == std::string::npos);
    RC_ASSERT(t->Decode(t.Plain(text)) == text);
  }));
}

}  // namespace
}  // namespace etalon::text
