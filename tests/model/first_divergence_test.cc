// A port with one wrong op in one layer of a 4-layer model: the judge names
// that op and layer, every time. The port's run is free (what follows the wrong
// op computes on wrong inputs and is off too): the first divergence counts.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "reference/golden/pack.h"
#include "reference/golden/report.h"
#include "reference/golden/trace.h"
#include "tests/model/session_fixture.h"

namespace etalon::model {
namespace {

enum class Fault {
  kGain,      // every element 2^-9 too large
  kTail,      // the last lane of every row is not computed
  kStaleRow,  // the last row is that of the first token
};

void Spoil(Fault fault, Span2D<float> x) {
  for (size_t r = 0; r < x.rows; ++r) {
    for (float& v : x.row(r))
      v *= fault == Fault::kGain ? 1.0f + 0x1p-9f : 1.0f;
    if (fault == Fault::kTail) x.row(r).back() = 0.0f;
  }
  if (fault != Fault::kStaleRow) return;
  const auto from = x.row(0);
  std::copy(from.begin(), from.end(), x.row(x.rows - 1).begin());
}

using Rows = std::vector<Span2D<float>>;

// What a call wrote; one entry for each case that the tracer makes of it.
template <class Args>
std::vector<Rows> Written(const Args& a) {
  if constexpr (requires { a.out.cols; }) {
    return {{a.out}};
  } else {
    const HeadsView<float> x = [&] {
      if constexpr (requires { a.positions; }) {
        return a.x;  // rotated in place
      } else {
        return a.out;
      }
    }();
    Rows heads;
    for (size_t h = 0; h < x.n_heads; ++h) {
      heads.emplace_back(x.data + h * x.head_stride, x.n_tokens, x.head_dim,
                         x.token_stride);
    }
    return {heads};
  }
}
std::vector<Rows> Written(const GemmArgs& a) {
  std::vector<Rows> parts;
  for (const GemmPart& part : a.parts) parts.push_back({part.out});
  return parts;
}
std::vector<Rows> Written(const KvWriteArgs& a) {
  Rows heads;
  auto* data = reinterpret_cast<float*>(a.cache.data);  // F32 in this test
  for (size_t h = 0; h < a.cache.n_kv_heads; ++h) {
    heads.emplace_back(
        data + h * a.cache.head_stride + a.pos * a.cache.pos_stride,
        a.x.n_tokens, a.cache.head_dim, a.cache.pos_stride);
  }
  return {heads};
}
std::vector<Rows> Written(const MoeRouterArgs& a) { return {{a.weights}}; }

// The cpu backend but for the call whose case has this number.
class WrongBackend {
 public:
  WrongBackend(int call, Fault fault)
      : backend_(CpuBackend()), call_(call), fault_(fault) {
    ForEachEntry([&]<class Args, auto Entry>() {
      backend_.*Entry = &WrongBackend::Run<Args, Entry>;
    });
    current = this;
  }
  const Backend& backend() const { return backend_; }

 private:
  template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
  static Status Run(const Args& args, ExecContext& ctx) {
    ETALON_RETURN_IF_ERROR((CpuBackend().*Entry)(args, ctx));
    for (const Rows& rows : Written(args)) {
      if (current->n_calls_++ != current->call_) continue;
      for (const Span2D<float>& x : rows) Spoil(current->fault_, x);
    }
    return {};
  }

  inline static WrongBackend* current = nullptr;
  Backend backend_;
  int call_;
  Fault fault_;
  int n_calls_ = 0;
};

class FirstDivergence : public ::testing::Test {
 protected:
  // What the model's run on a backend gives, case by case.
  static std::vector<std::pair<golden::Case, golden::TensorFile>> Trace(
      const Model& model, const Backend& backend) {
    std::vector<std::pair<golden::Case, golden::TensorFile>> all;
    const auto rope = MakeRopeFrequencies(model.hyperparameters().rope);
    EXPECT_TRUE(rope);
    golden::Tracer tracer(
        backend, rope->freq,
        [&](golden::Case c, golden::TensorFile outputs) -> Status {
          all.emplace_back(std::move(c), std::move(outputs));
          return {};
        });
    SessionOptions options;
    options.n_ctx = 8;
    options.n_batch = 4;
    options.backend = &tracer.backend();
    options.observer = &tracer;
    AllLogits(model, options, TestTokens(model, 4));
    EXPECT_TRUE(tracer.Finish());
    return all;
  }

