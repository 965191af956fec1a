// `etalon bench`: how fast a model runs here. Flags, tests, outputs and fields
// are those of llama-bench; every speed comes with the word of a check against
// the reference, and a backend that fails it gets no figure.
#include <fmt/format.h>

#include <chrono>
#include <map>
#include <thread>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/parity_check.h"
#include "core/cpu_info.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "profile/bench_output.h"
#include "profile/bench_run.h"
#include "profile/chart.h"
#include "profile/number_list.h"

namespace etalon::cli {
namespace {

using profile::BenchCase;
using Texts = std::vector<std::string>;

struct BenchOptions {
  EngineOptions engine;
  Texts models, n_prompt, n_gen, n_prompt_gen, n_depth, n_batch, n_ubatch;
  Texts k_types, v_types, threads;
  Texts ignored;  // flags that have a meaning on other machines only
  size_t repetitions = 5;
  size_t delay = 0;
  std::string output = "md", output_err = "none", html;
  bool progress = false, no_warmup = false, no_parity = false;
};

constexpr size_t kMaxTokens = size_t{1} << 24;

Expected<std::vector<size_t>> Numbers(const char* flag, const Texts& texts,
                                      const char* def, size_t max) {
  std::vector<size_t> all;
  for (const std::string& text : texts.empty() ? Texts{def} : texts) {
    ETALON_ASSIGN_OR_RETURN(const auto some,
                            profile::ParseNumberList(flag, text, max));
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

Expected<std::vector<TensorType>> CacheTypes(const char* flag,
                                             const Texts& texts) {
  std::vector<TensorType> types;
  for (std::string_view text : texts.empty() ? Texts{"f16"} : texts) {
    while (true) {
      const size_t comma = text.find(',');
      const std::string_view name = text.substr(0, comma);
      if (name != "f16" && name != "f32") {
        return InvalidArgument(
            fmt::format("{}: \"{}\" unknown, need f32 or f16", flag, name));
      }
      types.push_back(name == "f16" ? TensorType::kF16 : TensorType::kF32);
      if (comma == std::string_view::npos) break;
      text.remove_prefix(comma + 1);
    }
  }
  return types;
}

Expected<profile::BenchLists> Lists(const BenchOptions& o, int n_threads) {
  profile::BenchLists l;
  ETALON_ASSIGN_OR_RETURN(l.n_prompt,
                          Numbers("-p", o.n_prompt, "512", kMaxTokens));
  ETALON_ASSIGN_OR_RETURN(l.n_gen, Numbers("-n", o.n_gen, "128", kMaxTokens));
  ETALON_ASSIGN_OR_RETURN(l.n_depth, Numbers("-d", o.n_depth, "0", kMaxTokens));
  ETALON_ASSIGN_OR_RETURN(l.n_batch,
                          Numbers("-b", o.n_batch, "2048", kMaxTokens));
  ETALON_ASSIGN_OR_RETURN(l.n_ubatch,
                          Numbers("-ub", o.n_ubatch, "512", kMaxTokens));
  l.own_batch = o.n_batch.empty() && o.n_ubatch.empty();
  ETALON_ASSIGN_OR_RETURN(
      l.n_threads,
      Numbers("-t", o.threads, std::to_string(n_threads).c_str(), 4096));
  for (const auto* list : {&l.n_batch, &l.n_ubatch, &l.n_threads}) {
    for (const size_t n : *list) {
      ETALON_ENSURE(n > 0, "-b, -ub, -t: 0, need at least 1");
    }
  }
  for (const std::string& text : o.n_prompt_gen) {
    const size_t comma = text.find(',');
    Expected<std::vector<size_t>> p = InvalidArgument("");
    Expected<std::vector<size_t>> g = InvalidArgument("");
    if (comma != std::string::npos) {
      p = profile::ParseNumberList("-pg", text.substr(0, comma), kMaxTokens);
      g = profile::ParseNumberList("-pg", text.substr(comma + 1), kMaxTokens);
    }
    if (!p || !g || p->size() != 1 || g->size() != 1) {
      return InvalidArgument(
          fmt::format("-pg: \"{}\" is not PROMPT,GEN, two numbers", text));
    }
    l.n_prompt_gen.emplace_back((*p)[0], (*g)[0]);
  }
  ETALON_ASSIGN_OR_RETURN(l.k_type, CacheTypes("-ctk", o.k_types));
  ETALON_ASSIGN_OR_RETURN(l.v_type, CacheTypes("-ctv", o.v_types));
  return l;
}

// Speed against depth: a line for each test and setting.
std::string SweepPage(const std::vector<profile::BenchRow>& rows) {
  std::string body, title;
  for (const char* kind : {"tg", "pp", "pp+tg"}) {
    profile::Chart chart;
    chart.title = fmt::format("{}: tokens per second by depth", kind);
    chart.x_label = "KV depth, positions";
    chart.y_label = "tokens/s";
    std::map<std::string, profile::ChartSeries> series;
    for (const profile::BenchRow& r : rows) {
      BenchCase c = r.test;
      const char* of = c.n_gen == 0 ? "pp" : c.n_prompt == 0 ? "tg" : "pp+tg";
      if (std::string_view(of) != kind) continue;
      c.n_depth = 0;
      const std::string name =
          fmt::format("{} {}, {} {}, {}/{} cache", r.model.type, c.Name(),
                      c.n_threads, c.n_threads == 1 ? "thread" : "threads",
                      TypeName(c.k_type), TypeName(c.v_type));
      auto [it, added] = series.try_emplace(name);
      if (added) {
        it->second.name = name;
        it->second.color = static_cast<int>(series.size()) - 1;
      }
      const double speed =
          profile::StatisticsOf(profile::TokensPerSecond(r.test, r.samples_ns))
              .mean;
      it->second.points.push_back(
          {static_cast<double>(r.test.n_depth), speed, "",
           fmt::format("depth {}: {:.2f} tokens/s", r.test.n_depth, speed)});
    }
    if (series.empty()) continue;
    for (auto& [name, s] : series) chart.series.push_back(std::move(s));
    body += fmt::format("<h2>{}</h2>\n", chart.title) + RenderChart(chart);
  }
  // The figures first: a narrow screen shows no more without scrolling.
  std::string table =
      "<h2>Figures</h2>\n<div class=\"scroll\"><table><tr><th class=\"t\">test"
      "</th><th>threads</th><th>tokens/s</th><th>\u00B1</th>"
      "<th class=\"t\">parity</th><th class=\"t\">model</th></tr>\n";
  for (const profile::BenchRow& r : rows) {
    const auto s =
        profile::StatisticsOf(profile::TokensPerSecond(r.test, r.samples_ns));
    table += fmt::format(
        "<tr><td class=\"t\">{}</td><td>{}</td><td>{:.2f}</td><td>{:.2f}</td>"
        "<td class=\"t\">{}</td><td class=\"t\">{}</td></tr>\n",
        r.test.Name(), r.test.n_threads, s.mean, s.deviation, r.parity,
        profile::EscapeHtml(r.model.type));
  }
  const std::string machine =
      rows.empty() ? ""
                   : fmt::format("<p>{}, {} kernels, {}</p>\n",
                                 profile::EscapeHtml(rows[0].cpu_info),
                                 rows[0].isa, rows[0].test_time);
  return profile::RenderPage("etalon bench",
                             machine + body + table + "</table></div>\n");
}

class Bench {
 public:
  Bench(const BenchOptions& o, const Engine& engine,
        std::vector<BenchCase> plan, profile::BenchFormat format,
        profile::BenchFormat format_err)
      : o_(o),
        engine_(engine),
        plan_(std::move(plan)),
        out_(format, plan_),
        err_(format_err, plan_),
        cpu_(CpuModelName()) {}

  Expected<int> Run() {
    ETALON_RETURN_IF_ERROR(Print(out_.Header(), err_.Header()));
    for (const std::string& path : o_.models) {
      ETALON_ASSIGN_OR_RETURN(const int status, RunModel(path));
      if (status != kExitOk) return status;
    }
    ETALON_RETURN_IF_ERROR(Print(out_.Footer(), err_.Footer()));
    if (!o_.html.empty()) {
      const std::string page = SweepPage(rows_);
      ETALON_RETURN_IF_ERROR(io::WriteFileAtomically(
          o_.html, std::as_bytes(std::span<const char>(page))));
    }
    return kExitOk;
  }

 private:
  Status Print(const std::string& out, const std::string& err) {
    fmt::print(stderr, "{}", err);
    return WriteStdout(out);
  }

  void Say(size_t i, std::string_view what) {
    if (!o_.progress) return;
    fmt::print(stderr, "etalon bench: {}/{}: {}\n", i + 1, plan_.size(), what);
  }

  Expected<int> RunModel(const std::string& path) {
    EngineOptions options = o_.engine;
    options.model_path = path;
    ETALON_ASSIGN_OR_RETURN(const auto model, LoadModel(options, engine_));
    model::SessionOptions base;
    base.backend = engine_.backend;
    base.config = engine_.config;
    profile::BenchRunner runner(*model, base, Interrupted);
    profile::BenchRow row;
    row.model = profile::LabelOf(*model);
    row.model_filename = path;
    row.cpu_info = cpu_;
    row.isa = SimdTierName(ActiveSimdTier());
    if (engine_.config.profile == Profile::kFast) row.isa += " fast";
    for (size_t i = 0; i < plan_.size(); ++i) {
      const BenchCase& c = plan_[i];
      size_t positions = 0;
      for (const BenchCase& other : plan_) {
        if (other.SameSession(c)) {
          positions = std::max(positions, other.Positions());
        }
      }
      ETALON_RETURN_IF_ERROR(runner.Prepare(c, positions));
      if (i == 0 || !plan_[i - 1].SameSession(c)) {
        ETALON_ASSIGN_OR_RETURN(row.parity, Parity(*model, runner.options()));
        if (row.parity.empty()) return kExitCheckFailed;
      }
      if (o_.delay > 0) {
        std::this_thread::sleep_for(std::chrono::seconds(o_.delay));
      }
      if (!o_.no_warmup) {
        Say(i, "warm-up of " + c.Name());
        ETALON_RETURN_IF_ERROR(runner.WarmUp(c));
      }
      row.test = c;
      row.test_time = profile::UtcTime();
      row.samples_ns.clear();
      for (size_t r = 0; r < o_.repetitions && !Interrupted(); ++r) {
        Say(i, fmt::format("{}, run {}/{}", c.Name(), r + 1, o_.repetitions));
        ETALON_ASSIGN_OR_RETURN(const uint64_t ns, runner.RunOnce(c));
        row.samples_ns.push_back(ns);
      }
      if (Interrupted()) return kExitInterrupted;
      ETALON_RETURN_IF_ERROR(Print(out_.Row(row), err_.Row(row)));
      rows_.push_back(row);
    }
    return kExitOk;
  }

  // "ok", "unchecked", or empty after a failure, which is printed.
  Expected<std::string> Parity(const model::Model& model,
                               const model::SessionOptions& options) {
    if (o_.no_parity) return "unchecked";
    ETALON_ASSIGN_OR_RETURN(const ParityReport report,
                            CheckParity(model, options));
    if (!report.ok()) {
      fmt::print(stderr,
                 "error: no speed for wrong results: {} (etalon bench "
                 "--no-parity times them all the same)\n",
                 report.failure);
      return "";
    }
    Log(LogLevel::kInfo,
        "parity: {} numbers of {} kinds of calls within their bounds, the "
        "worst at {:.2f} of it",
        report.n_numbers, report.n_kinds, report.worst);
    return "ok";
  }

  const BenchOptions& o_;
  const Engine& engine_;
  std::vector<BenchCase> plan_;
  profile::BenchOutput out_, err_;
  std::string cpu_;
  std::vector<profile::BenchRow> rows_;
};

Expected<int> RunBench(const BenchOptions& o) {
  const auto format = profile::ParseBenchFormat(o.output);
  const auto format_err = profile::ParseBenchFormat(o.output_err);
  ETALON_ENSURE(format && format_err,
                fmt::format("-o, -oe: \"{}\" is not md, csv, json, jsonl, sql "
                            "or none",
                            format ? o.output_err : o.output));
  ETALON_ENSURE(!o.models.empty(), "no model: give one with -m FILE");
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  ETALON_ASSIGN_OR_RETURN(const profile::BenchLists lists,
                          Lists(o, engine.n_threads));
  std::vector<BenchCase> plan = MakePlan(lists);
  ETALON_ENSURE(!plan.empty(), "no test: -p, -n and -pg are all 0");
  return Bench(o, engine, std::move(plan), *format, *format_err).Run();
}

// Values come one by one, or comma-separated; a flag may be repeated.
void AddList(CLI::App& app, const std::string& flags, Texts* values,
             const std::string& help) {
  app.add_option(flags, *values, help)
      ->allow_extra_args(false)
      ->type_name("LIST");
}

}  // namespace

Action AddBench(CLI::App& app) {
  auto o = std::make_shared<BenchOptions>();
  CLI::App* c = app.add_subcommand(
      "bench",
      "speed of a model, as llama-bench measures and prints it. Lists: 1,2,4 "
      "or 1-8, 0-8192+1024, 1-64*2");
  AddList(*c, "-m,--model", &o->models, "GGUF model file");
  AddList(*c, "-p,--n-prompt", &o->n_prompt, "prompt lengths (default 512)");
  AddList(*c, "-n,--n-gen", &o->n_gen, "tokens to generate (default 128)");
  c->add_option("--n-prompt-gen", o->n_prompt_gen,
                "-pg: a prompt and then tokens, in one test")
      ->allow_extra_args(false)
      ->type_name("PP,TG");
  AddList(*c, "-d,--n-depth", &o->n_depth,
          "positions in the cache before (default 0); a range and --html make "
          "a sweep");
  AddList(*c, "-b,--batch-size", &o->n_batch, "(default 2048)");
  AddList(*c, "--ubatch-size", &o->n_ubatch,
          "-ub: prefill chunks of the lesser of -b and -ub (default: the "
          "engine's choice)");
  AddList(*c, "--cache-type-k", &o->k_types, "-ctk: f16, f32 (default f16)");
  AddList(*c, "--cache-type-v", &o->v_types, "-ctv: f16, f32 (default f16)");
  AddList(*c, "-t,--threads", &o->threads,
          "threads (default: what the machine gives)");
  c->add_option("-r,--repetitions", o->repetitions, "runs of a test (5)")
      ->check(CLI::Range(size_t{1}, size_t{1000}));
  c->add_option("--delay", o->delay, "seconds of rest before a test")
      ->check(CLI::Range(size_t{0}, size_t{3600}));
  c->add_option("-o,--output", o->output, "md, csv, json, jsonl, sql (md)");
  c->add_option("--output-err", o->output_err, "-oe: the same, to stderr");
  c->add_option("--html", o->html, "page with speed against depth")
      ->type_name("FILE");
  c->add_flag("--progress", o->progress, "say on stderr what runs");
  c->add_flag("--no-warmup", o->no_warmup, "no run before those timed");
  c->add_flag("--no-parity", o->no_parity,
              "skip the check against the reference");
  c->add_option("--isa", o->engine.isa, "tier of the kernels (auto)");
  c->add_option("--profile", o->engine.profile,
                "strict, or fast: bf16 matrix tiles for the attention of "
                "prompts (strict)")
      ->check(CLI::IsMember({"strict", "fast"}))
      ->type_name("NAME");
  c->add_option("--backend", o->engine.backend, "cpu or reference (cpu)")
      ->check(CLI::IsMember({"cpu", "reference"}));
  c->add_flag("--no-check-tensors", o->engine.no_check,
              "skip the search for NaN and Inf in the weights");
  c->add_flag("-v,--verbose", o->engine.verbose, "more messages on stderr");
  // llama-bench's flags for machines that this engine does not run on.
  for (const char* flags :
       {"--numa",          "--prio",         "-C,--cpu-mask",
        "--cpu-strict",    "--poll",         "--n-gpu-layers",
        "--n-cpu-moe",     "--split-mode",   "--main-gpu",
        "--no-kv-offload", "--flash-attn",   "--device",
        "--load-mode",     "--mmap",         "--direct-io",
        "--embeddings",    "--tensor-split", "--override-tensor",
        "--no-op-offload", "--no-host"}) {
    AddList(*c, flags, &o->ignored, "accepted for scripts; no effect here");
  }
  return [o] {
    if (!o->ignored.empty()) {
      Log(LogLevel::kWarning,
          "flags for GPUs and thread pools have no effect here");
    }
    return RunBench(*o);
  };
}

}  // namespace etalon::cli
