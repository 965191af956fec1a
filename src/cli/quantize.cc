// `etalon quantize`: a GGUF file to fewer bits, with llama-quantize's flags and
// positional arguments.
#include "quantize/quantize.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>

#include "cli/app.h"
#include "cli/exit_code.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "core/threads.h"
#include "io/untrusted_text.h"

namespace etalon::cli {
namespace {

using quantize::FileType;
using quantize::QuantizeOptions;
using quantize::TensorReport;

struct QuantizeCommand {
  std::vector<std::string> positional;  // in [out] type [threads]
  QuantizeOptions options;
  std::string output_tensor_type;
  std::string token_embedding_type;
  std::vector<std::string> tensor_types;  // NAME=TYPE
  int n_threads = 0;
  bool verbose = false;

  std::string input;
  std::string output;
};

Expected<TensorType> ParseStoredWeightType(std::string_view name) {
  const auto type = ParseTensorType(name);
  if (!type || *type == TensorType::kQ8_K) {
    return InvalidArgument(fmt::format("unknown tensor type '{}'", name));
  }
  return *type;
}

// "COPY" keeps every tensor; everything else is a file type.
Status ParseType(const std::string& name, QuantizeOptions& options) {
  if (name == "COPY" || name == "copy") {
    options.copy = true;
    return {};
  }
  ETALON_ASSIGN_OR_RETURN(options.mix.file_type, quantize::ParseFileType(name));
  return {};
}

std::string TypeLabel(const QuantizeOptions& options) {
  return options.copy
             ? "COPY"
             : std::string(
                   quantize::GetFileTypeInfo(options.mix.file_type).name);
}

Status ParsePositional(QuantizeCommand& c) {
  const std::vector<std::string>& args = c.positional;
  ETALON_ENSURE(args.size() >= 2,
                "need: in.gguf [out.gguf] TYPE [threads]; `etalon quantize "
                "--help` lists the types");
  c.input = args[0];
  QuantizeOptions probe;
  size_t next = 1;
  const bool named = !ParseType(args[1], probe);  // args[1] is a file name
  if (named) {
    ETALON_ENSURE(
        args.size() >= 3,
        fmt::format("'{}' is no quantisation type, and none follows", args[1]));
    c.output = args[1];
    next = 2;
  }
  ETALON_RETURN_IF_ERROR(ParseType(args[next], c.options));
  if (!named) {
    c.output = (std::filesystem::path(c.input).parent_path() /
                fmt::format("ggml-model-{}.gguf", TypeLabel(c.options)))
                   .string();
  }
  if (++next < args.size()) {
    ETALON_ENSURE(
        args[next].size() <= 4 &&
            args[next].find_first_not_of("0123456789") == std::string::npos &&
            next + 1 == args.size(),
        fmt::format("'{}' is no number of threads", args[next]));
    c.n_threads = std::stoi(args[next]);
  }
  return {};
}

Status ParseTypes(QuantizeCommand& c) {
  quantize::MixOptions& mix = c.options.mix;
  if (!c.output_tensor_type.empty()) {
    ETALON_ASSIGN_OR_RETURN(mix.output_tensor_type,
                            ParseStoredWeightType(c.output_tensor_type));
  }
  if (!c.token_embedding_type.empty()) {
    ETALON_ASSIGN_OR_RETURN(mix.token_embedding_type,
                            ParseStoredWeightType(c.token_embedding_type));
  }
  for (const std::string& rule : c.tensor_types) {
    const size_t equals = rule.rfind('=');
    ETALON_ENSURE(equals != std::string::npos && equals > 0,
                  fmt::format("--tensor-type '{}': need NAME=TYPE", rule));
    ETALON_ASSIGN_OR_RETURN(
        const TensorType type,
        ParseStoredWeightType(std::string_view(rule).substr(equals + 1)));
    mix.tensor_types.emplace_back(rule.substr(0, equals), type);
  }
  return {};
}

double MiB(uint64_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

std::string DescribeTensor(const TensorReport& r) {
  std::string shape;
  for (const uint64_t n : r.ne) shape += fmt::format(" {:>6}", n);
  std::string line = fmt::format(
      "[{:4}/{:4}] {:<32} [{}] {:>5} -> {:<5} {:9.2f} -> {:9.2f} MiB",
      r.index + 1, r.count, io::Printable(r.name), shape, r.from, r.to,
      MiB(r.bytes_in), MiB(r.bytes_out));
  if (!r.wanted.empty()) {
    line += fmt::format("  (width {} does not fit {})", r.ne[0], r.wanted);
  }
  if (r.importance_missing) line += "  (no importance)";
  return line;
}

// "Q4_K -> Q5_0": how many tensors fell back that way.
using Fallbacks = std::map<std::string, size_t>;

void TellSummary(const QuantizeCommand& c, const quantize::QuantizeSummary& s,
                 const Fallbacks& fallbacks) {
  for (const std::string& warning : s.warnings) {
    fmt::print(stderr, "warning: {}: {}\n", c.input, warning);
  }
  const double bits = s.n_weights == 0
                          ? 0.0
                          : 8.0 * static_cast<double>(s.bytes_out) /
                                static_cast<double>(s.n_weights);
  fmt::print(stderr,
             "{}{}: {} tensors, {:.2f} -> {:.2f} MiB, {:.2f} bits per weight\n",
             c.options.dry_run ? "would write " : "", c.output, s.n_tensors,
             MiB(s.bytes_in), MiB(s.bytes_out), bits);
  for (const auto& [change, count] : fallbacks) {
    fmt::print(stderr,
               "note: {} of {} tensors {}: the width is no multiple of the "
               "block\n",
               count, s.n_tensors, change);
  }
}

Expected<int> RunQuantize(QuantizeCommand c) {
  ETALON_RETURN_IF_ERROR(ParsePositional(c));
  ETALON_RETURN_IF_ERROR(ParseTypes(c));
  ETALON_ENSURE(c.n_threads >= 0 && c.n_threads <= 4096,
                fmt::format("{} threads: need 1..4096", c.n_threads));
  c.options.n_threads =
      c.n_threads > 0 ? c.n_threads : DefaultThreads().n_threads;
  std::unique_ptr<Progress> bar;
  Fallbacks fallbacks;
  const bool list = c.verbose || c.options.dry_run;
  c.options.on_tensor = [&](const TensorReport& report) {
    if (!report.wanted.empty()) {
      ++fallbacks[fmt::format("{} -> {}", report.wanted, report.to)];
    }
    if (!list) return;
    if (bar) bar->Finish();
    fmt::print(stderr, "{}\n", DescribeTensor(report));
  };
  c.options.on_progress = [&](uint64_t done, uint64_t total) {
    if (!bar) {
      bar =
          std::make_unique<Progress>("Quantising", total, ProgressUnit::kBytes);
    }
    bar->Update(done);
    return !Interrupted();
  };
  const auto summary = quantize::QuantizeFile(c.input, c.output, c.options);
  if (bar) bar->Finish();
  if (Interrupted()) return kExitInterrupted;
  if (!summary) return tl::unexpected(summary.error());
  TellSummary(c, *summary, fallbacks);
  return kExitOk;
}

std::string TypeList() {
  std::string text = "Types:\n";
  for (const quantize::FileTypeInfo& info : quantize::FileTypes()) {
    text += fmt::format("  {:<7} {}\n", info.name, info.description);
  }
  return text + "  COPY    every tensor as it is\n";
}

}  // namespace

Action AddQuantize(CLI::App& app) {
  auto c = std::make_shared<QuantizeCommand>();
  CLI::App* command = app.add_subcommand(
      "quantize", "write a model with fewer bits per weight");
  command->footer(TypeList());
  command
      ->add_option("files", c->positional, "in.gguf [out.gguf] TYPE [threads]")
      ->expected(2, 4)
      ->required();
  command->add_flag("--pure", c->options.mix.pure,
                    "one type for all tensors, no mix");
  command
      ->add_option("--imatrix", c->options.importance_path,
                   "importance of each column (GGUF or .dat)")
      ->type_name("FILE");
  command
      ->add_option("--include-weights", c->options.include_weights,
                   "use the importance for tensors with this name only")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--exclude-weights", c->options.exclude_weights,
                   "do not use the importance for tensors with this name")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--output-tensor-type", c->output_tensor_type,
                   "type of output.weight")
      ->type_name("TYPE");
  command
      ->add_option("--token-embedding-type", c->token_embedding_type,
                   "type of token_embd.weight")
      ->type_name("TYPE");
  command
      ->add_option("--tensor-type", c->tensor_types,
                   "type of the tensors whose name matches, may be repeated")
      ->type_name("NAME=TYPE")
      ->expected(1)
      ->take_all();
  command->add_flag("--leave-output-tensor", c->options.mix.leave_output_tensor,
                    "keep output.weight as it is");
  command->add_flag("--allow-requantize", c->options.allow_requantize,
                    "accept input that is quantised already");
  command->add_flag("--dry-run", c->options.dry_run,
                    "show types and sizes, write nothing");
  command->add_option("-t,--threads", c->n_threads, "threads (default: all)")
      ->type_name("N");
  command->add_flag("-v,--verbose", c->verbose, "one line per tensor");
  return [c] { return RunQuantize(*c); };
}

}  // namespace etalon::cli
