#include "quantize/type_mix.h"

#include <gtest/gtest.h>

#include <string>

namespace etalon::quantize {
namespace {

using Names = std::vector<std::string>;

struct Model {
  MixModel model;
  Names names;
  std::vector<std::array<uint64_t, 4>> shapes;

  void Add(const std::string& name, uint64_t width, uint64_t rows,
           uint64_t experts = 1) {
    names.push_back(name);
    shapes.push_back({width, rows, experts, 1});
  }
  std::vector<MixTensor> Tensors() const {
    std::vector<MixTensor> tensors;
    for (size_t i = 0; i < names.size(); ++i) {
      const uint32_t n_dims = shapes[i][2] > 1 ? 3 : shapes[i][1] > 1 ? 2 : 1;
      tensors.push_back({names[i], n_dims, shapes[i]});
    }
    return tensors;
  }
  std::optional<TensorType> TypeOf(const std::string& name,
                                   const MixOptions& options) const {
    const auto choices = ChooseTypes(model, Tensors(), options);
    EXPECT_TRUE(choices);
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] == name) return (*choices)[i].type;
    }
    ADD_FAILURE() << "no tensor " << name;
    return std::nullopt;
  }
};

Model Llama(uint64_t n_layers, bool tied, uint64_t width = 4096) {
  Model m;
  m.model = {"llama", n_layers, 0, 32, 8, false};
  m.Add("token_embd.weight", width, 32000);
  for (uint64_t layer = 0; layer < n_layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    m.Add(prefix + "attn_norm.weight", width, 1);
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output",
                             "ffn_gate", "ffn_up", "ffn_down"}) {
      m.Add(prefix + name + ".weight", width, 1024);
    }
  }
  m.Add("output_norm.weight", width, 1);
  if (!tied) m.Add("output.weight", width, 32000);
  return m;
}

MixOptions Options(FileType type) {
  MixOptions options;
  options.file_type = type;
  return options;
}

// The published layout of Q4_K_M files of 32-layer models.
TEST(TypeMix, Q4KMGivesMoreBitsToTheKnownLayers) {
  const Model m = Llama(32, /*tied=*/false);
  const MixOptions options = Options(FileType::kQ4_K_M);
  const std::vector<int> more = {0,  1,  2,  3,  6,  9,  12, 15,
                                 18, 21, 24, 27, 28, 29, 30, 31};
  for (int layer = 0; layer < 32; ++layer) {
    const bool expected =
        std::find(more.begin(), more.end(), layer) != more.end();
    const TensorType type = expected ? TensorType::kQ6_K : TensorType::kQ4_K;
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    EXPECT_EQ(m.TypeOf(prefix + "attn_v.weight", options), type) << layer;
    EXPECT_EQ(m.TypeOf(prefix + "ffn_down.weight", options), type) << layer;
    EXPECT_EQ(m.TypeOf(prefix + "attn_q.weight", options), TensorType::kQ4_K);
    EXPECT_EQ(m.TypeOf(prefix + "attn_norm.weight", options), std::nullopt);
  }
  EXPECT_EQ(m.TypeOf("output.weight", options), TensorType::kQ6_K);
  EXPECT_EQ(m.TypeOf("token_embd.weight", options), TensorType::kQ4_K);
}

TEST(TypeMix, Q4KSGivesFiveBitsToTheFirstLayers) {
  const Model m = Llama(32, /*tied=*/false);
  const MixOptions options = Options(FileType::kQ4_K_S);
  EXPECT_EQ(m.TypeOf("blk.3.attn_v.weight", options), TensorType::kQ5_K);
  EXPECT_EQ(m.TypeOf("blk.4.attn_v.weight", options), TensorType::kQ4_K);
  EXPECT_EQ(m.TypeOf("blk.3.ffn_down.weight", options), TensorType::kQ5_K);
  EXPECT_EQ(m.TypeOf("blk.31.ffn_down.weight", options), TensorType::kQ4_K);
}

TEST(TypeMix, TiedEmbeddingsAreTreatedAsTheOutput) {
  const Model m = Llama(2, /*tied=*/true);
  EXPECT_EQ(m.TypeOf("token_embd.weight", Options(FileType::kQ4_0)),
            TensorType::kQ6_K);
  EXPECT_EQ(m.TypeOf("token_embd.weight", Options(FileType::kQ8_0)),
            TensorType::kQ8_0);
  EXPECT_EQ(m.TypeOf("token_embd.weight", Options(FileType::kF16)),
            TensorType::kF16);
}

