#include "io/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "gguf_bytes.h"
#include "io/stored_type.h"

namespace etalon::io {
namespace {

using testing::HasSubstr;

// A value's bits, so that NaN equals NaN.
std::string Key(const GgufValue& value) {
  Bytes b;
  b.U32(static_cast<uint32_t>(value.type));
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string_view>) {
          b.Str(v);
        } else if constexpr (std::is_same_v<T, GgufArray>) {
          b.U32(static_cast<uint32_t>(v.element_type)).U64(v.count);
          for (const std::byte x : v.raw) b.U8(static_cast<uint8_t>(x));
        } else if constexpr (std::is_same_v<T, bool>) {
          b.U8(v);
        } else {
          b.Put(v);
        }
      },
      value.v);
  return {reinterpret_cast<const char*>(b.data().data()), b.size()};
}

template <class T>
std::vector<T> Numbers() {
  return *rc::gen::container<std::vector<T>>(rc::gen::arbitrary<T>());
}

std::string RandomBytes() {
  return *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
}

// Adds a random value under `key` and returns what must be read back.
std::string AddRandomKv(GgufWriter& w, const std::string& key) {
  GgufValue want;
  const auto number = [&]<class T, class Wide>(T x, Wide wide) {
    RC_ASSERT(w.AddNumber<T>(key, x).has_value());
    want = {GgufTypeOf<T>(), wide};
    return Key(want);
  };
  const auto numbers = [&]<class T>(const std::vector<T>& x) {
    RC_ASSERT(w.AddNumbers<T>(key, x).has_value());
    GgufArray a;
    a.element_type = GgufTypeOf<T>();
    a.count = x.size();
    a.raw = std::as_bytes(std::span(x));
    want = {GgufType::kArray, a};
    return Key(want);
  };
  switch (*rc::gen::inRange(0, 16)) {
    case 0: {
      const auto x = *rc::gen::arbitrary<uint8_t>();
      return number(x, uint64_t{x});
    }
    case 1: {
      const auto x = *rc::gen::arbitrary<int8_t>();
      return number(x, int64_t{x});
    }
    case 2: {
      const auto x = *rc::gen::arbitrary<uint16_t>();
      return number(x, uint64_t{x});
    }
    case 3: {
      const auto x = *rc::gen::arbitrary<int16_t>();
      return number(x, int64_t{x});
    }
    case 4: {
      const auto x = *rc::gen::arbitrary<uint32_t>();
      return number(x, uint64_t{x});
    }
    case 5: {
      const auto x = *rc::gen::arbitrary<int32_t>();
      return number(x, int64_t{x});
    }
    case 6: {
      const auto x = *rc::gen::arbitrary<uint64_t>();
      return number(x, x);
    }
    case 7: {
      const auto x = *rc::gen::arbitrary<int64_t>();
      return number(x, x);
    }
    case 8: {
      const auto x = *rc::gen::arbitrary<float>();
      return number(x, double{x});
    }
    case 9: {
      const auto x = *rc::gen::arbitrary<double>();
      return number(x, x);
    }
    case 10: {
      const auto x = *rc::gen::arbitrary<bool>();
      RC_ASSERT(w.AddBool(key, x).has_value());
      return Key({GgufType::kBool, x});
    }
    case 11: {
      const std::string x = RandomBytes();
      RC_ASSERT(w.AddString(key, x).has_value());
      return Key({GgufType::kString, std::string_view(x)});
    }
    case 12:
      return numbers(Numbers<float>());
    case 13:
      return numbers(Numbers<int16_t>());
    case 14: {
      const auto x = Numbers<bool>();
      RC_ASSERT(w.AddBools(key, x).has_value());
      std::vector<uint8_t> raw(x.begin(), x.end());
      GgufArray a;
      a.element_type = GgufType::kBool;
      a.count = x.size();
      a.raw = std::as_bytes(std::span(raw));
      return Key({GgufType::kArray, a});
    }
    default: {
      const auto x = *rc::gen::container<std::vector<std::string>>(
          rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
      RC_ASSERT(w.AddStrings(key, x).has_value());
      Bytes raw;
      for (const std::string& s : x) raw.Str(s);
      GgufArray a;
      a.element_type = GgufType::kString;
      a.count = x.size();
      a.raw = raw.span();
      return Key({GgufType::kArray, a});
    }
  }
}

TEST(GgufWriter, RoundTripOfRandomFiles) {
  EXPECT_TRUE(rc::check([] {
    const uint32_t alignment = 8u << *rc::gen::inRange(0, 8);
    GgufWriter w(alignment);
    std::map<std::string, std::string> kvs;
    const int n_kv = *rc::gen::inRange(0, 12);
    for (int i = 0; i < n_kv; ++i) {
      const std::string key = "key." + std::to_string(i);
      kvs[key] = AddRandomKv(w, key);
    }
    struct Tensor {
      uint32_t type;
      std::vector<uint64_t> ne;
      std::vector<std::byte> data;
    };
    const int n_tensors = *rc::gen::inRange(0, 6);
    std::vector<Tensor> tensors(static_cast<size_t>(n_tensors));
    for (size_t i = 0; i < tensors.size(); ++i) {
      Tensor& t = tensors[i];
      t.type = *rc::gen::suchThat(rc::gen::inRange(0u, 43u), [](uint32_t id) {
        return !FindStoredType(id)->removed();
      });
      const StoredType& type = *FindStoredType(t.type);
      t.ne = *rc::gen::suchThat(
          rc::gen::container<std::vector<uint64_t>>(
              rc::gen::inRange<uint64_t>(1, 5)),
          [](const auto& v) { return !v.empty() && v.size() <= 4; });
      uint64_t n_bytes = type.block_bytes;
      for (const uint64_t x : t.ne) n_bytes *= x;
      t.ne[0] *= type.block_size;
      for (uint64_t k = 0; k < n_bytes; ++k) {
        t.data.push_back(static_cast<std::byte>(k * 7 + i));
      }
      RC_ASSERT(w.AddTensor("tensor." + std::to_string(i), t.type, t.ne, t.data)
                    .has_value());
    }
    const auto bytes = w.ToBytes();
    RC_ASSERT(bytes.has_value());
    const auto file = GgufFile::Parse(*bytes);
    if (!file) RC_FAIL(file.error().message);
    RC_ASSERT(file->warnings().empty());
    RC_ASSERT(file->alignment() == alignment);
    RC_ASSERT(file->kvs().size() == kvs.size() + (alignment != 32 ? 1 : 0));
    for (const auto& [key, value] : kvs) {
      RC_ASSERT(file->Find(key) != nullptr);
      RC_ASSERT(Key(*file->Find(key)) == value);
    }
    RC_ASSERT(file->tensors().size() == tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const GgufTensor& t = file->tensors()[i];
      RC_ASSERT(t.name == "tensor." + std::to_string(i));
      RC_ASSERT(t.type_id == tensors[i].type);
      RC_ASSERT(t.n_dims == tensors[i].ne.size());
      RC_ASSERT(
          std::equal(tensors[i].ne.begin(), tensors[i].ne.end(), t.ne.begin()));
      RC_ASSERT(t.offset % alignment == 0u);
      RC_ASSERT(
          std::ranges::equal(std::span(t.data, t.n_bytes), tensors[i].data));
    }
    // Copying every key gives the same metadata.
    GgufWriter copy(alignment);
    for (const GgufKv& kv : file->kvs()) RC_ASSERT(copy.AddKv(kv).has_value());
    const auto copied = copy.ToBytes();
    RC_ASSERT(copied.has_value());
    const auto again = GgufFile::Parse(*copied);
    RC_ASSERT(again.has_value());
    RC_ASSERT(again->kvs().size() == file->kvs().size());
    for (size_t i = 0; i < again->kvs().size(); ++i) {
      RC_ASSERT(again->kvs()[i].key == file->kvs()[i].key);
      RC_ASSERT(Key(again->kvs()[i].value) == Key(file->kvs()[i].value));
    }
  }));
}

TEST(GgufWriter, RefusesWhatTheParserWould) {
  GgufWriter w;
  const auto message = [](const Status& s) {
    return s ? std::string() : s.error().message;
  };
  EXPECT_THAT(message(w.AddBool("", true)), HasSubstr("need 1..65535"));
  EXPECT_THAT(message(w.AddBool(std::string(65536, 'k'), true)),
              HasSubstr("65536 bytes"));
  EXPECT_THAT(message(w.AddBool("a\n", true)), HasSubstr("UTF-8"));
  EXPECT_TRUE(w.AddBool("a", true));
  EXPECT_THAT(message(w.AddBool("a", true)), HasSubstr("twice"));
  EXPECT_THAT(message(w.AddBool("general.alignment", true)),
              HasSubstr("twice"));
  const std::vector<std::byte> data(64);
  const auto tensor = [&](std::string_view name, uint32_t type,
                          std::vector<uint64_t> ne) {
    return message(w.AddTensor(name, type, ne, data));
  };
  EXPECT_THAT(tensor(std::string(65, 'n'), 0, {16}), HasSubstr("65 bytes"));
  EXPECT_THAT(tensor("t", 4, {32}), HasSubstr("cannot be stored"));
  EXPECT_THAT(tensor("t", 99, {32}), HasSubstr("cannot be stored"));
  EXPECT_THAT(tensor("t", 0, {}), HasSubstr("0 dimensions"));
  EXPECT_THAT(tensor("t", 0, {1, 1, 1, 1, 1}), HasSubstr("5 dimensions"));
  EXPECT_THAT(tensor("t", 0, {4, 0}), HasSubstr("a dimension is 0"));
  EXPECT_THAT(tensor("t", 8, {33}), HasSubstr("multiple of 32"));
  EXPECT_THAT(tensor("t", 0, {uint64_t{1} << 32, uint64_t{1} << 32}),
              HasSubstr("too large"));
  EXPECT_EQ(tensor("t", 0, {16}), "");
  EXPECT_THAT(tensor("t", 0, {16}), HasSubstr("twice"));
  EXPECT_TRUE(w.ToBytes());
  EXPECT_THAT(GgufWriter(24).ToBytes().error().message,
              HasSubstr("alignment 24"));
  EXPECT_FALSE(GgufWriter(0).ToBytes());
}

TEST(GgufWriter, TensorSourcesMustGiveTheirSize) {
  const uint64_t ne[] = {16};
  for (const size_t n : {0u, 63u, 65u}) {
    GgufWriter w;
    const std::vector<std::byte> data(n);
    ASSERT_TRUE(w.AddTensor("t", 0, ne, data));
    EXPECT_THAT(w.ToBytes().error().message, HasSubstr("tensor \"t\": "));
  }
}

class GgufWriterFile : public testing::Test {
 protected:
  GgufWriterFile() {
    dir_ = std::filesystem::path(testing::TempDir()) /
           ("gguf_writer." + std::to_string(getpid()));
    std::filesystem::create_directories(dir_);
  }
  ~GgufWriterFile() override { std::filesystem::remove_all(dir_); }

  size_t FilesInDir() const {
    size_t n = 0;
    for ([[maybe_unused]] const auto& e :
         std::filesystem::directory_iterator(dir_)) {
      ++n;
    }
    return n;
  }

  std::filesystem::path dir_;
};

TEST_F(GgufWriterFile, StreamsInPieces) {
  GgufWriter w;
  constexpr uint64_t kRows = 3000;
  const uint64_t ne[] = {256, kRows};
  ASSERT_TRUE(
      w.AddTensor("t", 0, ne, [](const GgufWriter::ByteSink& sink) -> Status {
        for (uint64_t r = 0; r < kRows; ++r) {
          const std::vector<float> row(256, static_cast<float>(r));
          ETALON_RETURN_IF_ERROR(sink(std::as_bytes(std::span(row))));
        }
        return {};
      }));
  const std::string path = dir_ / "model.gguf";
  const Status written = w.WriteFile(path);
  ASSERT_TRUE(written) << written.error().message;
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file) << file.error().message;
  const GgufTensor& t = file->tensors()[0];
  EXPECT_EQ(t.n_bytes, kRows * 1024);
  float last;
  std::memcpy(&last, t.data + t.n_bytes - sizeof(last), sizeof(last));
  EXPECT_EQ(last, kRows - 1);
  EXPECT_EQ(FilesInDir(), 1u);
}

TEST_F(GgufWriterFile, AFailingSourceLeavesTheOldFile) {
  const std::string path = dir_ / "model.gguf";
  std::ofstream(path) << "old";
  GgufWriter w;
  const uint64_t ne[] = {16};
  ASSERT_TRUE(
      w.AddTensor("t", 0, ne, [](const GgufWriter::ByteSink& sink) -> Status {
        const std::vector<std::byte> half(32);
        ETALON_RETURN_IF_ERROR(sink(half));
        return BadInput("no more");
      }));
  EXPECT_EQ(w.WriteFile(path).error().message, "no more");
  std::string content;
  std::ifstream(path) >> content;
  EXPECT_EQ(content, "old");
  EXPECT_EQ(FilesInDir(), 1u);
}

}  // namespace
}  // namespace etalon::io
