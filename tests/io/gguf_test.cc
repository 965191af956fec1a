#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gguf_bytes.h"
#include "io/stored_type.h"

namespace etalon::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

GgufFile MustParse(const Bytes& bytes) {
  auto file = GgufFile::Parse(bytes.span());
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return *GgufFile::Parse(Bytes().Header(0, 0).span());
  }
  return std::move(*file);
}

// One value of each type, in the order of the type numbers.
Bytes AllTypes() {
  Bytes b;
  b.Header(0, 13);
  b.Str("u8").U32(0).U8(200);
  b.Str("i8").U32(1).Put<int8_t>(-100);
  b.Str("u16").U32(2).Put<uint16_t>(60000);
  b.Str("i16").U32(3).Put<int16_t>(-30000);
  b.Str("u32").U32(4).U32(4000000000u);
  b.Str("i32").U32(5).Put<int32_t>(-2000000000);
  b.Str("f32").U32(6).Put(1.5f);
  b.Str("bool").U32(7).U8(1);
  b.Str("string").U32(8).Str(std::string_view("a\0\xFF", 3));
  b.Str("array").U32(9).U32(3).U64(2).Put<int16_t>(-5).Put<int16_t>(7);
  b.Str("u64").U32(10).U64(~uint64_t{0});
  b.Str("i64").U32(11).Put(std::numeric_limits<int64_t>::min());
  b.Str("f64").U32(12).Put(2.5);
  return b;
}

TEST(GgufFile, ReadsEveryValueType) {
  const Bytes bytes = AllTypes();
  const GgufFile file = MustParse(bytes);
  ASSERT_EQ(file.kvs().size(), 13u);
  for (size_t i = 0; i < 13; ++i) {
    const GgufKv& kv = file.kvs()[i];
    EXPECT_EQ(static_cast<size_t>(kv.value.type), i);
    EXPECT_EQ(GgufTypeName(kv.value.type), kv.key);  // keys are the names
    EXPECT_EQ(file.Find(kv.key), &kv.value);
  }
  EXPECT_EQ(file.GetUint("u8"), 200u);
  EXPECT_EQ(file.GetUint("u16"), 60000u);
  EXPECT_EQ(file.GetUint("u32"), 4000000000u);
  EXPECT_EQ(file.GetUint("u64"), ~uint64_t{0});
  EXPECT_EQ(std::get<int64_t>(file.Find("i8")->v), -100);
  EXPECT_EQ(std::get<int64_t>(file.Find("i64")->v),
            std::numeric_limits<int64_t>::min());
  EXPECT_EQ(file.GetFloat("f32"), 1.5f);
  EXPECT_EQ(file.GetFloat("f64"), 2.5f);
  EXPECT_EQ(file.GetBoolOr("bool", false), true);
  EXPECT_EQ(file.GetString("string"), std::string_view("a\0\xFF", 3));
  const GgufArray& array = **file.GetArray("array");
  EXPECT_EQ(array.count, 2u);
  EXPECT_EQ(array.Integer(0), -5);
  EXPECT_EQ(array.Number(1), 7.0);
  EXPECT_EQ(file.Find("absent"), nullptr);
}

TEST(GgufFile, GettersSayWhatIsWrong) {
  const Bytes bytes = AllTypes();
  const GgufFile file = MustParse(bytes);
  EXPECT_EQ(file.GetUint("absent").error().message, "absent missing");
  EXPECT_EQ(file.GetUint("string").error().message,
            "string type string, need u32");
  EXPECT_EQ(file.GetUintOr("f32", 1).error().message, "f32 type f32, need u32");
  EXPECT_EQ(file.GetUint("i8").error().message, "i8 -100 < 0");
  EXPECT_EQ(file.GetUint("bool").error().message, "bool type bool, need u32");
  EXPECT_EQ(file.GetFloat("u32").error().message, "u32 type u32, need f32");
  EXPECT_EQ(file.GetString("u8").error().message, "u8 type u8, need string");
  EXPECT_EQ(file.GetArray("u8").error().message, "u8 type u8, need array");
  EXPECT_EQ(file.GetBoolOr("u8", true).error().message,
            "u8 type u8, need bool");
  EXPECT_EQ(file.GetUintOr("absent", 7), 7u);
  EXPECT_EQ(file.GetFloatOr("absent", 7.0f), 7.0f);
  EXPECT_EQ(file.GetBoolOr("absent", true), true);
  EXPECT_EQ(file.GetStringOr("absent", "x"), "x");
  EXPECT_EQ(file.GetArray("absent"), nullptr);
}

TEST(GgufFile, NonNegativeSignedValuesCountAsUnsigned) {
  Bytes b;
  b.Header(0, 1).Str("n").U32(5).Put<int32_t>(32);
  EXPECT_EQ(MustParse(b).GetUint("n"), 32u);
}

TEST(GgufFile, FloatsBeyondF32AreRefusedByTheGetter) {
  Bytes b;
  b.Header(0, 2).Str("big").U32(12).Put(1e300);
  b.Str("inf").U32(12).Put(std::numeric_limits<double>::infinity());
  const GgufFile file = MustParse(b);
  EXPECT_THAT(file.GetFloat("big").error().message, HasSubstr("big 1e+300"));
  EXPECT_TRUE(std::isinf(*file.GetFloat("inf")));
}

