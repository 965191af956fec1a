// Models and logits for the session tests.
#ifndef ETALON_TESTS_MODEL_SESSION_FIXTURE_H_
#define ETALON_TESTS_MODEL_SESSION_FIXTURE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "model/session.h"
#include "tests/util/model_builder.h"
#include "tests/util/temp_dir.h"

namespace etalon::model {

// The mapping outlives the file's name.
inline std::unique_ptr<Model> LoadTestModel(const test::TestModel& m) {
  const test::TempDir dir;
  m.Write(dir.File("m.gguf"));
  auto model = Model::Load(dir.File("m.gguf"), {});
  EXPECT_TRUE(model) << model.error().message;
  return model ? std::move(*model) : nullptr;
}
inline std::unique_ptr<Model> LoadTestModel(const test::ModelSpec& spec) {
  return LoadTestModel(test::MakeModel(spec));
}

inline std::vector<int32_t> TestTokens(const Model& model, size_t n) {
  std::vector<int32_t> tokens(n);
  for (size_t i = 0; i < n; ++i) {
    tokens[i] =
        static_cast<int32_t>((37 * i + 11) % model.hyperparameters().n_vocab);
  }
  return tokens;
}

inline std::unique_ptr<Session> MakeSession(const Model& model,
                                            const SessionOptions& options) {
  auto session = Session::Create(model, options);
  EXPECT_TRUE(session) << session.error().message;
  return session ? std::move(*session) : nullptr;
}

// Logits of all positions, appended in one call.
inline std::vector<float> AllLogits(Session& session,
                                    std::span<const int32_t> tokens) {
  const size_t n_vocab = session.model().hyperparameters().n_vocab;
  // NaN where nothing is written.
  std::vector<float> logits(tokens.size() * n_vocab, NAN);
  const Status status = session.Append(
      tokens, Span2D<float>(logits.data(), tokens.size(), n_vocab));
  EXPECT_TRUE(status) << status.error().message;
  return logits;
}

inline std::vector<float> AllLogits(const Model& model,
                                    const SessionOptions& options,
                                    std::span<const int32_t> tokens) {
  return AllLogits(*MakeSession(model, options), tokens);
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// sum (a - b)^2 / sum b^2.
inline double Nmse(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    error += d * d;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return error / norm;
}

}  // namespace etalon::model

#endif  // ETALON_TESTS_MODEL_SESSION_FIXTURE_H_
