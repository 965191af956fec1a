// Tensors: name, rank, shape and type are checked before any kernel runs, and
// no NaN or infinity gets past the load.
#include "model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "model/model.h"
#include "quant/block_formats.h"
#include "tests/util/model_builder.h"
#include "tests/util/temp_dir.h"

namespace etalon::model {
namespace {

using test::MakeModel;
using test::ModelSpec;
using test::TestModel;
using test::TestTensor;
using testing::HasSubstr;

Expected<std::unique_ptr<Model>> Load(const TestModel& m, int n_threads = 1) {
  const test::TempDir dir;
  m.Write(dir.File("m.gguf"));
  LoadOptions options;
  options.n_threads = n_threads;
  return Model::Load(dir.File("m.gguf"), options);
}

ModelSpec Spec(const std::string& arch = "llama") {
  ModelSpec spec;
  spec.arch = arch;
  spec.n_vocab = 40;
  spec.n_layers = 1;
  spec.qkv_bias = true;
  if (arch.ends_with("moe")) {
    spec.n_experts = 4;
    spec.n_experts_used = 2;
  }
  return spec;
}

// Changes the shape and keeps the file's other tensors as they are.
void Reshape(TestTensor& t, std::vector<uint64_t> ne) {
  t.ne = std::move(ne);
  size_t n = t.ne[0];
  for (size_t i = 1; i < t.ne.size(); ++i) n *= t.ne[i];
  t.bytes.resize(RowBytes(t.type, n));
}

TEST(Weights, EveryTensorIsNeeded) {
  for (const auto& [name, spec] : test::AllArchitectureSpecs()) {
    const TestModel whole = MakeModel(spec);
    for (const TestTensor& t : whole.tensors) {
      // Those that may be absent.
      if (t.name.ends_with(".bias") || t.name.ends_with(".scale") ||
          t.name == "output.weight" || t.name == "rope_freqs.weight") {
        continue;
      }
      TestModel m = whole;
      m.RemoveTensor(t.name);
      const auto model = Load(m);
      ASSERT_FALSE(model) << name << " " << t.name;
      EXPECT_EQ(model.error().code, ErrorCode::kBadInput);
      // Without the fused tensor three are looked for.
      const std::string want =
          t.name == "blk.0.attn_qkv.weight"   ? "blk.0.attn_q.weight"
          : t.name == "blk.1.attn_qkv.weight" ? "blk.1.attn_q.weight"
                                              : t.name;
      EXPECT_EQ(model.error().message, want + ": missing") << name;
    }
  }
}

TEST(Weights, EveryShapeIsChecked) {
  for (const auto& [name, spec] : test::AllArchitectureSpecs()) {
    const TestModel whole = MakeModel(spec);
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
      const TestTensor& t = whole.tensors[i];
      for (size_t dim = 0; dim < t.ne.size(); ++dim) {
        TestModel m = whole;
        std::vector<uint64_t> ne = t.ne;
        ++ne[dim];
        Reshape(m.tensors[i], ne);
        const auto model = Load(m);
        // Scales of the dense feed-forward are not read by every
        // architecture, output.bias by few.
        ASSERT_FALSE(model) << name << " " << t.name << " dim " << dim;
        EXPECT_EQ(model.error().code, ErrorCode::kBadInput);
        EXPECT_THAT(model.error().message,
                    testing::StartsWith(t.name + ": shape ["));
      }
    }
  }
}

TEST(Weights, MessageHasBothShapes) {
  TestModel m = MakeModel(Spec());
  Reshape(m.Tensor("blk.0.attn_q.weight"), {64, 32});
  auto model = Load(m);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message,
            "blk.0.attn_q.weight: shape [64,32], need [64,64]");

  m = MakeModel(Spec());
  Reshape(m.Tensor("blk.0.attn_norm.weight"), {64, 2});
  model = Load(m);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message,
            "blk.0.attn_norm.weight: shape [64,2], need [64]");
}

TEST(Weights, TrailingDimensionsOfOneAreNoDifference) {
  TestModel m = MakeModel(Spec());
  Reshape(m.Tensor("blk.0.attn_norm.weight"), {64, 1});
  Reshape(m.Tensor("blk.0.attn_q.weight"), {64, 64, 1, 1});
  const auto model = Load(m);
  EXPECT_TRUE(model) << model.error().message;
}

TEST(Weights, TypesThatCannotBeMultipliedAreRefused) {
  // I32, Q2_K, IQ4_NL, Q8_K: known to the format, 4 bytes or blocks.
  struct Case {
    uint32_t type_id;
    size_t block, bytes;
    const char* shown;
  };
  for (const Case& c :
       {Case{26, 1, 4, "I32"}, Case{10, 256, 84, "Q2_K"},
        Case{20, 32, 18, "IQ4_NL"}, Case{15, 256, 292, "Q8_K"}}) {
    ModelSpec spec = test::Quantised(Spec(), {TensorType::kQ8_0});
    for (const char* name :
         {"token_embd.weight", "blk.0.attn_q.weight", "output.weight"}) {
      TestModel m = MakeModel(spec);
      TestTensor& t = m.Tensor(name);
      t.bytes.assign(t.ne[0] * t.ne[1] / c.block * c.bytes, std::byte{0});
      t.type = static_cast<TensorType>(c.type_id);
      const auto model = Load(m);
      ASSERT_FALSE(model) << c.shown;
      EXPECT_THAT(model.error().message,
                  HasSubstr(fmt::format("{}: type {} is not supported", name,
                                        c.shown)));
    }
  }
}

