// The outputs of `etalon bench`: llama-bench's formats and fields, so that the
// scripts people have read them, llama.cpp's compare-llama-bench.py included.
// JSON and JSONL rows have two fields more, "parity" and "isa"; the Markdown
// table has a column more, parity. Flags that mean nothing here have the value
// that llama-bench gives by default.
#ifndef ETALON_PROFILE_BENCH_OUTPUT_H_
#define ETALON_PROFILE_BENCH_OUTPUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "profile/bench_plan.h"
#include "profile/model_label.h"

namespace etalon::profile {

enum class BenchFormat { kNone, kMarkdown, kCsv, kJson, kJsonl, kSql };
// "md", "csv", "json", "jsonl", "sql", "none".
std::optional<BenchFormat> ParseBenchFormat(std::string_view name);

struct BenchRow {
  BenchCase test;
  ModelLabel model;
  std::string model_filename;
  std::string cpu_info;
  std::string test_time;  // ISO 8601, UTC
  std::string parity;     // "ok", or "unchecked"
  std::string isa;
  std::vector<uint64_t> samples_ns;
};

class BenchOutput {
 public:
  // `plan` decides which columns a Markdown table has.
  BenchOutput(BenchFormat format, const std::vector<BenchCase>& plan);

  std::string Header() const;
  std::string Row(const BenchRow& row);
  std::string Footer() const;

 private:
  BenchFormat format_;
  bool batch_ = false, ubatch_ = false, k_type_ = false, v_type_ = false;
  bool any_ = false;
};

// Now, as test_time has it.
std::string UtcTime();

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_BENCH_OUTPUT_H_
