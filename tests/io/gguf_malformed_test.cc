// Hostile GGUF files, one test per field: each is refused with a message that
// names the field, where it is, the value and the rule.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gguf_bytes.h"

namespace etalon::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// One key before the one under test, so that indices are not all 0.
Bytes OneKv(const Bytes& key_and_value) {
  Bytes b;
  return b.Header(0, 2).KvU32("first", 1).Append(key_and_value);
}
constexpr uint64_t kSecondKv = 24 + 8 + 5 + 4 + 4;

Bytes Value(uint32_t type) {
  Bytes b;
  return b.Str("key").U32(type);
}

// Two tensors of 8 f32 and what follows them.
Bytes TwoTensors(const Bytes& second_info, uint64_t data_bytes = 64) {
  Bytes b;
  return b.Header(2, 0)
      .Info("a", {8}, 0, 0)
      .Append(second_info)
      .PadTo(32)
      .Zeros(data_bytes);
}
Bytes Info(std::vector<uint64_t> ne, uint32_t type, uint64_t offset) {
  Bytes b;
  return b.Info("b", std::move(ne), type, offset);
}

TEST(GgufHeader, TruncationNamesTheField) {
  EXPECT_EQ(Refusal(Bytes()), "magic @0: file is 0 bytes, need 24");
  EXPECT_THAT(Refusal(Bytes().Raw("GGU")),
              StartsWith("magic @0: truncated, file is 3 bytes"));
  EXPECT_THAT(Refusal(Bytes().Raw("GGUF")),
              StartsWith("version @4: truncated"));
  EXPECT_THAT(Refusal(Bytes().Raw("GGUF").U32(3)),
              StartsWith("n_tensors @8: truncated"));
  EXPECT_THAT(Refusal(Bytes().Raw("GGUF").U32(3).U64(0)),
              StartsWith("n_kv @16: truncated"));
  EXPECT_EQ(Refusal(Bytes().Header(0, 0)), "");
}

TEST(GgufHeader, MagicIsShownEscaped) {
  EXPECT_THAT(Refusal(Bytes().Raw("GGML").Zeros(20)),
              HasSubstr("magic @0: \"GGML\""));
  EXPECT_THAT(Refusal(Bytes().Raw("\nG\xFF\x1B").Zeros(20)),
              HasSubstr("\\x0AG\\xFF\\x1B"));
}

TEST(GgufHeader, VersionsTwoAndThreeOnly) {
  EXPECT_EQ(Refusal(Bytes().Header(0, 0, 2)), "");
  for (const uint32_t v : {0u, 1u, 4u, 0xFFFFFFFFu, 0x01000000u}) {
    EXPECT_THAT(Refusal(Bytes().Header(0, 0, v)),
                HasSubstr("version @4: " + std::to_string(v)));
  }
  for (const uint32_t v : {0x02000000u, 0x03000000u}) {
    EXPECT_THAT(Refusal(Bytes().Header(0, 0, v)),
                StartsWith("version @4: byte-swapped"));
  }
}

TEST(GgufHeader, CountsAreCheckedAgainstTheFile) {
  for (const uint64_t n :
       {~uint64_t{0}, uint64_t{1} << 63, (uint64_t{1} << 63) - 1,
        uint64_t{1} << 32, uint64_t{1} << 59, uint64_t{4}}) {
    EXPECT_THAT(Refusal(Bytes().Header(n, 0).Zeros(100)),
                AllOf(StartsWith("n_tensors @8 > limit"),
                      HasSubstr(std::to_string(n))));
  }
  for (const uint64_t n : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 60,
                           uint64_t{1000000000}, uint64_t{8}}) {
    EXPECT_THAT(
        Refusal(Bytes().Header(0, n).Zeros(100)),
        AllOf(StartsWith("n_kv @16 > limit"), HasSubstr(std::to_string(n))));
  }
}

// Tables that fit the file and would still cost several times its size.
TEST(GgufHeader, TablesHaveAnUpperLimit) {
  Bytes b;
  b.Header(0, uint64_t{1} << 20).Zeros(15 << 20);
  EXPECT_THAT(Refusal(b), HasSubstr("n_kv @16 > limit: 1048576"));
  Bytes tensors;
  tensors.Header(uint64_t{1} << 20, 0).Zeros(34 << 20);
  EXPECT_THAT(Refusal(tensors), HasSubstr("n_tensors @8 > limit: 1048576"));
  // Strings stay where they are: any number that fits the file.
  Bytes strings;
  strings.Header(0, 1).Str("a").U32(9).U32(8).U64(4000000).Zeros(32000000);
  EXPECT_EQ(Refusal(strings), "");
}

