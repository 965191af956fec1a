#include "quantize/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "quant/dequantize.h"
#include "tests/util/external_data.h"
#include "tests/util/random.h"

namespace etalon::quantize {
namespace {

using test::Family;
using test::Random;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void WriteBytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}
std::span<const std::byte> Bytes(const std::vector<float>& v) {
  return std::as_bytes(std::span<const float>(v));
}

// A directory of its own per test, gone afterwards.
class QuantizeFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = std::filesystem::temp_directory_path() /
           (std::string("etalon_quantize_") + info->name());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    in_ = (dir_ / "in.gguf").string();
    out_ = (dir_ / "out.gguf").string();
    q_ = rng_.Vector(Family::kNormal, 512 * 48);
    up_ = rng_.Vector(Family::kNormal, 256 * 40 * 3);
    narrow_ = rng_.Vector(Family::kNormal, 96 * 8);
    norm_ = rng_.Vector(Family::kUniform, 512);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  Status WriteInput() {
    io::GgufWriter w;
    ETALON_RETURN_IF_ERROR(w.AddString("general.architecture", "llama"));
    ETALON_RETURN_IF_ERROR(w.AddNumber("general.file_type", uint32_t{0}));
    ETALON_RETURN_IF_ERROR(w.AddNumber("llama.block_count", uint32_t{4}));
    ETALON_RETURN_IF_ERROR(w.AddNumber("llama.expert_count", uint32_t{3}));
    const auto f32 = static_cast<uint32_t>(TensorType::kF32);
    const uint64_t q_ne[] = {512, 48}, up_ne[] = {256, 40, 3},
                   narrow_ne[] = {96, 8}, norm_ne[] = {512};
    ETALON_RETURN_IF_ERROR(
        w.AddTensor("blk.1.attn_q.weight", f32, q_ne, Bytes(q_)));
    ETALON_RETURN_IF_ERROR(
        w.AddTensor("blk.1.attn_norm.weight", f32, norm_ne, Bytes(norm_)));
    ETALON_RETURN_IF_ERROR(
        w.AddTensor("blk.1.ffn_up_exps.weight", f32, up_ne, Bytes(up_)));
    ETALON_RETURN_IF_ERROR(
        w.AddTensor("blk.2.attn_q.weight", f32, narrow_ne, Bytes(narrow_)));
    return w.WriteFile(in_);
  }

  QuantizeOptions Options(FileType type = FileType::kQ4_K_M) const {
    QuantizeOptions options;
    options.mix.file_type = type;
    return options;
  }
  void ExpectError(const QuantizeOptions& options, const std::string& part) {
    const auto result = QuantizeFile(in_, out_, options);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find(part), std::string::npos)
        << result.error().message;
    EXPECT_FALSE(std::filesystem::exists(out_));
    size_t n_files = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(dir_)) {
      ++n_files;
    }
    EXPECT_LE(n_files, 2u) << "a temporary file was left behind";
  }
  static std::vector<float> Values(const io::GgufFile& file,
                                   std::string_view name) {
    const io::GgufTensor* t = file.FindTensor(name);
    if (t == nullptr) return {};
    std::vector<float> v(t->ne[0] * t->ne[1] * t->ne[2]);
    DequantizeRow(t->type(), t->data, v.size(), v.data());
    return v;
  }

  Random rng_{31};
  std::filesystem::path dir_;
  std::string in_, out_;
  std::vector<float> q_, up_, narrow_, norm_;
};

TEST_F(QuantizeFileTest, WritesTheMixAndKeepsTheRest) {
  ASSERT_TRUE(WriteInput());
  std::vector<std::string> reports;
  QuantizeOptions options = Options();
  options.on_tensor = [&](const TensorReport& r) {
    reports.push_back(std::string(r.name) + " " + r.from + " " + r.to + " " +
                      std::string(r.wanted));
  };
  const auto summary = QuantizeFile(in_, out_, options);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->n_fallbacks, 1u);
  EXPECT_EQ(reports,
            (std::vector<std::string>{"blk.1.attn_q.weight F32 Q4_K ",
                                      "blk.1.attn_norm.weight F32 F32 ",
                                      "blk.1.ffn_up_exps.weight F32 Q4_K ",
                                      "blk.2.attn_q.weight F32 Q5_0 Q4_K"}));
  const auto file = io::GgufFile::Open(out_);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->GetUint("general.file_type"), 15u);
  EXPECT_EQ(file->GetUint("general.quantization_version"), 2u);
  EXPECT_EQ(file->GetUint("llama.block_count"), 4u);
  EXPECT_EQ(Values(*file, "blk.1.attn_norm.weight"), norm_);
  const auto close = [&](std::string_view name, const std::vector<float>& x) {
    const std::vector<float> y = Values(*file, name);
    ASSERT_EQ(y.size(), x.size());
    double error = 0, norm = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::pow(y[i] - x[i], 2);
      norm += std::pow(x[i], 2);
    }
    EXPECT_LT(std::sqrt(error / norm), 0.09) << name;
  };
  close("blk.1.attn_q.weight", q_);
  close("blk.1.ffn_up_exps.weight", up_);
  close("blk.2.attn_q.weight", narrow_);
}

