// Whole models: prefill and decode speed of a GGUF file, warmed up, in tokens
// per second and, for decode, in GB/s of weights read.
//   model_speed MODEL.gguf [n_prompt] [n_decode] [depth] [repetitions]
//   [f32|f16]
// Tokens are (37 i + 11) mod n_vocab, so any vocabulary will do. `depth`
// positions are in the cache before each test.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/threads.h"
#include "model/session.h"

namespace etalon {
namespace {

double Seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

size_t Number(int argc, char** argv, int i, size_t def) {
  if (i >= argc) return def;
  size_t n = def;
  std::from_chars(argv[i], argv[i] + std::strlen(argv[i]), n);
  return n;
}

// Bytes that one token's products read: all matrices but the embedding table,
// unless that is the output matrix too; of a mixture, the experts used.
double WeightBytesPerToken(const model::Model& m) {
  double bytes = 0;
  const auto& hp = m.hyperparameters();
  const bool tied = m.file().FindTensor("output.weight") == nullptr;
  for (const io::GgufTensor& t : m.file().tensors()) {
    if (t.n_dims == 1 || (t.name == "token_embd.weight" && !tied)) continue;
    double share = 1;
    if (t.n_dims == 3) {
      share = static_cast<double>(hp.n_experts_used) /
              static_cast<double>(hp.n_experts);
    }
    bytes += share * static_cast<double>(t.n_bytes);
  }
  return bytes;
}

struct Tokens {
  explicit Tokens(size_t n, size_t n_vocab) {
    for (size_t i = 0; i < n; ++i) {
      ids.push_back(static_cast<int32_t>((37 * i + 11) % n_vocab));
    }
  }
  std::vector<int32_t> ids;
};

double Median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

Status Run(int argc, char** argv) {
  ETALON_ENSURE(argc >= 2,
                "usage: model_speed MODEL.gguf [n_prompt] [n_decode]"
                " [depth] [repetitions] [f32|f16]");
  const size_t n_prompt = Number(argc, argv, 2, 512);
  const size_t n_decode = Number(argc, argv, 3, 64);
  const size_t depth = Number(argc, argv, 4, 0);
  const size_t repetitions = std::max<size_t>(1, Number(argc, argv, 5, 3));
  const bool f16 = argc > 6 && std::strcmp(argv[6], "f16") == 0;
  const int n_threads = DefaultThreads().n_threads;

  model::LoadOptions load;
  load.n_threads = n_threads;
  ETALON_ASSIGN_OR_RETURN(const auto model, model::Model::Load(argv[1], load));
  const size_t n_vocab = model->hyperparameters().n_vocab;
  model::SessionOptions options;
  options.n_ctx = depth + std::max(n_prompt, n_decode) + 1;
  options.k_type = options.v_type = f16 ? TensorType::kF16 : TensorType::kF32;
  options.n_threads = n_threads;
  ETALON_ASSIGN_OR_RETURN(const auto session,
                          model::Session::Create(*model, options));
  const Tokens tokens(options.n_ctx, n_vocab);
  const std::span<const int32_t> ids(tokens.ids);
  std::vector<float> logits(n_vocab);
  const Span2D<float> row(logits.data(), 1, n_vocab);
  if (depth > 0) {
    ETALON_RETURN_IF_ERROR(session->Append(ids.first(depth), {}));
  }

  std::vector<double> prefill, decode;
  for (size_t r = 0; r <= repetitions; ++r) {  // the first warms up
    session->Truncate(depth);
    double start = Seconds();
    if (n_prompt > 0) {
      ETALON_RETURN_IF_ERROR(
          session->Append(ids.subspan(depth, n_prompt), row));
    }
    const double prefill_seconds = Seconds() - start;
    session->Truncate(depth);
    start = Seconds();
    for (size_t i = 0; i < n_decode; ++i) {
      ETALON_RETURN_IF_ERROR(session->Append(ids.subspan(depth + i, 1), row));
    }
    if (r == 0) continue;
    prefill.push_back(prefill_seconds);
    decode.push_back(Seconds() - start);
  }
  const std::string where = depth > 0 ? fmt::format(" @ d{}", depth) : "";
  if (n_prompt > 0) {
    fmt::print("pp{}{}: {:.1f} tokens/s\n", n_prompt, where,
               static_cast<double>(n_prompt) / Median(prefill));
  }
  if (n_decode > 0) {
    const double speed = static_cast<double>(n_decode) / Median(decode);
    fmt::print("tg{}{}: {:.2f} tokens/s, {:.1f} GB/s of weights\n", n_decode,
               where, speed, speed * WeightBytesPerToken(*model) * 1e-9);
  }
  return {};
}

}  // namespace
}  // namespace etalon

int main(int argc, char** argv) {
  const etalon::Status status = etalon::Run(argc, argv);
  if (!status) fmt::print(stderr, "error: {}\n", status.error().message);
  return status ? 0 : 1;
}