TEST(Weights, VectorsAreUnquantised) {
  TestModel m = MakeModel(Spec());
  TestTensor& t = m.Tensor("blk.0.ffn_norm.weight");
  t.type = TensorType::kQ8_0;
  t.bytes.assign(2 * sizeof(BlockQ8_0), std::byte{0});
  const auto model = Load(m);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message,
            "blk.0.ffn_norm.weight: type Q8_0, need F32, F16 or BF16");
}

TEST(Weights, HalfPrecisionVectorsAreWidened) {
  TestModel m = MakeModel(Spec());
  for (const auto type : {TensorType::kF16, TensorType::kBF16}) {
    TestTensor& t = m.Tensor("output_norm.weight");
    t.type = type;
    t.bytes.resize(64 * 2);
    const uint16_t bits = type == TensorType::kF16 ? 0x3E00 : 0x3FC0;  // 1.5
    for (size_t i = 0; i < 64; ++i) std::memcpy(&t.bytes[i * 2], &bits, 2);
    const auto model = Load(m);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ((*model)->weights().output_norm, std::vector<float>(64, 1.5f));
  }
}

TEST(Weights, ZeroRopeFactorIsRefused) {
  ModelSpec spec = Spec();
  spec.rope_freqs = true;
  TestModel m = MakeModel(spec);
  std::memset(&m.Tensor("rope_freqs.weight").bytes[3 * 4], 0, 4);
  const auto model = Load(m);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message, "rope_freqs.weight[3]: 0");
}

TEST(Weights, FusedQkvEqualsThreeTensors) {
  ModelSpec spec = Spec();
  spec.fused_qkv = true;
  const TestModel fused = MakeModel(spec);
  const auto model = Load(fused);
  ASSERT_TRUE(model) << model.error().message;
  const layer::LayerWeights& w = (*model)->weights().layers[0];
  EXPECT_EQ(w.q.weights.rows, 64u);
  EXPECT_EQ(w.k.weights.rows, 32u);
  EXPECT_EQ(w.v.weights.rows, 32u);
  EXPECT_EQ(w.k.weights.data - w.q.weights.data, 64 * 64 * 4);
  EXPECT_EQ(w.v.weights.data - w.k.weights.data, 32 * 64 * 4);
  EXPECT_EQ(w.q.bias.size(), 64u);
  EXPECT_EQ(w.k.bias.size(), 32u);
  std::vector<float> bias(128);
  for (const TestTensor& t : fused.tensors) {
    if (t.name == "blk.0.attn_qkv.bias") {
      std::memcpy(bias.data(), t.bytes.data(), t.bytes.size());
    }
  }
  EXPECT_TRUE(std::equal(bias.begin(), bias.begin() + 64, w.q.bias.begin()));
  EXPECT_TRUE(
      std::equal(bias.begin() + 64, bias.begin() + 96, w.k.bias.begin()));
  EXPECT_TRUE(std::equal(bias.begin() + 96, bias.end(), w.v.bias.begin()));
}

TEST(Weights, TensorsThatNobodyReadsAreToldOnce) {
  TestModel m = MakeModel(Spec());
  m.tensors.push_back(m.Tensor("output_norm.weight"));
  m.tensors.back().name = "mystery.weight";
  m.tensors.push_back(m.Tensor("output_norm.weight"));
  m.tensors.back().name = "blk.0.attn_q.input_scale";  // nothing to tell
  const auto model = Load(m);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_THAT((*model)->Warnings(),
              testing::ElementsAre(HasSubstr("1 tensor")));
}

// Poison: element or block `index` of a tensor.
void PoisonF32(TestTensor& t, size_t index, uint32_t bits) {
  std::memcpy(&t.bytes[index * 4], &bits, 4);
}
void PoisonHalf(TestTensor& t, size_t offset, uint16_t bits) {
  std::memcpy(&t.bytes[offset], &bits, 2);
}

