// `etalon run`: continues a prompt. Only the continuation goes to stdout.
#include <fmt/format.h>
#include <sys/mman.h>

#include <chrono>
#include <random>

#include "cli/app.h"
#include "cli/bundled_model.h"
#include "cli/engine_options.h"
#include "cli/escapes.h"
#include "cli/exit_code.h"
#include "cli/generate.h"
#include "cli/output.h"
#include "core/log.h"
#include "core/memory.h"

namespace etalon::cli {
namespace {

struct RunOptions {
  EngineOptions engine;
  std::string prompt;
  std::string file;
  std::string system_prompt;
  int64_t n_predict = -1;
  size_t n_ctx = 0;
  int64_t seed = -1;
  bool no_escape = false;
  bool ignore_eos = false;
  bool special = false;
  bool quiet = false;
  bool mlock = false;
  // Flags that have no meaning here, and their values.
  std::string ignored;
  bool ignored_flag = false;
  model::SamplerOptions sampler;
};

// Without -c: the model's own context, or less where the cache would take more
// than half of the memory there is.
size_t DefaultContext(const model::Model& model,
                      const model::SessionOptions& session) {
  const model::Hyperparameters& hp = model.hyperparameters();
  const auto per_256 =
      model::KvCache::Bytes(hp, 256, session.k_type, session.v_type);
  const uint64_t fits =
      std::max<uint64_t>(1, AvailableMemoryBytes() / 2 / *per_256 * 256);
  if (fits < hp.n_ctx_train) {
    Log(LogLevel::kWarning,
        "context {} instead of the model's {}: more would take over half of "
        "the memory available (choose with -c)",
        fits, hp.n_ctx_train);
  }
  return std::min(
      {uint64_t{hp.n_ctx_train}, fits, uint64_t{kMaxRopePositions}});
}

void PrintTimings(double load_seconds, const GenerateStats& s) {
  const auto line = [](const char* name, double seconds, size_t n,
                       const char* what) {
    const double ms = seconds * 1e3;
    const auto count = static_cast<double>(n);
    fmt::print(stderr,
               "{:>16} = {:10.2f} ms / {:5} {} ({:8.2f} ms per token, {:8.2f} "
               "tokens per second)\n",
               name, ms, n, what, n > 0 ? ms / count : 0.0,
               seconds > 0 ? count / seconds : 0.0);
  };
  fmt::print(stderr, "\n{:>16} = {:10.2f} ms\n", "load time",
             load_seconds * 1e3);
  line("prompt eval time", s.prompt_seconds, s.n_prompt, "tokens");
  line("eval time", s.decode_seconds, s.n_decoded, "runs  ");
  fmt::print(stderr, "{:>16} = {:10.2f} ms / {:5} tokens\n", "total time",
             (s.prompt_seconds + s.decode_seconds) * 1e3,
             s.n_prompt + s.n_decoded);
}

Expected<std::string> PromptText(const RunOptions& o) {
  std::string text = o.prompt;
  if (!o.file.empty()) {
    ETALON_ASSIGN_OR_RETURN(text, ReadText(o.file));
  } else if (!o.no_escape) {
    text = ProcessEscapes(text);
  }
  return o.system_prompt.empty() ? text : o.system_prompt + text;
}

uint64_t Seed(int64_t seed) {
  if (seed >= 0) return static_cast<uint64_t>(seed);
  std::random_device device;
  return device();
}

Expected<int> RunRun(RunOptions& o) {
  ETALON_RETURN_IF_ERROR(model::CheckSamplerOptions(o.sampler));
  if (o.engine.model_path.empty()) {
    o.engine.model_path = FindBundledModel();
    if (!o.engine.model_path.empty() && !o.quiet) {
      Log(LogLevel::kWarning, "no -m FILE: taking the bundled model {}",
          o.engine.model_path);
    }
  }
  ETALON_ASSIGN_OR_RETURN(const std::string prompt_text, PromptText(o));
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  const auto load_start = std::chrono::steady_clock::now();
  ETALON_ASSIGN_OR_RETURN(const auto model, LoadModel(o.engine, engine));
  if (o.mlock &&
      mlock(model->file().bytes().data(), model->file().bytes().size()) != 0) {
    Log(LogLevel::kWarning, "--mlock: the system refused to lock the model");
  }
  const text::Tokenizer* tokenizer = model->tokenizer();
  if (tokenizer == nullptr) {
    return BadInput(o.engine.model_path +
                    ": tokenizer.ggml.model \"no_vocab\": no vocabulary, so no "
                    "text can be read or written");
  }
  ETALON_ASSIGN_OR_RETURN(model::SessionOptions session_options,
                          MakeSessionOptions(o.engine, engine, o.n_ctx));
  if (o.n_ctx == 0) {
    session_options.n_ctx = DefaultContext(*model, session_options);
  }
  const std::vector<int32_t> prompt = tokenizer->Encode(prompt_text, {});
  if (prompt.empty()) {
    return BadInput(
        "prompt: empty, and the vocabulary adds no BOS to start from");
  }
  if (prompt.size() > session_options.n_ctx) {
    return BadInput(
        fmt::format("prompt: {} tokens do not fit the context of {} (-c)",
                    prompt.size(), session_options.n_ctx));
  }
  ETALON_ASSIGN_OR_RETURN(const auto session,
                          model::Session::Create(*model, session_options));
  const double load_seconds = std::chrono::duration<double>(
                                  std::chrono::steady_clock::now() - load_start)
                                  .count();

  o.sampler.seed = Seed(o.seed);
  model::Sampler sampler(o.sampler);
  Log(LogLevel::kInfo, "seed {}, {} threads, context {}", o.sampler.seed,
      engine.n_threads, session->n_ctx());
  const auto stats =
      Generate(*session, *tokenizer, sampler, prompt,
               {o.n_predict, o.ignore_eos, o.special, !o.quiet}, WriteStdout);
  if (!stats) return tl::unexpected(stats.error());
  if (!o.quiet) {
    if (stats->reason == StopReason::kContextFull) {
      Log(LogLevel::kWarning, "stopped: the context of {} is full (-c)",
          session->n_ctx());
    }
    PrintTimings(load_seconds, *stats);
  }
  return stats->reason == StopReason::kInterrupted ? kExitInterrupted : kExitOk;
}

// Flags of other engines' command lines: accepted, so that scripts keep
// working, and without effect here.
void AddIgnoredFlags(CLI::App& command, RunOptions& o) {
  for (const char* flag :
       {"--n-gpu-layers,--gpu-layers", "--threads-batch", "--ubatch-size",
        "--main-gpu", "--split-mode", "--device", "--keep"}) {
    command.add_option(flag, o.ignored, "accepted, no effect")
        ->group("Accepted for compatibility, without effect");
  }
  command.add_option("--flash-attn", o.ignored, "accepted, always on")
      ->expected(0, 1)
      ->group("Accepted for compatibility, without effect");
  for (const char* flag :
       {"--no-conversation", "--no-warmup", "--no-mmap", "--no-display-prompt",
        "--no-perf", "--no-context-shift", "--simple-io"}) {
    command.add_flag(flag, o.ignored_flag, "accepted, no effect")
        ->group("Accepted for compatibility, without effect");
  }
}

void AddSampling(CLI::App& command, RunOptions& o) {
  model::SamplerOptions& s = o.sampler;
  const char* group = "Sampling";
  command
      .add_option("--temp,--temperature", s.temperature,
                  "temperature; 0 takes the likeliest token (default 0.8)")
      ->group(group);
  command
      .add_option("--top-k", s.top_k,
                  "keep the k likeliest, 0 all (default 40)")
      ->group(group);
  command
      .add_option("--top-p", s.top_p,
                  "keep the likeliest up to this mass (default 0.95)")
      ->group(group);
  command
      .add_option("--min-p", s.min_p,
                  "drop below this share of the likeliest (default 0.05)")
      ->group(group);
  command
      .add_option("--repeat-last-n", s.repeat_last_n,
                  "tokens the penalties look at, -1 all (default 64)")
      ->group(group);
  command
      .add_option("--repeat-penalty", s.repeat_penalty,
                  "divide repeated logits, 1 off (default 1)")
      ->group(group);
  command
      .add_option("--presence-penalty", s.presence_penalty,
                  "subtract once per repeated token (default 0)")
      ->group(group);
  command
      .add_option("--frequency-penalty", s.frequency_penalty,
                  "subtract per repetition (default 0)")
      ->group(group);
  command.add_option("-s,--seed", o.seed, "-1: a new one each time")
      ->group(group);
  command.add_flag("--ignore-eos", o.ignore_eos, "go on after end of text")
      ->group(group);
}

}  // namespace

Action AddRun(CLI::App& app) {
  auto o = std::make_shared<RunOptions>();
  CLI::App* command =
      app.add_subcommand("run", "continue a prompt; the text goes to stdout");
  o->engine.AddModel(*command);
  CLI::Option* prompt =
      command->add_option("-p,--prompt", o->prompt, "text to continue")
          ->type_name("TEXT");
  command->add_option("-f,--file", o->file, "read the prompt from a file")
      ->excludes(prompt)
      ->type_name("FILE");
  command
      ->add_option("--system-prompt", o->system_prompt,
                   "-sys: text before the prompt")
      ->type_name("TEXT");
  command
      ->add_option("-n,--predict,--n-predict", o->n_predict,
                   "tokens to generate; -1: until the end (default -1)")
      ->envname("LLAMA_ARG_N_PREDICT")
      ->check(CLI::Range(int64_t{-2}, int64_t{1} << 31))
      ->type_name("N");
  command
      ->add_option("-c,--ctx-size", o->n_ctx,
                   "context in tokens (default: the model's)")
      ->envname("LLAMA_ARG_CTX_SIZE")
      ->check(CLI::Range(int64_t{0}, (int64_t{1} << 32) - 1))
      ->type_name("N");
  command->add_flag("--no-escape", o->no_escape,
                    "leave \\n, \\t, ... in the prompt as they are");
  command->add_flag("-e,--escape", o->ignored_flag,
                    "the default: \\n in the prompt is a newline");
  command->add_flag("--special", o->special, "print control tokens too");
  command->add_flag("-q,--quiet", o->quiet, "no timings, no progress");
  command->add_flag("--mlock", o->mlock, "keep the model in memory");
  o->engine.AddCompute(*command);
  o->engine.AddCache(*command);
  AddSampling(*command, *o);
  AddIgnoredFlags(*command, *o);
  return [o] { return RunRun(*o); };
}

}  // namespace etalon::cli
