#include "profile/bench_output.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "profile/bench_run.h"
#include "profile/build_id.h"

namespace etalon::profile {
namespace {

using Json = nlohmann::ordered_json;

std::string LowerTypeName(TensorType type) {
  std::string name(TypeName(type));
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return name;
}

struct Field {
  const char* name;
  Json value;
};

// The columns of llama-bench (d32676d), in its order.
std::vector<Field> Fields(const BenchRow& r) {
  std::vector<double> ns(r.samples_ns.begin(), r.samples_ns.end());
  const Statistics time = StatisticsOf(ns);
  const Statistics speed = StatisticsOf(TokensPerSecond(r.test, r.samples_ns));
  const BenchCase& c = r.test;
  return {{"build_commit", BuildCommit()},
          {"build_number", BuildNumber()},
          {"cpu_info", r.cpu_info},
          {"gpu_info", ""},
          {"backends", "CPU"},
          {"model_filename", r.model_filename},
          {"model_type", r.model.type},
          {"model_size", r.model.n_bytes},
          {"model_n_params", r.model.n_params},
          {"n_batch", c.n_batch},
          {"n_ubatch", c.n_ubatch},
          {"n_threads", c.n_threads},
          {"cpu_mask", "0x0"},
          {"cpu_strict", false},
          {"poll", 50},
          {"type_k", LowerTypeName(c.k_type)},
          {"type_v", LowerTypeName(c.v_type)},
          {"n_gpu_layers", -1},
          {"n_cpu_moe", 0},
          {"split_mode", "layer"},
          {"main_gpu", 0},
          {"no_kv_offload", false},
          {"flash_attn", -1},
          {"devices", "auto"},
          {"tensor_split", "0.00"},
          {"tensor_buft_overrides", "none"},
          {"load_mode", "mmap"},
          {"embeddings", false},
          {"no_op_offload", 0},
          {"no_host", false},
          {"fit_target", 0},
          {"fit_min_ctx", 0},
          {"n_prompt", c.n_prompt},
          {"n_gen", c.n_gen},
          {"n_depth", c.n_depth},
          {"test_time", r.test_time},
          {"avg_ns", std::llround(time.mean)},
          {"stddev_ns", std::llround(time.deviation)},
          {"avg_ts", speed.mean},
          {"stddev_ts", speed.deviation}};
}

std::string Dump(const Json& j, int indent = -1) {
  // A file's name need not be UTF-8.
  return j.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// As llama-bench prints values in CSV and SQL: text, numbers, 0 and 1.
std::string PlainText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  if (value.is_number_float()) {
    return fmt::format("{:.6f}", value.get<double>());
  }
  return value.dump();
}

std::string Doubled(std::string_view text, char quote) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == quote) out += c;
  }
  return out;
}

const char* SqlType(const Json& value) {
  if (value.is_string()) return "TEXT";
  return value.is_number_float() ? "REAL" : "INTEGER";
}

std::string Names() {
  std::string names;
  for (const Field& f : Fields({})) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", f.name);
  }
  return names;
}

Json JsonRow(const BenchRow& row) {
  Json j;
  for (const Field& f : Fields(row)) j[f.name] = f.value;
  j["samples_ns"] = row.samples_ns;
  j["samples_ts"] = TokensPerSecond(row.test, row.samples_ns);
  j["parity"] = row.parity;
  j["isa"] = row.isa;
  return j;
}

std::string SizeText(uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / 1048576.0;
  return mib < 1024 ? fmt::format("{:.2f} MiB", mib)
                    : fmt::format("{:.2f} GiB", mib / 1024.0);
}

std::string CountText(uint64_t n) {
  const double millions = static_cast<double>(n) * 1e-6;
  return millions < 1000 ? fmt::format("{:.2f} M", millions)
                         : fmt::format("{:.2f} B", millions * 1e-3);
}

}  // namespace

std::optional<BenchFormat> ParseBenchFormat(std::string_view name) {
  if (name == "none") return BenchFormat::kNone;
  if (name == "md") return BenchFormat::kMarkdown;
  if (name == "csv") return BenchFormat::kCsv;
  if (name == "json") return BenchFormat::kJson;
  if (name == "jsonl") return BenchFormat::kJsonl;
  if (name == "sql") return BenchFormat::kSql;
  return std::nullopt;
}