TEST(GgufHeader, CountsThatDisagreeWithTheTables) {
  // One key too few: the key is read as a tensor.
  Bytes few;
  few.Header(1, 1).KvU32("a", 1).KvU32("b", 2).Info("t", {8}, 0, 0).PadTo(32);
  EXPECT_THAT(Refusal(few.Zeros(32)), HasSubstr("tensor[0] "));
  // One too many: the tensor is read as a key.
  Bytes many;
  many.Header(1, 3).KvU32("a", 1).KvU32("b", 2).Info("t", {8}, 0, 0).PadTo(32);
  EXPECT_NE(Refusal(many.Zeros(32)), "");
  // One tensor too few: the data would be taken from the wrong place.
  Bytes tensors;
  tensors.Header(1, 0).Info("a", {8}, 0, 0).Info("b", {8}, 0, 32).PadTo(32);
  EXPECT_THAT(Refusal(tensors.Zeros(64)),
              AllOf(StartsWith("n_tensors @8: 1"), HasSubstr("\"b\"")));
  Bytes none;
  none.Header(0, 0).Info("a", {8}, 0, 0).PadTo(32);
  EXPECT_THAT(Refusal(none.Zeros(32)), StartsWith("n_tensors @8: 0"));
}

TEST(GgufKey, Length) {
  EXPECT_THAT(Refusal(OneKv(Bytes().Str("").U32(4).U32(0).Zeros(9))),
              StartsWith("kv[1] key empty @" + std::to_string(kSecondKv)));
  EXPECT_THAT(
      Refusal(OneKv(Bytes().Str(std::string(65536, 'k')).U32(4).U32(0))),
      StartsWith("kv[1] key length 65536 > 65535 @"));
  EXPECT_EQ(Refusal(OneKv(Bytes().Str(std::string(65535, 'k')).U32(4).U32(0))),
            "");
  for (const uint64_t n : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{65536}}) {
    EXPECT_THAT(Refusal(OneKv(Bytes().U64(n).Zeros(50))),
                StartsWith("kv[1] key length " + std::to_string(n)));
  }
  EXPECT_THAT(Refusal(OneKv(Bytes().U64(51).Zeros(50))),
              StartsWith("kv[1] key length 51 > 50 bytes remaining"));
}

TEST(GgufKey, Text) {
  const auto with_key = [](std::string_view key) {
    return Refusal(OneKv(Bytes().Str(key).U32(4).U32(0)));
  };
  EXPECT_THAT(
      with_key(std::string_view("a\0b", 3)),
      StartsWith("kv[1] key has byte 0x00 @" + std::to_string(kSecondKv + 9)));
  EXPECT_THAT(with_key("a\nb"), HasSubstr("key has byte 0x0A"));
  EXPECT_THAT(with_key("a\x7F"), HasSubstr("key has byte 0x7F"));
  EXPECT_THAT(with_key("a\x1B[31m"), HasSubstr("key has byte 0x1B"));
  for (const std::string_view bad :
       {"\xFF\xFE", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x82",
        "\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xE0\x9F\xBF"}) {
    EXPECT_THAT(with_key(bad), HasSubstr("kv[1] key not UTF-8")) << bad.size();
  }
  EXPECT_EQ(with_key("schl\xC3\xBCssel.\xE2\x82\xAC.\xF0\x9F\x98\x80"), "");
}

TEST(GgufKey, Duplicate) {
  EXPECT_THAT(Refusal(OneKv(Bytes().KvU32("first", 2))),
              AllOf(StartsWith("kv[1] key \"first\" @"),
                    HasSubstr("duplicate of kv[0]")));
}

TEST(GgufValue, Type) {
  for (const uint32_t type : {13u, 14u, 0xFFFFFFFFu, 0x80000000u}) {
    EXPECT_THAT(Refusal(OneKv(Value(type).Zeros(16))),
                StartsWith("kv[1] type " + std::to_string(type) + " @"));
  }
  EXPECT_THAT(Refusal(OneKv(Bytes().Str("key").U8(1).U8(0).U8(0))),
              StartsWith("kv[1] type @"));
}

TEST(GgufValue, NumbersMustBeComplete) {
  const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  for (uint32_t type = 0; type < 13; ++type) {
    if (sizes[type] == 0) continue;
    EXPECT_EQ(Refusal(OneKv(Value(type).Zeros(sizes[type]))), "") << type;
    Bytes b;
    b.Header(0, 1).Str("a long key, room for two").U32(type);
    EXPECT_THAT(Refusal(b.Zeros(sizes[type] - 1)), HasSubstr("truncated"))
        << type;
  }
}