TEST(NonFiniteWeights, EveryBlockTypeIsSearched) {
  struct Case {
    TensorType type;
    std::vector<size_t> scale_offsets;  // of f16 (or the element) in a block
  };
  const std::vector<Case> cases = {
      {TensorType::kF16, {0}},
      {TensorType::kBF16, {0}},
      {TensorType::kQ4_0, {offsetof(BlockQ4_0, d)}},
      {TensorType::kQ4_1, {offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m)}},
      {TensorType::kQ5_0, {offsetof(BlockQ5_0, d)}},
      {TensorType::kQ5_1, {offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m)}},
      {TensorType::kQ8_0, {offsetof(BlockQ8_0, d)}},
      {TensorType::kQ4_K, {offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin)}},
      {TensorType::kQ5_K, {offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin)}},
      {TensorType::kQ6_K, {offsetof(BlockQ6_K, d)}}};
  for (const Case& c : cases) {
    ModelSpec spec = test::Quantised(Spec(), {c.type});
    spec.tied_output = true;
    const TestModel whole = MakeModel(spec);
    ASSERT_TRUE(Load(whole)) << TypeName(c.type);
    const size_t block_bytes = GetTypeTraits(c.type).block_bytes;
    const size_t per_row = 256 / GetTypeTraits(c.type).block_size;
    const bool bf16 = c.type == TensorType::kBF16;
    for (const size_t offset : c.scale_offsets) {
      for (const int pattern : {bf16 ? 0x7FC1 : 0x7E01,  // NaN
                                bf16 ? 0x7F80 : 0x7C00,  // +Inf
                                bf16 ? 0xFF80 : 0xFC00,  // -Inf
                                bf16 ? 0xFF81 : 0xFC01}) {
        const auto bits = static_cast<uint16_t>(pattern);  // signalling NaN
        TestModel m = whole;
        const size_t block = 5 * per_row + (per_row > 2 ? 2 : 0);
        PoisonHalf(m.Tensor("blk.0.ffn_up.weight"),
                   block * block_bytes + offset, bits);
        for (int n_threads : {1, 2}) {
          const auto model = Load(m, n_threads);
          ASSERT_FALSE(model) << TypeName(c.type) << " " << bits;
          EXPECT_EQ(model.error().code, ErrorCode::kBadInput);
          EXPECT_THAT(model.error().message,
                      testing::StartsWith("blk.0.ffn_up.weight: "));
          EXPECT_THAT(model.error().message,
                      HasSubstr(fmt::format(" {} (row 5,", block)));
          EXPECT_THAT(model.error().message, HasSubstr("is NaN or Inf"));
        }
      }
    }
  }
}

TEST(NonFiniteWeights, FirstInFileOrderWhateverTheThreads) {
  TestModel m = MakeModel(Spec());
  PoisonF32(m.Tensor("blk.0.ffn_down.weight"), 7, 0x7FC00000);
  PoisonF32(m.Tensor("blk.0.attn_v.weight"), 64 * 3 + 9, 0xFF800000);
  for (int n_threads = 1; n_threads <= 4; ++n_threads) {
    const auto model = Load(m, n_threads);
    ASSERT_FALSE(model);
    EXPECT_THAT(model.error().message,
                testing::StartsWith(
                    "blk.0.attn_v.weight: element 201 (row 3, file offset "));
  }
}

TEST(NonFiniteWeights, VectorsAreNamedWithTheirElement) {
  ModelSpec spec = Spec("qwen3moe");
  spec.scales = spec.output_bias = true;
  const TestModel whole = MakeModel(spec);
  for (const TestTensor& t : whole.tensors) {
    if (t.ne.size() != 1 || t.type != TensorType::kF32) continue;
    TestModel m = whole;
    const size_t last = t.ne[0] - 1;
    PoisonF32(m.Tensor(t.name), last, 0xFFC00001);
    const auto model = Load(m);
    ASSERT_FALSE(model) << t.name;
    EXPECT_THAT(model.error().message, testing::StartsWith(t.name));
    EXPECT_THAT(model.error().message, HasSubstr(std::to_string(last)));
  }
}

TEST(NonFiniteWeights, SubnormalScalesAndTheLargestAreFine) {
  ModelSpec spec = test::Quantised(Spec(), {TensorType::kQ4_K});
  TestModel m = MakeModel(spec);
  PoisonHalf(m.Tensor("blk.0.ffn_up.weight"), 0, 0x0001);
  PoisonHalf(m.Tensor("blk.0.ffn_up.weight"), 144, 0x83FF);
  PoisonHalf(m.Tensor("blk.0.ffn_up.weight"), 288, 0x7BFF);
  const auto model = Load(m);
  EXPECT_TRUE(model) << model.error().message;
}

TEST(NonFiniteWeights, TheCheckCanBeSkippedForMatricesOnly) {
  TestModel m = MakeModel(Spec());
  PoisonF32(m.Tensor("blk.0.attn_q.weight"), 0, 0x7FC00000);
  const test::TempDir dir;
  m.Write(dir.File("m.gguf"));
  LoadOptions options;
  options.check_weights = false;
  EXPECT_TRUE(Model::Load(dir.File("m.gguf"), options));

  PoisonF32(m.Tensor("output_norm.weight"), 1, 0x7FC00000);
  m.Write(dir.File("n.gguf"));
  const auto model = Model::Load(dir.File("n.gguf"), options);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message, "output_norm.weight[1]: nan is not finite");
}

TEST(Model, LoadReportsProgressUpToTheEnd) {
  const test::TempDir dir;
  MakeModel(Spec()).Write(dir.File("m.gguf"));
  LoadOptions options;
  uint64_t last = 0, total = 0;
  options.progress = [&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  };
  ASSERT_TRUE(Model::Load(dir.File("m.gguf"), options));
  EXPECT_GT(last, 0u);
  EXPECT_LE(last, total);
}

}  // namespace
}  // namespace etalon::model
