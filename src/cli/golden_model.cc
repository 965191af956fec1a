// `etalon golden model`: every op of a model's run as a case of a pack.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "cli/exit_code.h"
#include "cli/golden.h"
#include "cli/token_list.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "reference/golden/pack.h"
#include "reference/golden/trace.h"

namespace etalon::cli {
namespace {

namespace fs = std::filesystem;

// The first output that the run and the op alone, on the same inputs, gave
// different bits for; empty: none.
std::string Difference(const golden::Case& c, const golden::TensorFile& run) {
  for (const golden::Output& out : c.outputs) {
    const golden::Tensor* t = run.Find(out.name);
    if (t == nullptr || golden::StrictDigest(*t) != out.strict_sha256) {
      return out.name;
    }
  }
  return "";
}

}  // namespace

Expected<int> RunGoldenModel(const GoldenModelOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  std::error_code ec;
  if (fs::exists(fs::path(o.directory) / "manifest.json", ec)) {
    return BadInput(fmt::format("{}: there is a pack already", o.directory));
  }
  ETALON_ASSIGN_OR_RETURN(const auto model, LoadModel(o.engine, engine));
  const model::Hyperparameters& hp = model->hyperparameters();
  ETALON_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                          ParseTokens(o.tokens, hp.n_vocab));
  ETALON_ASSIGN_OR_RETURN(const RopeFrequencies rope,
                          MakeRopeFrequencies(hp.rope));

  Workspace workspace;
  ExecContext ctx{&workspace, &engine.config, engine.n_threads};
  const golden::Subject strict = CpuSubject(engine, &ctx);
  golden::PackWriter writer("model", FolderWriter(o.directory));
  const uint64_t n_bytes = fs::file_size(o.engine.model_path, ec);
  uint64_t done = 0;
  Progress bar("Tracing", n_bytes, ProgressUnit::kBytes);
  golden::Tracer tracer(
      CpuBackend(), rope.freq,
      [&](golden::Case c, golden::TensorFile outputs) -> Status {
        if (Interrupted()) return Fail(ErrorCode::kInternal, "interrupted");
        ETALON_RETURN_IF_ERROR(golden::CompleteCase(c, strict));
        if (const std::string out = Difference(c, outputs); !out.empty()) {
          return Fail(ErrorCode::kInternal,
                      fmt::format("{}: {} of the run has other bits than the "
                                  "op alone",
                                  c.id, out));
        }
        for (const golden::Input& i : c.inputs) done += i.data.bytes.size();
        bar.Update(std::min(done, n_bytes));
        return writer.Add(std::move(c));
      });

  ETALON_ASSIGN_OR_RETURN(model::SessionOptions session_options,
                          MakeSessionOptions(o.engine, engine, tokens.size()));
  session_options.n_batch = tokens.size();  // one pass: positions from 0
  session_options.backend = &tracer.backend();
  session_options.observer = &tracer;
  ETALON_ASSIGN_OR_RETURN(const auto session,
                          model::Session::Create(*model, session_options));
  std::vector<float> logits(tokens.size() * hp.n_vocab);
  Status ran = session->Append(
      tokens, Span2D<float>(logits.data(), tokens.size(), hp.n_vocab));
  if (ran) ran = tracer.Finish();
  if (Interrupted()) return kExitInterrupted;
  ETALON_RETURN_IF_ERROR(ran);
  bar.Finish();
  ETALON_RETURN_IF_ERROR(writer.Finish());
  return kExitOk;
}

}  // namespace etalon::cli
