#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include "io/untrusted_text.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace etalon::text {
namespace {

TEST(StreamDecoder, HoldsBackUnfinishedCharacters) {
  StreamDecoder decoder;
  EXPECT_EQ(decoder.Push("a\xF0"), "a");
  EXPECT_EQ(decoder.Push("\x9F\x99"), "");
  EXPECT_EQ(decoder.Push("\x82!"), "🙂!");
  EXPECT_EQ(decoder.Push("\xE6\x97"), "");
  EXPECT_EQ(decoder.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(StreamDecoder, DoesNotWaitForWhatCannotBecomeACharacter) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(StreamDecoder().Push("\xFF"), bad);
  EXPECT_EQ(StreamDecoder().Push("\x80"), bad);
  EXPECT_EQ(StreamDecoder().Push("\xC0"), bad);
  EXPECT_EQ(StreamDecoder().Push("\xE0\x80"), bad + bad);  // overlong
  EXPECT_EQ(StreamDecoder().Push("\xED\xA0"), bad + bad);  // surrogate
  EXPECT_EQ(StreamDecoder().Push("\xF4\x90"), bad + bad);  // > U+10FFFF
  EXPECT_EQ(StreamDecoder().Push("\xE6\x97x"), bad + bad + "x");
  EXPECT_EQ(StreamDecoder().Push("\xED\x9F"), "");
  EXPECT_EQ(StreamDecoder().Push("\xF4\x8F"), "");
}

TEST(StreamDecoder, CutsDoNotMatterAndOutputIsUtf8) {
  EXPECT_TRUE(rc::check("any cuts", [] {
    const auto parts = *rc::gen::container<std::vector<std::string>>(
        rc::gen::elementOf(std::vector<std::string>{
            "a", "é", "日", "🙂", "\xF0\x9F", "\x80", "\xE6", "\xFF"}));
    std::string text;
    for (const std::string& part : parts) text += part;
    StreamDecoder whole;
    std::string expected = whole.Push(text);
    expected += whole.Finish();
    StreamDecoder cut;
    std::string got;
    for (size_t at = 0; at < text.size();) {
      const size_t n = *rc::gen::inRange<size_t>(1, 5);
      const std::string shown = cut.Push(std::string_view(text).substr(at, n));
      RC_ASSERT(!io::FirstBadUtf8(shown));
      got += shown;
      at += n;
    }
    got += cut.Finish();
    RC_ASSERT(got == expected);
    if (!io::FirstBadUtf8(text)) RC_ASSERT(got == text);
  }));
}

TEST(Unicode, DecodeAgreesWithTheEncoder) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c == 0xD800) c = 0xE000;
    std::string text;
    AppendUtf8(c, &text);
    const DecodedChar decoded = DecodeUtf8(text);
    ASSERT_TRUE(decoded.valid && decoded.code == c &&
                decoded.n_bytes == text.size())
        << static_cast<uint32_t>(c);
    text.pop_back();
    ASSERT_TRUE(text.empty() || !DecodeUtf8(text).valid);
  }
}

TEST(Unicode, ClassesOfKnownCharacters) {
  EXPECT_EQ(ClassOf(U'a'), CharClass::kLetter);
  EXPECT_EQ(ClassOf(U'日'), CharClass::kLetter);
  EXPECT_EQ(ClassOf(U'٣'), CharClass::kNumber);
  EXPECT_EQ(ClassOf(U'½'), CharClass::kNumber);
  EXPECT_EQ(ClassOf(U'。'), CharClass::kPunctuation);
  EXPECT_EQ(ClassOf(0x0301), CharClass::kMark);
  EXPECT_EQ(ClassOf(U'€'), CharClass::kSymbol);
  EXPECT_EQ(ClassOf(0x3000), CharClass::kSpace);
  EXPECT_EQ(ClassOf(0x85), CharClass::kSpace);
  EXPECT_EQ(ClassOf(0x180E), CharClass::kOther);  // not a space since 6.3
  EXPECT_EQ(ClassOf(0x200B), CharClass::kOther);
  EXPECT_EQ(ClassOf(0x31350), CharClass::kLetter);  // new in 15.0
  EXPECT_EQ(ClassOf(0x2FFC), CharClass::kSymbol);   // new in 15.1
  EXPECT_EQ(ClassOf(0x10FFFF), CharClass::kOther);
  EXPECT_EQ(ClassOf(0x110000), CharClass::kOther);
}

}  // namespace
}  // namespace etalon::text
