// Flags that several subcommands share, and what they set up: the SIMD tier
// with its self-test, threads, the model, a session.
#ifndef ETALON_CLI_ENGINE_OPTIONS_H_
#define ETALON_CLI_ENGINE_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "core/threads.h"
#include "etalon/config.h"
#include "model/model.h"
#include "model/session.h"

namespace etalon::cli {

struct EngineOptions {
  std::string model_path;
  int n_threads = 0;  // 0: the machine's default
  std::string isa = "auto";
  std::string backend = "cpu";
  std::string profile = "strict";
  std::string cache_type_k = "f32";
  std::string cache_type_v = "f32";
  size_t n_batch = 0;  // 0: the engine's choice
  bool no_check = false;
  bool verbose = false;
  bool layer_debug = false;

  void AddModel(CLI::App& command);
  // Threads, tier, profile, backend. In `golden check` a profile is the port's.
  void AddCompute(CLI::App& command, bool with_profile = true);
  void AddCache(CLI::App& command);  // cache types, batch
};

// What the flags and the environment amount to. Setting it up selects the tier
// and runs the kernels' self-tests once.
struct Engine {
  Config config;
  int n_threads = 1;
  std::string threads_reason;
  const Backend* backend = nullptr;
};
Expected<Engine> SetUpEngine(const EngineOptions& options);

// Loads with a progress bar, prints the file's warnings.
Expected<std::unique_ptr<model::Model>> LoadModel(const EngineOptions& options,
                                                  const Engine& engine);

Expected<model::SessionOptions> MakeSessionOptions(const EngineOptions& options,
                                                   const Engine& engine,
                                                   size_t n_ctx);

// The whole of a regular file, or of stdin for "-".
Expected<std::string> ReadText(const std::string& path);

}  // namespace etalon::cli

#endif  // ETALON_CLI_ENGINE_OPTIONS_H_
