#include "cli/app.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <new>
#include <utility>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "etalon/version.h"
#include "io/mapped_file.h"

namespace etalon::cli {
namespace {

constexpr auto kShortFlags =
    std::to_array<std::pair<std::string_view, std::string_view>>(
        {{"-tb", "--threads-batch"},       {"-ub", "--ubatch-size"},
         {"-ngl", "--n-gpu-layers"},       {"-fa", "--flash-attn"},
         {"-ctk", "--cache-type-k"},       {"-ctv", "--cache-type-v"},
         {"-sys", "--system-prompt"},      {"-cnv", "--conversation"},
         {"-no-cnv", "--no-conversation"}, {"-mg", "--main-gpu"},
         {"-sm", "--split-mode"},          {"-dev", "--device"},
         {"-pg", "--n-prompt-gen"},        {"-oe", "--output-err"},
         {"-ncmoe", "--n-cpu-moe"},        {"-nkvo", "--no-kv-offload"},
         {"-lm", "--load-mode"},           {"-mmp", "--mmap"},
         {"-dio", "--direct-io"},          {"-embd", "--embeddings"},
         {"-ts", "--tensor-split"},        {"-ot", "--override-tensor"},
         {"-nopo", "--no-op-offload"}});

// The first line only: a message is one line whatever the parser says.
std::string OneLine(std::string message) {
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  while (!message.empty() && message.back() == ' ') message.pop_back();
  return message;
}

void PrintError(const std::string& message) {
  fmt::print(stderr, "error: {}\n", OneLine(message));
}

int RunAction(const Action& action) {
  Expected<int> status = action();
  if (!status) {
    if (StdoutClosed()) return kExitOk;
    PrintError(status.error().message);
    return ExitCode(status.error().code);
  }
  return *status;
}

Expected<int> Print(const std::string& text) {
  ETALON_RETURN_IF_ERROR(WriteStdout(text));
  return kExitOk;
}

int ParseAndRun(int argc, const char* const* argv) {
  CLI::App app(
      "Etalon: CPU inference engine that GPU ports are tested against.\n"
      "`etalon COMMAND --help` tells a command's flags.",
      "etalon");
  app.set_version_flag("--version", std::string("etalon ") + kVersion);
  // 0 commands is an error of ours below: the parser would say no more than
  // that one is missing where it was misspelt.
  app.require_subcommand(0, 1);
  app.failure_message([](const CLI::App*, const CLI::Error& e) {
    return std::string(e.what()) + "\n";
  });

  std::vector<std::pair<CLI::App*, Action>> commands;
  for (auto add : {AddRun, AddLogits, AddPerplexity, AddTokenize, AddInfo,
                   AddQuantize, AddBench, AddProfile, AddTrain, AddGolden}) {
    Action action = add(app);
    commands.emplace_back(app.get_subcommands({}).back(), std::move(action));
  }

  std::vector<std::string> args(argv + 1, argv + argc);
  args = RewriteShortFlags(std::move(args));
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp& e) {
    return RunAction([&] { return Print(app.help()); });
  } catch (const CLI::CallForVersion& e) {
    return RunAction([&] { return Print(std::string(e.what()) + "\n"); });
  } catch (const CLI::ParseError& e) {
    const bool command = !app.get_subcommands().empty();
    PrintError(command ? e.what()
                       : "\"" + args.front() +
                             "\": unknown command or flag (etalon --help "
                             "lists them)");
    return kExitUsage;
  }
  for (const auto& [command, action] : commands) {
    if (command->parsed()) return RunAction(action);
  }
  PrintError("no command given (etalon --help lists them)");
  return kExitUsage;
}

}  // namespace

std::vector<std::string> RewriteShortFlags(std::vector<std::string> args) {
  for (size_t i = 0; i < args.size(); ++i) {
    for (const auto& [from, to] : kShortFlags) {
      if (args[i] == from) args[i] = to;
    }
    // The value of these flags is anybody's text; where it looks like a flag
    // it is tied to its own, or the parser would take it for one.
    const bool prompt = args[i] == "-p" || args[i] == "--prompt";
    if (!prompt && args[i] != "--system-prompt") continue;
    if (i + 1 < args.size() && args[i + 1].starts_with('-')) {
      args[i] = (prompt ? "--prompt=" : "--system-prompt=") + args[i + 1];
      args.erase(args.begin() + static_cast<ptrdiff_t>(i) + 1);
    } else {
      ++i;
    }
  }
  return args;
}

int Main(int argc, const char* const* argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed stdout is an error value
  SetLogSink(StderrSink, nullptr, LogLevel::kWarning);
  InstallInterruptHandler();
  if (Status status = io::InstallSigbusHandler(); !status) {
    PrintError(status.error().message);
    return ExitCode(status.error().code);
  }
  try {
    return ParseAndRun(argc, argv);
  } catch (const std::bad_alloc&) {
    PrintError("out of memory");
    return kExitLimit;
  } catch (const std::exception& e) {
    PrintError(std::string("internal: ") + e.what());
    return kExitInternal;
  }
}

}  // namespace etalon::cli
