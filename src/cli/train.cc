// `etalon train`: a small model from plain text.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "train/trainer.h"

namespace etalon::cli {
namespace {

struct TrainCommand {
  train::TrainOptions options;
  EngineOptions engine;
};

Status Check(const train::TrainOptions& o) {
  ETALON_ENSURE(
      o.adamw.learning_rate > 0.0f && o.adamw.learning_rate <= 1.0f,
      fmt::format("--lr {}: need a number in (0, 1]", o.adamw.learning_rate));
  ETALON_ENSURE(o.adamw.clip > 0.0f,
                fmt::format("--clip {}: need a number > 0", o.adamw.clip));
  ETALON_ENSURE(o.adamw.weight_decay >= 0.0f && o.adamw.weight_decay < 1.0f,
                fmt::format("--weight-decay {}: need a number in [0, 1)",
                            o.adamw.weight_decay));
  ETALON_ENSURE(o.valid_every != 1,
                "--valid-every 1: nothing would be left to train on");
  return {};
}

Expected<int> RunTrain(TrainCommand& c) {
  ETALON_RETURN_IF_ERROR(Check(c.options));
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(c.engine));
  train::TrainOptions& o = c.options;
  o.n_threads = engine.n_threads;
  if (o.name.empty()) {
    o.name = std::filesystem::path(o.output).stem().string();
  }
  std::unique_ptr<Progress> bar;
  train::TrainReport report;
  report.note = [&](const std::string& line) {
    fmt::print(stderr, "{}\n", line);
  };
  const uint64_t step_tokens = o.shape.seq_len * o.n_windows * o.n_accumulate;
  uint64_t before = 0;  // the bar's clock starts after the first step
  report.on_step = [&](const train::CurvePoint& p, uint64_t tokens) {
    if (!bar) {
      bar = std::make_unique<Progress>("Training",
                                       (o.n_steps - p.step) * step_tokens,
                                       ProgressUnit::kTokens);
      before = tokens;
    }
    bar->SetLabel(
        fmt::format("step {}/{} loss {:.3f}", p.step, o.n_steps, p.train_loss));
    bar->Update(tokens - before);
    if (p.valid_loss >= 0) {
      bar->Finish();
      fmt::print(stderr, "step {}: loss {:.4f}, validation {:.4f}\n", p.step,
                 p.train_loss, p.valid_loss);
    }
    return !Interrupted();
  };
  const auto summary = train::Train(o, report);
  if (bar) bar->Finish();
  if (!summary) return tl::unexpected(summary.error());
  if (!summary->finished) {
    fmt::print(
        stderr,
        "stopped after step {}: wrote {} as it is; the same command goes "
        "on\n",
        summary->steps, o.output);
    return kExitInterrupted;
  }
  fmt::print(stderr, "wrote {}\n", o.output);
  if (summary->valid_loss >= 0) {
    fmt::print(stderr,
               "validation: loss {:.5f} over {} tokens, {:.5f} bits per byte\n",
               summary->valid_loss, summary->valid_tokens,
               summary->bits_per_byte);
  }
  return kExitOk;
}

void AddShape(CLI::App& command, train::NetShape& s) {
  command.add_option("--vocab", s.n_vocab, "tokens of the vocabulary")
      ->capture_default_str();
  command.add_option("--layers", s.n_layers, "layers")->capture_default_str();
  command.add_option("--dim", s.model_dim, "width of the residual stream")
      ->capture_default_str();
  command.add_option("--heads", s.n_heads, "query heads")
      ->capture_default_str();
  command.add_option("--kv-heads", s.n_kv_heads, "key and value heads")
      ->capture_default_str();
  command.add_option("--head-dim", s.head_dim, "width of a head")
      ->capture_default_str();
  command.add_option("--ffn-dim", s.ffn_dim, "width of the feed-forward part")
      ->capture_default_str();
  command.add_option("--context", s.seq_len, "tokens of a window")
      ->capture_default_str();
}

void AddSchedule(CLI::App& command, train::TrainOptions& o) {
  command.add_option("--steps", o.n_steps, "optimiser steps")
      ->capture_default_str();
  command.add_option("--batch", o.n_windows, "windows per pass")
      ->capture_default_str();
  command.add_option("--accumulate", o.n_accumulate, "passes per step")
      ->capture_default_str();
  command.add_option("--lr", o.adamw.learning_rate, "peak learning rate")
      ->capture_default_str();
  command.add_option("--warmup", o.adamw.warmup_steps, "warm-up steps")
      ->capture_default_str();
  command.add_option("--weight-decay", o.adamw.weight_decay, "of matrices")
      ->capture_default_str();
  command.add_option("--clip", o.adamw.clip, "largest gradient norm")
      ->capture_default_str();
  command.add_option("--seed", o.seed, "seed of everything random")
      ->capture_default_str();
  command
      .add_option("--valid-every", o.valid_every,
                  "every Nth document is for validation, 0: none")
      ->capture_default_str();
  command.add_option("--eval-every", o.eval_every, "steps between validations")
      ->capture_default_str();
  command
      .add_option("--checkpoint-every", o.checkpoint_every,
                  "steps between checkpoints")
      ->capture_default_str();
}

}  // namespace

Action AddTrain(CLI::App& app) {
  auto c = std::make_shared<TrainCommand>();
  c->options.shape.n_vocab = 4096;
  CLI::App* command = app.add_subcommand(
      "train", "train a small model on plain text (llama architecture, F32)");
  command->footer(
      "Documents are separated by two blank lines. OUT.checkpoint is replaced "
      "as the\nrun goes, and the same command resumes from it; OUT.csv and "
      "OUT.svg hold the\nloss. Same text, options and seed: the same bits, for "
      "any number of threads.");
  command->add_option("--text", c->options.text_paths, "plain text")
      ->type_name("FILE...")
      ->required();
  command->add_option("-o,--out", c->options.output, "model to write (GGUF)")
      ->type_name("FILE")
      ->required();
  command->add_option("--name", c->options.name, "name in the model's file");
  command
      ->add_option("--export-tokens", c->options.export_tokens,
                   "write PREFIX.{train,valid}.i32, the encoded text")
      ->type_name("PREFIX");
  AddShape(*command, c->options.shape);
  AddSchedule(*command, c->options);
  c->engine.AddCompute(*command);
  return [c] { return RunTrain(*c); };
}

}  // namespace etalon::cli