TEST(GgufValue, BoolIsZeroOrOne) {
  EXPECT_EQ(Refusal(OneKv(Value(7).U8(1))), "");
  EXPECT_THAT(Refusal(OneKv(Value(7).U8(2))), StartsWith("kv[1] bool 2 @"));
  EXPECT_THAT(Refusal(OneKv(Value(9).U32(7).U64(3).U8(0).U8(1).U8(255))),
              StartsWith("kv[1] array[2] bool 255 @"));
}

TEST(GgufValue, StringLength) {
  for (const uint64_t n : {~uint64_t{0}, ~uint64_t{0} - 1, uint64_t{1} << 63,
                           uint64_t{1} << 32, (uint64_t{16} << 20) + 1}) {
    EXPECT_THAT(Refusal(OneKv(Value(8).U64(n).Zeros(20))),
                StartsWith("kv[1] string length " + std::to_string(n) + " > "));
  }
  EXPECT_THAT(Refusal(OneKv(Value(8).U64(21).Zeros(20))),
              HasSubstr("string length 21 > remaining 20 bytes"));
  EXPECT_EQ(Refusal(OneKv(Value(8).U64(20).Zeros(20))), "");
  EXPECT_THAT(Refusal(OneKv(Value(8).U32(0))),
              StartsWith("kv[1] string length @"));
}

TEST(GgufValue, StringOf16MiBIsTheLargest) {
  EXPECT_EQ(Refusal(OneKv(Value(8).U64(16 << 20).Zeros(16 << 20))), "");
  EXPECT_THAT(
      Refusal(OneKv(Value(8).U64((16 << 20) + 1).Zeros((16 << 20) + 1))),
      HasSubstr("string length 16777217 > 16777216"));
}

TEST(GgufArray, CountTimesSizeCannotWrap) {
  for (uint32_t type = 0; type < 13; ++type) {
    if (type == 9) continue;
    for (const uint64_t n : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 62,
                             (uint64_t{1} << 61) + 1, uint64_t{1} << 60,
                             uint64_t{1000000}, uint64_t{65}}) {
      EXPECT_THAT(Refusal(OneKv(Value(9).U32(type).U64(n).Zeros(64))),
                  StartsWith("kv[1] array count " + std::to_string(n) + " @"))
          << type;
    }
  }
}

TEST(GgufArray, NestedIsRefusedAtAnyDepth) {
  EXPECT_THAT(Refusal(OneKv(Value(9).U32(9).U64(1).U32(4).U64(1).U32(0))),
              StartsWith("kv[1] nested array @"));
  Bytes deep = Value(9);
  for (int i = 0; i < 10000; ++i) deep.U32(9).U64(1);
  EXPECT_THAT(Refusal(OneKv(deep)), StartsWith("kv[1] nested array @"));
}

TEST(GgufArray, ElementTypeAndTruncation) {
  EXPECT_THAT(Refusal(OneKv(Value(9).U32(13).U64(0))),
              StartsWith("kv[1] array element type 13 @"));
  EXPECT_THAT(Refusal(OneKv(Value(9).U8(0))), StartsWith("kv[1] array type @"));
  EXPECT_THAT(Refusal(OneKv(Value(9).U32(4).U32(0))),
              StartsWith("kv[1] array count @"));
  EXPECT_EQ(Refusal(OneKv(Value(9).U32(4).U64(0))), "");
  EXPECT_EQ(Refusal(OneKv(Value(9).U32(8).U64(0))), "");
}

TEST(GgufArray, StringsInside) {
  EXPECT_THAT(
      Refusal(OneKv(Value(9).U32(8).U64(2).Str("abc").U64(6).Raw("abcde"))),
      StartsWith("kv[1] array[1] string length 6 > remaining 5 bytes @"));
  EXPECT_THAT(Refusal(OneKv(Value(9).U32(8).U64(2).Str("abcdefgh"))),
              StartsWith("kv[1] array[1] string length @"));
  EXPECT_THAT(
      Refusal(OneKv(Value(9).U32(8).U64(2).Str("").U64(~uint64_t{0}))),
      StartsWith("kv[1] array[1] string length 18446744073709551615 > "));
}

