#include "cli/engine_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cli/app.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/self_test.h"
#include "io/mapped_file.h"
#include "ops/self_tests.h"
#include "profile/tier_advice.h"

namespace etalon::cli {
namespace {

Expected<TensorType> ParseCacheType(const char* flag, const std::string& name) {
  if (name == "f32") return TensorType::kF32;
  if (name == "f16") return TensorType::kF16;
  return InvalidArgument(
      fmt::format("{}: \"{}\" unknown, need f32 or f16", flag, name));
}

Status SelectTier(const std::string& isa, const Config& config) {
  if (isa == "auto") {
    if (config.isa) return SetActiveSimdTier(*config.isa);
    const std::string path = profile::TierAdvicePath();
    // Without advice nothing about the machine is looked up.
    if (path.empty() || access(path.c_str(), R_OK) != 0) return {};
    const auto tier = profile::LoadTierAdvice(path, profile::DescribeMachine());
    return tier ? SetActiveSimdTier(*tier) : Status();
  }
  ETALON_ASSIGN_OR_RETURN(const SimdTier tier, ParseSimdTier(isa));
  return SetActiveSimdTier(tier);
}

// A name, or a path: then the library registers its table.
Expected<const Backend*> SelectBackend(const std::string& name) {
  const Backend* backend = FindBackend(name);
  if (backend != nullptr) return backend;
  if (name.find('/') == std::string::npos) {
    return InvalidArgument(
        fmt::format("--backend: \"{}\" unknown, need cpu, reference or a path "
                    "to a shared library, ./lib.so",
                    name));
  }
  const size_t n_known = Backends().size();
  ETALON_RETURN_IF_ERROR(LoadBackend(name));
  return Backends()[n_known];
}

}  // namespace

void EngineOptions::AddModel(CLI::App& command) {
  command.add_option("-m,--model", model_path, "GGUF model file")
      ->envname("LLAMA_ARG_MODEL")
      ->type_name("FILE");
  command.add_flag("--no-check-tensors", no_check,
                   "skip the search for NaN and Inf in the weights");
}

void EngineOptions::AddCompute(CLI::App& command, bool with_profile) {
  command
      .add_option("-t,--threads", n_threads,
                  "threads (default: what affinity, cgroup quota and cores "
                  "allow; see `etalon info`)")
      ->envname("LLAMA_ARG_THREADS")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  command
      .add_option("--isa", isa,
                  "scalar, avx2, avx512, avx512-vnni, amx or auto; results are "
                  "the same bits on all (default auto, or ETALON_ISA)")
      ->type_name("TIER");
  command.add_flag("--layer-debug", layer_debug,
                   "a line on stderr for every stage of every layer: the "
                   "range of its values, or how many are NaN or infinite");
  if (with_profile) {
    command
        .add_option(
            "--profile", profile,
            "strict: one bit pattern everywhere; fast: bf16 matrix tiles "
            "for the attention of prompts where the machine has them, "
            "within the bound of docs/numerics.md (default strict)")
        ->check(CLI::IsMember({"strict", "fast"}))
        ->type_name("NAME");
  }
  command
      .add_option("--backend", backend,
                  "cpu, reference (fp64 formulas, slow) or a port's shared "
                  "library, ./lib.so (default cpu)")
      ->type_name("NAME");
  command.add_flag("-v,--verbose", verbose, "more messages on stderr");
}

void EngineOptions::AddCache(CLI::App& command) {
  command
      .add_option("--cache-type-k", cache_type_k,
                  "-ctk: type of cached keys, f32 or f16 (default f32)")
      ->envname("LLAMA_ARG_CACHE_TYPE_K")
      ->type_name("TYPE");
  command
      .add_option("--cache-type-v", cache_type_v,
                  "-ctv: type of cached values, f32 or f16 (default f32)")
      ->envname("LLAMA_ARG_CACHE_TYPE_V")
      ->type_name("TYPE");
  command
      .add_option("-b,--batch-size", n_batch,
                  "tokens per prefill chunk; does not change results")
      ->envname("LLAMA_ARG_BATCH")
      ->check(CLI::Range(size_t{1}, size_t{65536}))
      ->type_name("N");
}

Expected<Engine> SetUpEngine(const EngineOptions& options) {
  Engine engine;
  if (options.verbose) SetLogSink(StderrSink, nullptr, LogLevel::kDebug);
  ETALON_ASSIGN_OR_RETURN(engine.config, ConfigFromEnvironment());
  if (options.profile == "fast") engine.config.profile = Profile::kFast;
  if (options.layer_debug) engine.config.layer_debug = true;
  // The stages' lines are of level info.
  if (engine.config.layer_debug && !options.verbose) {
    SetLogSink(StderrSink, nullptr, LogLevel::kInfo);
  }
  ETALON_RETURN_IF_ERROR(SelectTier(options.isa, engine.config));
  ETALON_ASSIGN_OR_RETURN(const SelfTestReport report,
                          RunSelfTests(ops::KernelSelfTests()));
  Log(LogLevel::kInfo, "kernels: {} (self-test {:.1f} ms)",
      SimdTierName(report.tier), report.seconds * 1e3);

  const ThreadBudget budget = DefaultThreads();
  if (options.n_threads > 0) {
    engine.n_threads = options.n_threads;
    engine.threads_reason = "asked for";
  } else if (engine.config.n_threads) {
    engine.n_threads = *engine.config.n_threads;
    engine.threads_reason = "from the environment";
  } else {
    engine.n_threads = budget.n_threads;
    engine.threads_reason = budget.reason;
  }
  if (engine.n_threads > budget.n_threads) {
    Log(LogLevel::kInfo, "{} threads exceed what this machine gives: {}",
        engine.n_threads, budget.reason);
  }
  ETALON_ASSIGN_OR_RETURN(engine.backend, SelectBackend(options.backend));
  return engine;
}

Expected<std::unique_ptr<model::Model>> LoadModel(const EngineOptions& options,
                                                  const Engine& engine) {
  if (options.model_path.empty()) {
    return InvalidArgument("no model: give one with -m FILE");
  }
  std::unique_ptr<Progress> bar;
  model::LoadOptions load;
  load.n_threads = engine.n_threads;
  load.check_weights = !options.no_check;
  load.progress = [&bar](uint64_t done, uint64_t total) {
    if (!bar) {
      bar = std::make_unique<Progress>("Loading", total, ProgressUnit::kBytes);
    }
    bar->Update(done);
  };
  auto model = model::Model::Load(options.model_path, load);
  bar.reset();
  if (!model) {
    Error e = std::move(model).error();
    // Messages of the system already name the file.
    if (e.message.find(options.model_path) == std::string::npos) {
      e.message = options.model_path + ": " + e.message;
    }
    return tl::unexpected(std::move(e));
  }
  for (const std::string& warning : (*model)->Warnings()) {
    Log(LogLevel::kWarning, "{}: {}", options.model_path, warning);
  }
  return model;
}

Expected<model::SessionOptions> MakeSessionOptions(const EngineOptions& options,
                                                   const Engine& engine,
                                                   size_t n_ctx) {
  model::SessionOptions s;
  s.n_ctx = n_ctx;
  if (options.n_batch > 0) s.n_batch = options.n_batch;
  ETALON_ASSIGN_OR_RETURN(
      s.k_type, ParseCacheType("--cache-type-k", options.cache_type_k));
  ETALON_ASSIGN_OR_RETURN(
      s.v_type, ParseCacheType("--cache-type-v", options.cache_type_v));
  s.n_threads = engine.n_threads;
  s.backend = engine.backend;
  s.config = engine.config;
  return s;
}

Expected<std::string> ReadText(const std::string& path) {
  if (path != "-") {
    ETALON_ASSIGN_OR_RETURN(const io::MappedFile file,
                            io::MappedFile::Open(path));
    return std::string(reinterpret_cast<const char*>(file.bytes().data()),
                       file.bytes().size());
  }
  std::string text;
  char buffer[65536];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, stdin)) {
    text.append(buffer, n);
  }
  if (std::ferror(stdin)) return Fail(ErrorCode::kIo, "reading stdin failed");
  return text;
}

}  // namespace etalon::cli
