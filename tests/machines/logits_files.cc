// usage: logits_files THREADS CHUNK TOKENS MODEL.gguf OUT.npy [MODEL OUT]...
// Logits of tokens 1 .. TOKENS as float32 [TOKENS, n_vocab]: what `etalon
// logits` writes, in a program that a cross compiler can build.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/self_test.h"
#include "io/npy.h"
#include "model/session.h"
#include "ops/self_tests.h"

namespace etalon {
namespace {

Status Write(const std::string& path, size_t n_tokens, int n_threads,
             size_t n_batch, const std::string& out) {
  ETALON_ASSIGN_OR_RETURN(const auto model, model::Model::Load(path, {}));
  model::SessionOptions options;
  options.n_ctx = n_tokens;
  options.n_batch = n_batch;
  options.n_threads = n_threads;
  ETALON_ASSIGN_OR_RETURN(const auto session,
                          model::Session::Create(*model, options));
  std::vector<int32_t> tokens;
  for (size_t t = 1; t <= n_tokens; ++t) {
    tokens.push_back(static_cast<int32_t>(t));
  }
  const size_t n_vocab = model->hyperparameters().n_vocab;
  std::vector<float> logits(n_tokens * n_vocab);
  ETALON_RETURN_IF_ERROR(
      session->Append(tokens, {logits.data(), n_tokens, n_vocab}));
  const std::array<uint64_t, 2> shape = {n_tokens, n_vocab};
  return io::WriteNpy<float>(out, shape, logits);
}

int Main(int argc, char** argv) {
  const auto report = RunSelfTests(ops::KernelSelfTests());
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().message.c_str());
    return 1;
  }
  for (int i = 4; i + 1 < argc; i += 2) {
    const Status status = Write(
        argv[i], static_cast<size_t>(std::atoi(argv[3])), std::atoi(argv[1]),
        static_cast<size_t>(std::atoi(argv[2])), argv[i + 1]);
    if (!status) {
      std::fprintf(stderr, "%s: %s\n", argv[i], status.error().message.c_str());
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace etalon

int main(int argc, char** argv) { return etalon::Main(argc, argv); }