TEST_F(QuantizeFileTest, IndependentOfThreadCount) {
  ASSERT_TRUE(WriteInput());
  for (const FileType type :
       {FileType::kQ4_K_M, FileType::kQ6_K, FileType::kQ4_0, FileType::kBF16}) {
    std::set<std::string> contents;
    for (const int n_threads : {1, 2, 3, 8}) {
      QuantizeOptions options = Options(type);
      options.n_threads = n_threads;
      ASSERT_TRUE(QuantizeFile(in_, out_, options));
      contents.insert(ReadFile(out_));
    }
    EXPECT_EQ(contents.size(), 1u) << GetFileTypeInfo(type).name;
  }
}

TEST_F(QuantizeFileTest, TheInputMayBeTheOutput) {
  ASSERT_TRUE(WriteInput());
  ASSERT_TRUE(QuantizeFile(in_, out_, Options()));
  ASSERT_TRUE(QuantizeFile(in_, in_, Options()));
  EXPECT_EQ(ReadFile(in_), ReadFile(out_));
}

TEST_F(QuantizeFileTest, CopyKeepsEveryTensorAndDryRunWritesNothing) {
  ASSERT_TRUE(WriteInput());
  QuantizeOptions options = Options();
  options.dry_run = true;
  const auto dry = QuantizeFile(in_, out_, options);
  ASSERT_TRUE(dry);
  EXPECT_FALSE(std::filesystem::exists(out_));
  options.dry_run = false;
  const auto wet = QuantizeFile(in_, out_, options);
  ASSERT_TRUE(wet);
  EXPECT_EQ(dry->bytes_out, wet->bytes_out);
  options.copy = true;
  ASSERT_TRUE(QuantizeFile(in_, out_, options));
  EXPECT_EQ(ReadFile(in_), ReadFile(out_));
}

TEST_F(QuantizeFileTest, ValuesThatCannotBeStoredAreNamed) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf, 65505.0f}) {
    q_[7 * 512 + 3] = bad;
    q_[9 * 512] = nan;  // a later one does not hide the first
    ASSERT_TRUE(WriteInput());
    for (const int n_threads : {1, 3}) {
      QuantizeOptions options = Options();
      options.n_threads = n_threads;
      ExpectError(options, "'blk.1.attn_q.weight' row 7 column 3");
    }
  }
}

TEST_F(QuantizeFileTest, QuantisedInputNeedsConsent) {
  ASSERT_TRUE(WriteInput());
  const std::string q8 = (dir_ / "q8.gguf").string();
  ASSERT_TRUE(QuantizeFile(in_, q8, Options(FileType::kQ8_0)));
  std::filesystem::rename(q8, in_);
  ExpectError(Options(), "is Q8_0 already");
  QuantizeOptions options = Options();
  options.allow_requantize = true;
  EXPECT_TRUE(QuantizeFile(in_, out_, options));
}

TEST_F(QuantizeFileTest, StoppingKeepsTheOldFile) {
  ASSERT_TRUE(WriteInput());
  WriteBytes(out_, "precious");
  QuantizeOptions options = Options();
  options.on_progress = [](uint64_t done, uint64_t total) {
    EXPECT_LE(done, total);
    return false;
  };
  EXPECT_FALSE(QuantizeFile(in_, out_, options));
  EXPECT_EQ(ReadFile(out_), "precious");
}

TEST_F(QuantizeFileTest, ProgressReachesTheTotal) {
  ASSERT_TRUE(WriteInput());
  uint64_t last = 0, all = 1;
  QuantizeOptions options = Options();
  options.on_progress = [&](uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
    return true;
  };
  ASSERT_TRUE(QuantizeFile(in_, out_, options));
  EXPECT_EQ(last, all);
}

template <class T>
void Put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}
std::string LegacyImportance(const std::string& name,
                             const std::vector<float>& sums, int32_t calls) {
  std::string bytes;
  Put(bytes, int32_t{1});
  Put(bytes, static_cast<int32_t>(name.size()));
  bytes += name;
  Put(bytes, calls);
  Put(bytes, static_cast<int32_t>(sums.size()));
  for (const float v : sums) Put(bytes, v);
  Put(bytes, int32_t{5});
  Put(bytes, int32_t{4});
  return bytes + "text";
}

