// `etalon profile`: what this machine can do, and how near each op of a model
// comes to it.
#include <fmt/format.h>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "profile/roofs.h"

namespace etalon::cli {
namespace {

struct ProfileOptions {
  EngineOptions engine;
  bool roofs = false, remeasure = false;
};

// Those remembered, or measured now and remembered.
Expected<profile::Roofs> GetRoofs(const profile::Machine& machine,
                                  bool remeasure) {
  const std::string path = profile::RoofCachePath();
  if (!remeasure) {
    if (auto roofs = profile::LoadRoofs(path, machine)) return *roofs;
  }
  fmt::print(stderr, "measuring this machine's roofs, about ten seconds\n");
  ETALON_ASSIGN_OR_RETURN(profile::Roofs roofs,
                          MeasureRoofs(machine, Interrupted, nullptr));
  if (Interrupted()) return roofs;
  if (Status saved = SaveRoofs(path, roofs); !saved) {
    Log(LogLevel::kWarning, "roofs are not remembered: {}",
        saved.error().message);
  }
  return roofs;
}

Expected<int> RunProfile(const ProfileOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  const profile::Machine machine = profile::DescribeMachine();
  ETALON_ASSIGN_OR_RETURN(const profile::Roofs roofs,
                          GetRoofs(machine, o.remeasure));
  if (Interrupted()) return kExitInterrupted;
  std::string text = fmt::format("machine: {}\n", MachineText(machine));
  text += RoofsText(roofs);
  ETALON_RETURN_IF_ERROR(WriteStdout(text));
  return kExitOk;
}

}  // namespace

Action AddProfile(CLI::App& app) {
  auto o = std::make_shared<ProfileOptions>();
  CLI::App* c = app.add_subcommand(
      "profile", "how close each op comes to what this machine can do");
  c->add_flag("--roofs", o->roofs, "the machine alone: its measured roofs");
  c->add_flag("--remeasure", o->remeasure,
              "measure the roofs again, whatever is remembered");
  o->engine.AddCompute(*c);
  return [o] { return RunProfile(*o); };
}

}  // namespace etalon::cli
