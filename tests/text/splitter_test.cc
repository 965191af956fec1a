#include "text/splitter.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizers.h"

namespace etalon::text {
namespace {

std::vector<std::string_view> Split(std::string_view pre,
                                    std::string_view text) {
  const PreTokenizer* found = FindPreTokenizer(pre);
  EXPECT_NE(found, nullptr) << pre;
  const auto splitter = Splitter::Create(*found);
  EXPECT_TRUE(splitter) << splitter.error().message;
  std::vector<std::string_view> words;
  splitter->Split(text, &words);
  return words;
}

std::string Joined(const std::vector<std::string_view>& words,
                   std::string_view separator) {
  std::string out;
  for (const std::string_view word : words) {
    if (!out.empty()) out += separator;
    out += word;
  }
  return out;
}

struct Golden {
  std::string_view pre;
  std::string_view words;  // separated by |
};

// One member of each family; checked against an independent implementation of
// the published expressions.
constexpr Golden kGolden[] = {
    {"default",
     "I|'|LL|'|ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n | "
     "日本語カナ|~~| |;;|é|¹|!/|\r\n\t| 한국어| don|'|t|   "},
    {"gpt-2",
     "I|'|LL|'ve| 12345| x|²٣٤| naïveCamel| | HTTPServer|\n\n | 日本語カナ|~~| "
     ";;|é|¹|!/|\r\n\t| 한국어| don|'t|   "},
    {"starcoder",
     "I|'|LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n | "
     "日本語カナ|~~| ;;|é|¹|!/|\r\n\t| 한국어| don|'t|   "},
    {"falcon",
     "I|'|LL|'|ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n | "
     "日本語カナ|~~| |;;|é|¹|!/|\r\n\t| 한국어| don|'|t|   "},
    {"llama-bpe",
     "I|'LL|'ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"qwen2",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"qwen35",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"minicpm5",
     "I|'LL|'ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"jais-2",
     "I|'LL|'ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|  | "},
    {"deepseek-llm",
     "I|'|LL|'|ve| |12345| x|²٣٤| na|ï|veCamel| | HTTPServer|\n|\n|  "
     "|日本語カナ|~~| ;;|é|¹|!/|\r|\n|\t |한국어| don|'|t|   "},
    {"deepseek-coder",
     "I|'|LL|'|ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n|\n| | "
     "|日本語カナ|~~| ;;|é|¹|!/|\r|\n|\t| |한국어| don|'|t|   "},
    {"deepseek-v3",
     "I|'LL|'ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n|  "
     "|日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"youtu",
     "I'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n|  "
     "|日本語カナ|~~| ;;|é|¹|!/\r\n|\t |한국어| don't|   "},
    {"bloom",
     "I'LL've| 12345| x²٣٤| naïveCamel| | HTTPServer|\n\n | 日本語カナ~~| "
     ";;é¹|!|/|\r\n\t| 한국어| don't|   "},
    {"viking",
     "I'LL've| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n | "
     "日本語カナ~~| ;;é|¹|!|/|\r\n\t| 한국어| don't|   "},
    {"tekken",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïve|Camel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"gpt-4o",
     "I'LL|'ve| |123|45| x|²٣٤| naïve|Camel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don't|   "},
    {"granite-embed-multi-97m",
     "I'LL|'ve| |123|45| x|²٣٤| naïve|Camel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don't|   "},
    {"tiny_aya",
     "I'LL|'ve| |12|345| x|²٣٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don't|   "},
    {"chameleon",
     "I|'|LL|'|ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel|  |HTTPServer|\n|\n|  "
     "|日本語カナ|~|~| |;|;|é|¹|!|/|\r|\n|\t| 한국어| don|'|t|  | "},
    {"kimi-k2",
     "I'LL|'ve| |123|45| x|²٣٤| naïveCamel| | HTTPServer|\n\n| | "
     "|日本語|カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don't|   "},
    {"superbpe",
     "I'LL've |12|345| x|²٣٤| naïveCamel  HTTPServer\n\n  日本語カナ~~ "
     ";;é|¹|!/\r\n\t 한국어 don't   "},
    {"bailingmoe",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r\n|\t| 한국어| don|'t|   "},
    {"seed-coder",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/|\r\n|\t| 한국어| don|'t|   "},
    {"afmoe",
     "I|'LL|'ve| |12|345| x|²٣٤| naïveCamel| | HTTPServer|\n\n|  "
     "|日本語カナ|~~| ;;|é|¹|!/\r\n|\t |한국어| don|'t|   "},
    {"gemma4",
     "I'LL've 12345 x²٣٤ naïveCamel  HTTPServer|\n\n|  日本語カナ~~ "
     ";;é¹!/\r|\n|\t 한국어 don't   "},
    {"laguna",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r|\n|\t| 한국어| don|'t|   "},
    {"exaone-moe",
     "I|'LL|'ve| |1|2|3|4|5| x|²|٣|٤| naïveCamel| | HTTPServer|\n\n| | "
     "日本語カナ|~~| ;;|é|¹|!/\r|\n|\t| 한국어 don|'t|   "},
    {"whitespace",
     "I'LL've| |12345| |x²٣٤| |naïveCamel|  |HTTPServer|\n\n  |日本語カナ~~| "
     "|;;é¹!/|\r\n\t |한국어| |don't|   "},
};

TEST(Splitter, CutsAsTheModelsTokenizersDo) {
  for (const Golden& golden : kGolden) {
    std::string text(golden.words);
    std::erase(text, '|');
    EXPECT_EQ(Joined(Split(golden.pre, text), "|"), golden.words) << golden.pre;
  }
}

TEST(Splitter, SomeFamiliesNeedSpecialTexts) {
  const auto split = [](std::string_view pre, std::string_view text) {
    return Joined(Split(pre, text), "|");
  };
  // Digits are grouped from the right, glued to what is before them.
  EXPECT_EQ(split("superbpe", "a1234567b"), "a|1|234|567|b");
  EXPECT_EQ(split("afmoe", "  1234"), " | |1|234");
  EXPECT_EQ(split("jais-2", "a     b"), "a|    | b");
  EXPECT_EQ(split("chameleon", "xIMGIMGABZ12"), "x|IMGIMGABZ|1|2");
  EXPECT_EQ(split("exaone-moe", "ab cd  ef"), "ab cd| | ef");
  EXPECT_EQ(split("kimi-k2", "ab漢字cd's"), "ab|漢字|cd's");
  EXPECT_EQ(split("deepseek-v3", "a~~ b"), "a|~~| b")
      << "~ has no category there";
  EXPECT_EQ(split("gpt-2", "a\u180E \u3000b"), "a|\u180E| |\u3000|b");
}

TEST(Splitter, EveryNameHasItsExpressions) {
  std::set<std::string_view> names;
  for (const std::string_view name : PreTokenizerNames()) {
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
    EXPECT_FALSE(FindPreTokenizer(name)->stages.empty());
    Split(name, "x");
  }
  EXPECT_GE(names.size(), 80u);
  EXPECT_EQ(FindPreTokenizer("bogus"), nullptr);
  EXPECT_EQ(FindPreTokenizer(""), nullptr);
}

TEST(Splitter, WordsAreNotEmptyAndMakeUpTheText) {
  std::vector<Splitter> splitters;
  for (const std::string_view name : PreTokenizerNames()) {
    splitters.push_back(*Splitter::Create(*FindPreTokenizer(name)));
  }
  EXPECT_TRUE(rc::check("concatenation", [&] {
    const auto parts = *rc::gen::container<
        std::vector<std::string>>(rc::gen::elementOf(std::vector<std::string>{
        "a",   "Z", "é", "日",     "🙂", "\u0301",   "1",
        "234", "٣", " ", "\u3000", "\n",   "\r",       "'s",
        "'LL", "~", "!", "/",      "\xFF", "\xE6\x97", std::string(1, '\0')}));
    std::string text;
    for (const std::string& part : parts) text += part;
    for (const Splitter& splitter : splitters) {
      std::vector<std::string_view> words;
      splitter.Split(text, &words);
      RC_ASSERT(Joined(words, "") == text);
      for (const std::string_view word : words) RC_ASSERT(!word.empty());
    }
  }));
}

// Quadratic matching would take minutes here.
TEST(Splitter, LongRunsTakeLinearTime) {
  constexpr size_t kN = size_t{1} << 16;
  std::string upper_and_spaces(kN, 'A');
  upper_and_spaces += std::string(kN, ' ') + "日" + std::string(kN, '\n');
  for (const std::string& text :
       {std::string(kN, ' ') + "x", std::string(kN, '7'), std::string(kN, '\n'),
        std::string(kN, '!'), upper_and_spaces}) {
    for (const std::string_view name : PreTokenizerNames()) {
      EXPECT_EQ(Joined(Split(name, text), "").size(), text.size()) << name;
    }
  }
}

}  // namespace
}  // namespace etalon::text
