// What the golden subcommands share.
#ifndef ETALON_CLI_GOLDEN_H_
#define ETALON_CLI_GOLDEN_H_

#include <string>

#include "cli/engine_options.h"
#include "reference/golden/pack.h"

namespace etalon::cli {

// The engine's backend with our quantisers, as somebody to be judged.
golden::Subject CpuSubject(const Engine& engine, ExecContext* ctx);

golden::ReadFile FolderReader(const std::string& folder);
golden::WriteFile FolderWriter(const std::string& folder);

struct GoldenModelOptions {
  EngineOptions engine;
  std::string tokens;
  std::string directory;
};
// A pack of every op of a run of profile strict on the cpu backend.
Expected<int> RunGoldenModel(const GoldenModelOptions& o);

}  // namespace etalon::cli

#endif  // ETALON_CLI_GOLDEN_H_
