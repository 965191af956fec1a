// The `etalon` program: subcommands over one argument parser. Each subcommand
// lives in its own file, which adds its flags and returns what to run.
#ifndef ETALON_CLI_APP_H_
#define ETALON_CLI_APP_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "etalon/status.h"

namespace etalon::cli {

// What a subcommand does once the flags are read: its exit status, or an error
// that Main turns into one line and a status.
using Action = std::function<Expected<int>()>;

// Each adds one subcommand to `app`; the action is called if it was chosen.
Action AddRun(CLI::App& app);
Action AddLogits(CLI::App& app);
Action AddPerplexity(CLI::App& app);
Action AddTokenize(CLI::App& app);
Action AddInfo(CLI::App& app);
Action AddQuantize(CLI::App& app);
Action AddGolden(CLI::App& app);
Action AddBench(CLI::App& app);
Action AddProfile(CLI::App& app);
Action AddTrain(CLI::App& app);

// The program. Never throws; exit statuses as in exit_code.h.
int Main(int argc, const char* const* argv);

// Rewrites the multi-letter short flags of other engines ("-ngl", "-ctk") to
// their long names, which is all the argument parser understands. A prompt is
// left alone, and tied to its flag where it looks like one: `-p -5` becomes
// `--prompt=-5`.
std::vector<std::string> RewriteShortFlags(std::vector<std::string> args);

}  // namespace etalon::cli

#endif  // ETALON_CLI_APP_H_