BenchOutput::BenchOutput(BenchFormat format, const std::vector<BenchCase>& plan)
    : format_(format) {
  const BenchCase defaults;
  for (const BenchCase& c : plan) {
    batch_ |= c.n_batch != defaults.n_batch;
    ubatch_ |= c.n_ubatch != defaults.n_ubatch;
    k_type_ |= c.k_type != defaults.k_type;
    v_type_ |= c.v_type != defaults.v_type;
  }
}

std::string BenchOutput::Header() const {
  switch (format_) {
    case BenchFormat::kNone:
    case BenchFormat::kJsonl:
      return "";
    case BenchFormat::kJson:
      return "[\n";
    case BenchFormat::kCsv: {
      std::string names = Names();
      std::erase(names, ' ');
      return names + "\n";
    }
    case BenchFormat::kSql: {
      std::string columns;
      for (const Field& f : Fields({})) {
        columns += fmt::format("{}  {} {}", columns.empty() ? "" : ",\n",
                               f.name, SqlType(f.value));
      }
      return fmt::format("CREATE TABLE IF NOT EXISTS llama_bench (\n{}\n);\n\n",
                         columns);
    }
    case BenchFormat::kMarkdown:
      break;
  }
  std::string names =
      fmt::format("| {:<30} | {:>10} | {:>10} | {:<10} | {:>7} |", "model",
                  "size", "params", "backend", "threads");
  std::string line =
      "| ------------------------------ | ---------: | ---------: |"
      " ---------- | ------: |";
  const auto add = [&](const char* name, size_t width) {
    names += fmt::format(" {:>{}} |", name, width);
    line += fmt::format(" {:->{}}: |", "", width - 1);
  };
  if (batch_) add("n_batch", 7);
  if (ubatch_) add("n_ubatch", 8);
  if (k_type_) add("type_k", 6);
  if (v_type_) add("type_v", 6);
  add("test", 15);
  add("t/s", 20);
  return names + " parity    |\n" + line + " --------- |\n";
}

std::string BenchOutput::Row(const BenchRow& r) {
  const bool first = !any_;
  any_ = true;
  switch (format_) {
    case BenchFormat::kNone:
      return "";
    case BenchFormat::kJson: {
      std::string text = Dump(JsonRow(r), 2);
      for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) {
        text.replace(at, 1, "\n  ");
        at += 3;
      }
      return (first ? "  " : ",\n  ") + text;
    }
    case BenchFormat::kJsonl:
      return Dump(JsonRow(r)) + "\n";
    case BenchFormat::kCsv: {
      std::string line;
      for (const Field& f : Fields(r)) {
        line += fmt::format("{}\"{}\"", line.empty() ? "" : ",",
                            Doubled(PlainText(f.value), '"'));
      }
      return line + "\n";
    }
    case BenchFormat::kSql: {
      std::string values;
      for (const Field& f : Fields(r)) {
        values += fmt::format("{}'{}'", values.empty() ? "" : ", ",
                              Doubled(PlainText(f.value), '\''));
      }
      return fmt::format("INSERT INTO llama_bench ({}) VALUES ({});\n", Names(),
                         values);
    }
    case BenchFormat::kMarkdown:
      break;
  }
  const BenchCase& c = r.test;
  std::string line =
      fmt::format("| {:<30} | {:>10} | {:>10} | {:<10} | {:>7} |", r.model.type,
                  SizeText(r.model.n_bytes), CountText(r.model.n_params), "CPU",
                  c.n_threads);
  if (batch_) line += fmt::format(" {:>7} |", c.n_batch);
  if (ubatch_) line += fmt::format(" {:>8} |", c.n_ubatch);
  if (k_type_) line += fmt::format(" {:>6} |", LowerTypeName(c.k_type));
  if (v_type_) line += fmt::format(" {:>6} |", LowerTypeName(c.v_type));
  const Statistics speed = StatisticsOf(TokensPerSecond(c, r.samples_ns));
  return line + fmt::format(" {:>15} | {:>20} | {:<9} |\n", c.Name(),
                            fmt::format("{:.2f} \u00B1 {:.2f}", speed.mean,
                                        speed.deviation),
                            r.parity);
}

std::string BenchOutput::Footer() const {
  if (format_ == BenchFormat::kJson) return any_ ? "\n]\n" : "]\n";
  if (format_ == BenchFormat::kMarkdown) {
    return fmt::format("\nbuild: {} ({})\n", BuildCommit(), BuildNumber());
  }
  return "";
}

std::string UtcTime() {
  return fmt::format("{:%FT%TZ}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace etalon::profile