TEST(GgufAlignment, PowerOfTwoOf8To65536AsU32) {
  const auto with = [](uint32_t a) {
    return Refusal(OneKv(Bytes().KvU32("general.alignment", a)));
  };
  for (const uint32_t a : {0u, 1u, 2u, 3u, 4u, 12u, 24u, 33u, 65535u}) {
    EXPECT_THAT(with(a), StartsWith("general.alignment not 2^k of 8..65536: " +
                                    std::to_string(a)));
  }
  for (const uint32_t a : {65537u, 131072u, 0x80000000u, 0xFFFFFFFFu}) {
    EXPECT_THAT(with(a),
                StartsWith("general.alignment > 65536: " + std::to_string(a)));
  }
  for (uint32_t a = 8; a <= 65536; a *= 2) EXPECT_EQ(with(a), "") << a;
  Bytes as_i32;
  as_i32.Str("general.alignment").U32(5).U32(32);
  EXPECT_THAT(Refusal(OneKv(as_i32)),
              StartsWith("general.alignment type i32, need u32"));
  Bytes as_string;
  as_string.Str("general.alignment").U32(8).Str("32");
  EXPECT_THAT(Refusal(OneKv(as_string)),
              StartsWith("general.alignment type string, need u32"));
  Bytes as_u64;
  as_u64.Str("general.alignment").U32(10).U64(32);
  EXPECT_THAT(Refusal(OneKv(as_u64)),
              StartsWith("general.alignment type u64, need u32"));
}

TEST(GgufSplit, PartsAreRefused) {
  EXPECT_THAT(Refusal(OneKv(Bytes().KvU32("split.count", 3))),
              StartsWith("split.count 3 "));
  EXPECT_THAT(Refusal(OneKv(Bytes().KvU32("split.no", 1))),
              StartsWith("split.no 1 "));
  EXPECT_THAT(Refusal(OneKv(Bytes().Str("split.count").U32(8).Str("3"))),
              StartsWith("split.count type string"));
  EXPECT_EQ(Refusal(OneKv(Bytes().KvU32("split.count", 1))), "");
}

TEST(GgufTensorInfo, Name) {
  const auto with = [](const Bytes& name) {
    Bytes info = name;
    return Refusal(TwoTensors(info.U32(1).U64(8).U32(0).U64(32)));
  };
  EXPECT_EQ(with(Bytes().Str(std::string(64, 'n'))), "");
  EXPECT_THAT(with(Bytes().Str(std::string(65, 'n'))),
              StartsWith("tensor[1] name length 65 > 64 @"));
  EXPECT_THAT(with(Bytes().Str("")), StartsWith("tensor[1] name empty @"));
  EXPECT_THAT(with(Bytes().U64(uint64_t{1} << 63)),
              StartsWith("tensor[1] name length 9223372036854775808 > 64"));
  EXPECT_THAT(with(Bytes().Str(std::string_view("n\0", 2))),
              StartsWith("tensor[1] name has byte 0x00 @"));
  EXPECT_THAT(with(Bytes().Str("n\xFF")),
              StartsWith("tensor[1] name not UTF-8"));
  EXPECT_THAT(with(Bytes().Str("a")), HasSubstr("duplicate of tensor[0]"));
}

TEST(GgufTensorInfo, Dimensions) {
  const auto with = [](std::vector<uint64_t> ne) {
    return Refusal(TwoTensors(Info(std::move(ne), 0, 32)));
  };
  EXPECT_EQ(with({2, 2, 2, 1}), "");
  EXPECT_THAT(with({}), StartsWith("tensor[1] n_dims 0 @"));
  EXPECT_THAT(with({1, 1, 1, 1, 1}), StartsWith("tensor[1] n_dims 5 @"));
  Bytes many;
  many.Str("b").U32(0xFFFFFFFF).Zeros(64);
  EXPECT_THAT(Refusal(TwoTensors(many)),
              StartsWith("tensor[1] n_dims 4294967295 @"));
  for (size_t d = 0; d < 4; ++d) {
    std::vector<uint64_t> ne{2, 2, 2, 2};
    ne[d] = 0;
    EXPECT_THAT(with(ne),
                StartsWith("tensor[1] ne[" + std::to_string(d) + "] is 0 @"));
  }
  // Products and sizes that wrap to something small.
  for (const std::vector<uint64_t>& ne :
       {std::vector<uint64_t>{~uint64_t{0}},
        {uint64_t{1} << 63},
        {uint64_t{1} << 32, uint64_t{1} << 32},
        {4194305, 4194305, 211106198978564},
        {uint64_t{1} << 62, 4},
        {2, uint64_t{1} << 63},
        {uint64_t{1} << 31, uint64_t{1} << 31, 2, 1}}) {
    EXPECT_THAT(with(ne), HasSubstr("overflow"));
  }
  // Elements fit 63 bits, bytes do not.
  EXPECT_THAT(with({uint64_t{1} << 62}), HasSubstr("overflow"));
  // Logical exabytes.
  EXPECT_THAT(with({uint64_t{1} << 58}), HasSubstr("ends past EOF by "));
}