TEST(TypeMix, FallsBackWhereTheWidthDoesNotFit) {
  struct Case {
    FileType file_type;
    uint64_t width;
    TensorType expected;
    std::optional<TensorType> wanted;
  };
  const Case cases[] = {
      {FileType::kQ4_K_M, 96, TensorType::kQ5_0, TensorType::kQ4_K},
      {FileType::kQ5_K_M, 96, TensorType::kQ5_1, TensorType::kQ5_K},
      {FileType::kQ6_K, 96, TensorType::kQ8_0, TensorType::kQ6_K},
      {FileType::kQ4_K_M, 100, TensorType::kF16, TensorType::kQ4_K},
      {FileType::kQ4_0, 100, TensorType::kF16, TensorType::kQ4_0},
      {FileType::kQ4_0, 96, TensorType::kQ4_0, std::nullopt},
      {FileType::kBF16, 100, TensorType::kBF16, std::nullopt},
  };
  for (const Case& c : cases) {
    Model m;
    m.model = {"llama", 1, 0, 1, 1, false};
    m.Add("blk.0.attn_q.weight", c.width, 8);
    const auto choices =
        ChooseTypes(m.model, m.Tensors(), Options(c.file_type));
    ASSERT_TRUE(choices);
    EXPECT_EQ((*choices)[0].type, c.expected) << c.width;
    EXPECT_EQ((*choices)[0].wanted, c.wanted) << c.width;
  }
}

TEST(TypeMix, ExpertsAndRouters) {
  Model m;
  m.model = {"llama", 1, 8, 32, 8, false};
  m.Add("blk.0.attn_k.weight", 256, 64);
  m.Add("blk.0.attn_v.weight", 256, 64);
  m.Add("blk.0.attn_output.weight", 256, 64);
  m.Add("blk.0.ffn_gate_inp.weight", 256, 8);
  m.Add("blk.0.ffn_up_exps.weight", 256, 64, 8);
  const MixOptions options = Options(FileType::kQ4_K_M);
  EXPECT_EQ(m.TypeOf("blk.0.attn_k.weight", options), TensorType::kQ8_0);
  EXPECT_EQ(m.TypeOf("blk.0.attn_v.weight", options), TensorType::kQ8_0);
  EXPECT_EQ(m.TypeOf("blk.0.attn_output.weight", options), TensorType::kQ5_K);
  EXPECT_EQ(m.TypeOf("blk.0.ffn_gate_inp.weight", options), std::nullopt);
  EXPECT_EQ(m.TypeOf("blk.0.ffn_up_exps.weight", options), TensorType::kQ4_K);
}

TEST(TypeMix, WhatTheUserAsksForWins) {
  const Model m = Llama(32, /*tied=*/false);
  MixOptions options = Options(FileType::kQ4_K_M);
  options.pure = true;
  EXPECT_EQ(m.TypeOf("output.weight", options), TensorType::kQ4_K);
  EXPECT_EQ(m.TypeOf("blk.0.attn_v.weight", options), TensorType::kQ4_K);
  options.pure = false;
  options.leave_output_tensor = true;
  EXPECT_EQ(m.TypeOf("output.weight", options), std::nullopt);
  options.leave_output_tensor = false;
  options.output_tensor_type = TensorType::kQ8_0;
  options.token_embedding_type = TensorType::kF16;
  options.tensor_types = {{"blk\\.[0-3]\\.ffn_up", TensorType::kQ5_K},
                          {"ffn_up", TensorType::kQ4_0}};
  EXPECT_EQ(m.TypeOf("output.weight", options), TensorType::kQ8_0);
  EXPECT_EQ(m.TypeOf("token_embd.weight", options), TensorType::kF16);
  EXPECT_EQ(m.TypeOf("blk.3.ffn_up.weight", options), TensorType::kQ5_K);
  EXPECT_EQ(m.TypeOf("blk.4.ffn_up.weight", options), TensorType::kQ4_0);
}

TEST(TypeMix, ABadPatternIsAnErrorThatQuotesIt) {
  const Model m = Llama(1, /*tied=*/true);
  MixOptions options;
  options.tensor_types = {{"attn_(", TensorType::kQ8_0}};
  const auto choices = ChooseTypes(m.model, m.Tensors(), options);
  ASSERT_FALSE(choices);
  EXPECT_NE(choices.error().message.find("'attn_('"), std::string::npos);
}

TEST(FileTypes, NamesNumbersAndAliases) {
  EXPECT_EQ(ParseFileType("Q4_K_M"), FileType::kQ4_K_M);
  EXPECT_EQ(ParseFileType("q4_k"), FileType::kQ4_K_M);
  EXPECT_EQ(ParseFileType("q5_k"), FileType::kQ5_K_M);
  EXPECT_EQ(ParseFileType("15"), FileType::kQ4_K_M);
  EXPECT_EQ(ParseFileType("0"), FileType::kF32);
  for (const char* bad : {"", "Q4", "Q3_K_M", "99", "q4_k_m "}) {
    const auto type = ParseFileType(bad);
    ASSERT_FALSE(type) << bad;
    EXPECT_NE(type.error().message.find("Q4_K_M"), std::string::npos);
  }
}

}  // namespace
}  // namespace etalon::quantize