  // Every op of the model wrong in turn; how many faults were judged.
  static size_t Judge(const test::ModelSpec& spec,
                      std::initializer_list<Fault> faults) {
    const auto model = LoadTestModel(spec);
    Config config;
    Workspace workspace;
    ExecContext ctx{&workspace, &config, 1};
    golden::Subject cpu;
    cpu.name = "cpu";
    cpu.backend = &CpuBackend();
    cpu.ctx = &ctx;
    std::map<std::string, std::vector<std::byte>> files;
    golden::PackWriter pack("model", [&](const std::string& path,
                                         std::span<const std::byte> bytes) {
      files[path].assign(bytes.begin(), bytes.end());
      return Status();
    });
    std::vector<golden::Case> cases;
    for (auto& [c, outputs] : Trace(*model, CpuBackend())) {
      EXPECT_TRUE(golden::CompleteCase(c, cpu));
      cases.push_back(c);
      EXPECT_TRUE(pack.Add(std::move(c)));
    }
    EXPECT_TRUE(pack.Finish());
    const auto read_pack =
        [&](const std::string& path) -> Expected<std::vector<std::byte>> {
      return files.at(path);
    };

    size_t n_judged = 0;
    for (const golden::Case& wrong : cases) {
      for (const Fault fault : faults) {
        const WrongBackend port(wrong.call, fault);
        std::map<std::string, std::vector<std::byte>> got;
        bool equivalent = false;
        for (const auto& [c, outputs] : Trace(*model, port.backend())) {
          got[c.id + ".safetensors"] = golden::WriteSafetensors(outputs);
          if (c.call != wrong.call) continue;
          equivalent = true;
          for (const golden::Output& out : wrong.outputs) {
            equivalent &= golden::StrictDigest(*outputs.Find(out.name)) ==
                          out.strict_sha256;
          }
        }
        if (equivalent) continue;
        golden::CheckOptions options;
        options.profile = *golden::FindShippedProfile("cpu-strict");
        options.fingerprints = false;
        options.got =
            [&](const std::string& path) -> Expected<std::vector<std::byte>> {
          return got.at(path);
        };
        const auto r = golden::CheckPack(read_pack, std::move(options));
        if (!r || r->FirstFailure() == golden::kNoIndex) {
          ADD_FAILURE() << wrong.id << ": not seen";
          continue;
        }
        const golden::CaseResult& first = r->cases[r->FirstFailure()];
        EXPECT_EQ(first.id, wrong.id);
        EXPECT_EQ(first.op, wrong.op);
        EXPECT_EQ(first.layer, wrong.layer);
        const std::string said = golden::FirstDivergence(*r);
        EXPECT_NE(said.find(wrong.module), std::string::npos) << said;
        if (wrong.layer >= 0) {
          EXPECT_NE(said.find(fmt::format("layer {}", wrong.layer)),
                    std::string::npos)
              << said;
        }
        ++n_judged;
      }
    }
    std::printf("  %s: %zu of %zu faults judged, the others change no bit\n",
                spec.arch.c_str(), n_judged, cases.size() * faults.size());
    return n_judged;
  }

  static test::ModelSpec Small(const std::string& arch) {
    test::ModelSpec spec;
    spec.arch = arch;
    spec.n_layers = 4;
    spec.model_dim = 32;
    spec.head_dim = 8;
    spec.ffn_dim = 32;
    spec.n_vocab = 40;
    return spec;
  }
};

// 16 ops a layer, and embedding, last norm and logits.
TEST_F(FirstDivergence, NamesTheOneWrongOpOfADenseModel) {
  EXPECT_GE(
      Judge(Small("qwen3"), {Fault::kGain, Fault::kTail, Fault::kStaleRow}),
      3u * (4 * 16 + 3) - 3);
}

// Quantised products: later ones quantise activations that are off.
TEST_F(FirstDivergence, NamesTheOneWrongOpOfAQuantisedMixtureOfExperts) {
  test::ModelSpec spec = Small("qwen3moe");
  spec.n_experts = 4;
  spec.n_experts_used = 2;
  spec.types = {TensorType::kQ8_0, TensorType::kQ4_0};
  EXPECT_GE(Judge(spec, {Fault::kGain}), 4u * 17 + 3);
}

// Its queries are scaled by position.
TEST_F(FirstDivergence, NamesTheOneWrongOpWithScaledQueries) {
  test::ModelSpec spec = Small("mistral3");
  spec.attn_temperature = 0.1f;
  EXPECT_GE(Judge(spec, {Fault::kGain}), 4u * 15 + 3);
}

}  // namespace
}  // namespace etalon::model
