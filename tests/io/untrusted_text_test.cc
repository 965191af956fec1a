#include "io/untrusted_text.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace etalon::io {
namespace {

// Encodes any value up to 0x1FFFFF in the given number of bytes, also where
// Unicode forbids it.
std::string Encode(uint32_t cp, int n_bytes) {
  if (n_bytes == 1) return std::string(1, static_cast<char>(cp));
  std::string s;
  for (int i = n_bytes - 1; i > 0; --i) {
    s.insert(s.begin(), static_cast<char>(0x80 | (cp & 0x3F)));
    cp >>= 6;
  }
  const uint32_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  s.insert(s.begin(), static_cast<char>(lead[n_bytes] | cp));
  return s;
}

int ShortestForm(uint32_t cp) {
  return cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
}

// Every value that 4 bytes can hold, in every length that can hold it.
TEST(Utf8, ExactlyTheShortestFormsOfScalarValues) {
  const uint32_t limit[] = {0, 0x80, 0x800, 0x10000, 0x200000};
  for (int n = 1; n <= 4; ++n) {
    for (uint32_t cp = 0; cp < limit[n]; ++cp) {
      const bool scalar = cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF);
      const bool good = scalar && n == ShortestForm(cp);
      const std::string s = Encode(cp, n);
      ASSERT_EQ(!FirstBadUtf8(s).has_value(), good) << cp << " in " << n;
    }
  }
}

TEST(Utf8, CutSequencesAndPositions) {
  const std::string euro = "\xE2\x82\xAC";
  for (size_t before = 0; before < 20; ++before) {
    const std::string ascii(before, 'a');
    EXPECT_EQ(FirstBadUtf8(ascii + euro + ascii), std::nullopt);
    EXPECT_EQ(FirstBadUtf8(ascii + euro.substr(0, 2)), before);
    EXPECT_EQ(FirstBadUtf8(ascii + euro.substr(0, 2) + "aa"), before);
    EXPECT_EQ(FirstBadUtf8(ascii + "\x80" + ascii), before);
  }
  EXPECT_EQ(FirstBadUtf8(""), std::nullopt);
}

TEST(ControlBytes, AreFound) {
  EXPECT_EQ(FirstControlByte("abc \xFF~"), std::nullopt);
  for (int c = 0; c < 128; ++c) {
    const std::string s = {'a', static_cast<char>(c)};
    EXPECT_EQ(FirstControlByte(s).has_value(), c < 32 || c == 127);
    for (size_t before = 0; before < 18; ++before) {
      const std::string at(before, '\xFF');
      const auto found = FirstControlByte(at + s + "tail of text");
      EXPECT_EQ(found.has_value(), c < 32 || c == 127);
      EXPECT_EQ(found.value_or(before + 1), before + 1);
    }
  }
}

TEST(Printable, EscapesWhatBreaksALine) {
  EXPECT_EQ(Printable("plain \xC3\xA9"), "plain \xC3\xA9");
  EXPECT_EQ(Printable("a\nb\x1B[0m\x7F"), "a\\x0Ab\\x1B[0m\\x7F");
  EXPECT_EQ(Printable("\xFF\xC3"), "\\xFF\\xC3");
  EXPECT_EQ(Printable("\xC2\x85\xE2\x80\xA8"), "\\xC2\\x85\\xE2\\x80\\xA8");
  EXPECT_EQ(Printable(std::string(100, 'a'), 10), "aaaaaaaaaa...");
  EXPECT_EQ(Printable(""), "");
}

}  // namespace
}  // namespace etalon::io
