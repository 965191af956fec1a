// Logits of real and of foreign models against those of another engine, where
// the files are: NAME.logits.f32 beside NAME.gguf holds [48][n_vocab] f32 for
// the tokens (37 i + 11) mod n_vocab.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/model/session_fixture.h"
#include "tests/util/external_data.h"

namespace etalon::model {
namespace {

struct Named {
  std::string name;
  std::unique_ptr<Model> model;
  std::vector<float> want;
  bool quantised;
};

class ExternalModels : public testing::Test {
 protected:
  void SetUp() override {
    const auto data = test::ExternalData();
    if (!data) GTEST_SKIP() << test::kNoExternalData;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(*data)) {
      const std::filesystem::path path = entry.path();
      if (path.extension() != ".gguf") continue;
      std::filesystem::path logits = path;
      logits.replace_extension(".logits.f32");
      if (!std::filesystem::exists(logits)) continue;
      auto model = Model::Load(path.string(), {});
      ASSERT_TRUE(model) << model.error().message;
      std::ifstream in(logits, std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(in), {});
      Named named{path.filename().string(), std::move(*model),
                  std::vector<float>(bytes.size() / 4), false};
      std::memcpy(named.want.data(), bytes.data(), bytes.size());
      for (const io::GgufTensor& t : named.model->file().tensors()) {
        named.quantised = named.quantised || IsQuantized(t.type());
      }
      ASSERT_EQ(named.want.size(), 48 * named.model->hyperparameters().n_vocab);
      models_.push_back(std::move(named));
    }
    ASSERT_FALSE(models_.empty());
  }

  std::vector<Named> models_;
};

double Bar(const Named& m) {
  if (!m.quantised) return 1e-9;
  return m.model->hyperparameters().n_experts > 0 ? 3e-2 : 1e-3;
}

TEST_F(ExternalModels, LogitsAreThoseOfTheOtherEngine) {
  for (const Named& m : models_) {
    const auto tokens = TestTokens(*m.model, 48);
    EXPECT_LE(Nmse(AllLogits(*m.model, {}, tokens), m.want), Bar(m)) << m.name;
  }
}

TEST_F(ExternalModels, ReferenceBackendInF32) {
  SessionOptions options;
  options.backend = &ReferenceBackend();
  for (const Named& m : models_) {
    if (m.quantised) continue;
    const auto tokens = TestTokens(*m.model, 48);
    EXPECT_LE(Nmse(AllLogits(*m.model, options, tokens), m.want), 1e-9)
        << m.name;
  }
}

TEST_F(ExternalModels, OneBitPattern) {
  for (const Named& m : models_) {
    const auto tokens = TestTokens(*m.model, 48);
    const auto want = AllLogits(*m.model, {}, tokens);
    for (const size_t n_batch : {1, 7}) {
      SessionOptions options;
      options.n_batch = n_batch;
      options.n_threads = n_batch == 1 ? 2 : 4;
      EXPECT_TRUE(SameBits(AllLogits(*m.model, options, tokens), want))
          << m.name << " " << n_batch;
    }
  }
}

}  // namespace
}  // namespace etalon::model