TEST(GgufTensorInfo, Type) {
  const auto with = [](uint32_t type, uint64_t ne0) {
    return Refusal(TwoTensors(Info({ne0}, type, 32), 32 + 20000));
  };
  for (const uint32_t type : {43u, 99u, 0xFFFFFFFFu, 0x80000000u}) {
    EXPECT_THAT(
        with(type, 256),
        StartsWith("tensor[1] type " + std::to_string(type) + " unknown @"));
  }
  for (const uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    EXPECT_THAT(
        with(type, 256),
        StartsWith("tensor[1] type " + std::to_string(type) + " removed @"));
  }
  EXPECT_THAT(with(12, 255), StartsWith("tensor[1] ne[0] % 256 is 255 @"));
  EXPECT_THAT(with(8, 33), StartsWith("tensor[1] ne[0] % 32 is 1 @"));
  // Known to the format, not to the engine: the layout can still be checked.
  EXPECT_EQ(with(26, 256), "");
  EXPECT_EQ(with(18, 256), "");
}

TEST(GgufTensorData, Offsets) {
  const auto with = [](uint64_t offset, uint64_t data_bytes) {
    return Refusal(TwoTensors(Info({8}, 0, offset), data_bytes));
  };
  EXPECT_EQ(with(32, 64), "");
  EXPECT_THAT(with(33, 64), HasSubstr("tensor[1] \"b\" offset 33 @"));
  EXPECT_THAT(with(33, 64), HasSubstr("alignment 32"));
  for (const uint64_t offset : {uint64_t{64}, uint64_t{1} << 30,
                                uint64_t{1} << 63, ~uint64_t{0} - 31}) {
    EXPECT_THAT(with(offset, 64),
                HasSubstr("tensor[1] \"b\" offset beyond file: " +
                          std::to_string(offset)));
  }
  EXPECT_THAT(with(0, 64), HasSubstr("overlaps tensor[0] \"a\""));
  EXPECT_THAT(with(64, 96), StartsWith("gap before tensor[1] \"b\""));
  EXPECT_THAT(with(4096, 4200), StartsWith("gap before tensor[1] \"b\""));
  EXPECT_THAT(with(32, 63), HasSubstr("tensor[1] \"b\" ends past EOF by 1"));
  EXPECT_THAT(with(32, 33), HasSubstr("ends past EOF by 31"));
}

TEST(GgufTensorData, MustBeginAtTheStart) {
  Bytes b;
  b.Header(1, 0).Info("a", {8}, 0, 32).PadTo(32).Zeros(64);
  EXPECT_THAT(Refusal(b), StartsWith("gap before tensor[0]"));
}

TEST(GgufTensorData, AbsentData) {
  Bytes b;
  b.Header(1, 0).Info("a", {8}, 0, 0);
  EXPECT_THAT(Refusal(b), HasSubstr("offset beyond file"));
  EXPECT_THAT(Refusal(b.PadTo(32)), HasSubstr("offset beyond file"));
}

// A type that needs less or more than the space its data takes.
TEST(GgufTensorData, SizeMustMatchTheType) {
  Bytes smaller;  // Q8_0 declared, F16-sized data
  smaller.Header(2, 0).Info("a", {256}, 8, 0).Info("b", {8}, 0, 512).PadTo(32);
  EXPECT_THAT(Refusal(smaller.Zeros(544)), StartsWith("gap before tensor[1]"));
  Bytes larger;
  larger.Header(2, 0).Info("a", {256}, 1, 0).Info("b", {8}, 0, 288).PadTo(32);
  EXPECT_THAT(Refusal(larger.Zeros(600)), HasSubstr("overlaps tensor[0]"));
}

// Sums of padded sizes that would wrap 2^64 are never formed.
TEST(GgufTensorData, ManyLargeTensors) {
  Bytes b;
  b.Header(4, 0);
  for (int i = 0; i < 4; ++i) {
    b.Info(std::string(1, static_cast<char>('a' + i)),
           {(uint64_t{1} << 60) + 8}, 0, 0);
  }
  EXPECT_NE(Refusal(b.PadTo(32).Zeros(64)), "");
}

TEST(GgufMessage, HostileNamesStayOnOneLine) {
  Bytes b;
  b.Header(1, 0).Info("\xE2\x80\xA8\xC2\x9B[31m", {8}, 0, 7);
  // Refusal() checks that no control byte is printed.
  EXPECT_THAT(Refusal(b.PadTo(32).Zeros(64)), HasSubstr("\\xE2\\x80\\xA8"));
}

}  // namespace
}  // namespace etalon::io