// Both layouts of the same importance give the same weights, and other weights
// than none.
TEST_F(QuantizeFileTest, ImportanceOfBothLayoutsIsUsed) {
  ASSERT_TRUE(WriteInput());
  std::vector<float> columns(512);
  for (float& v : columns) v = std::exp(2.0f * rng_.Normal());
  std::vector<float> sums = columns;
  for (float& v : sums) v *= 4.0f;
  const std::string legacy = (dir_ / "imatrix.dat").string();
  WriteBytes(legacy, LegacyImportance("blk.1.attn_q.weight", sums, 4));
  const std::string modern = (dir_ / "imatrix.gguf").string();
  io::GgufWriter w;
  const auto f32 = static_cast<uint32_t>(TensorType::kF32);
  const uint64_t sums_ne[] = {512, 1}, counts_ne[] = {1, 1};
  const std::vector<float> counts = {4.0f};
  ASSERT_TRUE(w.AddString("general.type", "imatrix"));
  ASSERT_TRUE(
      w.AddTensor("blk.1.attn_q.weight.in_sum2", f32, sums_ne, Bytes(sums)));
  ASSERT_TRUE(
      w.AddTensor("blk.1.attn_q.weight.counts", f32, counts_ne, Bytes(counts)));
  ASSERT_TRUE(w.WriteFile(modern));

  std::vector<std::vector<float>> results;
  for (const std::string& path : {std::string(), legacy, modern}) {
    QuantizeOptions options = Options();
    options.importance_path = path;
    size_t missing = 0;
    options.on_tensor = [&](const TensorReport& r) {
      missing += r.importance_missing;
    };
    const auto summary = QuantizeFile(in_, out_, options);
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(missing, path.empty() ? 0u : 2u);
    const auto file = io::GgufFile::Open(out_);
    ASSERT_TRUE(file);
    EXPECT_EQ(file->Find("quantize.imatrix.file") != nullptr, !path.empty());
    results.push_back(Values(*file, "blk.1.attn_q.weight"));
  }
  EXPECT_NE(results[0], results[1]);
  EXPECT_EQ(results[1], results[2]);
  const auto weighted_error = [&](const std::vector<float>& y) {
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      sum += columns[i % 512] * std::pow(y[i] - q_[i], 2);
    }
    return sum;
  };
  EXPECT_LT(weighted_error(results[1]), 0.9 * weighted_error(results[0]));
}

TEST_F(QuantizeFileTest, BadImportanceFilesAreRefused) {
  ASSERT_TRUE(WriteInput());
  const std::string path = (dir_ / "imatrix.dat").string();
  const std::vector<float> columns(512, 1.0f);
  const std::string good = LegacyImportance("blk.1.attn_q.weight", columns, 1);
  QuantizeOptions options = Options();
  options.importance_path = path;
  // Every cut that loses something that was announced.
  for (const size_t n :
       {size_t{0}, size_t{3}, size_t{7}, size_t{20}, size_t{30}, size_t{34},
        size_t{1000}, good.size() - 1}) {
    WriteBytes(path, good.substr(0, n));
    ExpectError(options, "imatrix.dat");
  }
  std::string bad = good;
  bad[3] = '\x7f';  // more entries than there are
  WriteBytes(path, bad);
  ExpectError(options, "imatrix.dat");
  for (const float v : {-1.0f, std::numeric_limits<float>::infinity()}) {
    std::vector<float> wrong = columns;
    wrong[9] = v;
    WriteBytes(path, LegacyImportance("blk.1.attn_q.weight", wrong, 1));
    ExpectError(options, "column 9");
  }
  WriteBytes(path, LegacyImportance("blk.1.attn_q.weight",
                                    std::vector<float>(511, 1.0f), 1));
  ExpectError(options, "511");
}

// The files of the data set were written by another engine's quantiser from
// these very F32 models: same types, same bytes.
TEST(QuantizeExternal, TensorsEqualAnotherEnginesQuantiser) {
  const auto data = test::ExternalData();
  if (!data) GTEST_SKIP() << test::kNoExternalData;
  struct Case {
    const char* folder;
    const char* model;
    const char* type;
  };
  const Case cases[] = {
      {"stories260K", "stories260K", "Q4_K_M"},
      {"babyllama-tok105", "babyllama-tok105", "Q4_K_M"},
      {"babyllama-tok105", "babyllama-tok105", "Q4_0"},
      {"babyllama-tok105", "babyllama-tok105", "Q8_0"},
  };
  for (const Case& c : cases) {
    const auto stem = *data / "models" / c.folder / c.model;
    const auto f32 = io::GgufFile::Open(stem.string() + "-f32.gguf");
    const auto theirs =
        io::GgufFile::Open(stem.string() + "-" + c.type + ".gguf");
    if (!f32 || !theirs) GTEST_SKIP() << stem << " is not there";
    const auto out = std::filesystem::temp_directory_path() /
                     "etalon_quantize_external.gguf";
    QuantizeOptions options;
    options.mix.file_type = *ParseFileType(c.type);
    const auto summary =
        QuantizeFile(stem.string() + "-f32.gguf", out.string(), options);
    ASSERT_TRUE(summary) << summary.error().message;
    const auto ours = io::GgufFile::Open(out.string());
    std::filesystem::remove(out);
    ASSERT_TRUE(ours);
    for (const io::GgufTensor& t : f32->tensors()) {
      const io::GgufTensor* a = ours->FindTensor(t.name);
      const io::GgufTensor* b = theirs->FindTensor(t.name);
      ASSERT_TRUE(a != nullptr && b != nullptr);
      EXPECT_EQ(a->type_id, b->type_id) << t.name;
      ASSERT_EQ(a->n_bytes, b->n_bytes) << t.name;
      EXPECT_EQ(std::memcmp(a->data, b->data, a->n_bytes), 0)
          << c.model << " " << c.type << " " << t.name;
    }
  }
}

}  // namespace
}  // namespace etalon::quantize