TEST(GgufArray, IntegersSaturate) {
  Bytes b;
  b.Header(0, 2).Str("u").U32(9).U32(10).U64(1).U64(~uint64_t{0});
  b.Str("f").U32(9).U32(6).U64(3).Put(NAN).Put(1e30f).Put(-1e30f);
  const GgufFile file = MustParse(b);
  EXPECT_EQ((*file.GetArray("u"))->Integer(0),
            std::numeric_limits<int64_t>::max());
  const GgufArray& f = **file.GetArray("f");
  EXPECT_EQ(f.Integer(0), 0);
  EXPECT_EQ(f.Integer(1), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(f.Integer(2), std::numeric_limits<int64_t>::min());
}

TEST(GgufFile, StringArraysAreViews) {
  Bytes b;
  b.Header(0, 1).Str("s").U32(9).U32(8).U64(3).Str("a").Str("").Str("bcd");
  const GgufFile file = MustParse(b);
  const GgufArray& s = **file.GetArray("s");
  EXPECT_EQ(s.strings().size(), 3u);
  const std::vector<std::string_view> views(s.strings().begin(),
                                            s.strings().end());
  EXPECT_THAT(views, ElementsAre("a", "", "bcd"));
  EXPECT_EQ(static_cast<const void*>(views[2].data()),
            file.bytes().data() + file.bytes().size() - 3);
}

TEST(GgufFile, NumbersAreNoStrings) {
  Bytes b;
  b.Header(0, 1).Str("n").U32(9).U32(10).U64(2).U64(3).U64(~uint64_t{0});
  const GgufFile file = MustParse(b);
  const GgufStrings strings = (*file.GetArray("n"))->strings();
  EXPECT_EQ(strings.size(), 0u);
  EXPECT_EQ(strings.begin(), strings.end());
}

TEST(GgufFile, TensorsPointIntoTheFile) {
  Bytes b;
  b.Header(2, 1).KvU32("general.alignment", 64);
  b.Info("w", {32, 3}, 8, 0).Info("b", {5}, 0, 128).PadTo(64);
  const size_t data = b.size();
  b.Zeros(128 + 20);
  const GgufFile file = MustParse(b);
  EXPECT_EQ(file.alignment(), 64u);
  ASSERT_EQ(file.tensors().size(), 2u);
  const GgufTensor& w = *file.FindTensor("w");
  EXPECT_EQ(w.n_dims, 2u);
  EXPECT_THAT(w.ne, ElementsAre(32, 3, 1, 1));
  EXPECT_EQ(w.type(), TensorType::kQ8_0);
  EXPECT_EQ(w.n_bytes, 3 * 34u);
  EXPECT_EQ(w.offset, data);
  EXPECT_EQ(w.data, file.bytes().data() + data);
  EXPECT_EQ(file.FindTensor("b")->data, w.data + 128);
  EXPECT_EQ(file.FindTensor("c"), nullptr);
  EXPECT_TRUE(file.warnings().empty());
}

TEST(GgufFile, DataMayLieInAnotherOrderThanTheTable) {
  Bytes b;
  b.Header(2, 0).Info("b", {8}, 0, 32).Info("a", {8}, 0, 0).PadTo(32);
  b.Zeros(64);
  const GgufFile file = MustParse(b);
  EXPECT_LT(file.FindTensor("a")->data, file.FindTensor("b")->data);
}

TEST(GgufFile, TrailingBytesWarn) {
  Bytes b;
  b.Header(1, 0).Info("a", {8}, 0, 0).PadTo(32).Zeros(32);
  EXPECT_TRUE(MustParse(b).warnings().empty());
  EXPECT_TRUE(MustParse(Bytes(b).Zeros(31)).warnings().empty());
  const Bytes longer = Bytes(b).Zeros(4096);
  const GgufFile file = MustParse(longer);
  ASSERT_EQ(file.warnings().size(), 1u);
  EXPECT_THAT(file.warnings()[0], HasSubstr("4096 bytes after the end"));
}

TEST(GgufFile, SurvivesAMove) {
  const Bytes bytes = AllTypes();
  GgufFile a = MustParse(bytes);
  const GgufFile b = std::move(a);
  EXPECT_EQ(b.GetUint("u8"), 200u);
  EXPECT_EQ(b.GetString("string")->size(), 3u);
}

TEST(StoredType, AgreesWithTheEngine) {
  for (uint32_t id = 0; id < 64; ++id) {
    const TypeTraits* engine = FindTypeTraits(static_cast<TensorType>(id));
    if (engine == nullptr) continue;
    const StoredType* stored = FindStoredType(id);
    ASSERT_NE(stored, nullptr);
    EXPECT_EQ(stored->name, engine->name);
    EXPECT_EQ(stored->block_size, engine->block_size);
    EXPECT_EQ(stored->block_bytes, engine->block_bytes);
  }
  EXPECT_EQ(StoredTypeName(26), "I32");
  EXPECT_EQ(StoredTypeName(99), "type 99");
}

}  // namespace
}  // namespace etalon::io
