// Flags, plan and outputs of `etalon bench`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "profile/bench_output.h"
#include "profile/bench_plan.h"
#include "profile/bench_run.h"
#include "profile/chart.h"
#include "profile/number_list.h"

namespace etalon::profile {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(NumberList, ListsAndRangesAsLlamaBenchHasThem) {
  const auto parse = [](const char* text) {
    return ParseNumberList("-t", text, 100000).value();
  };
  EXPECT_THAT(parse("512"), ElementsAre(512));
  EXPECT_THAT(parse("1,2,4"), ElementsAre(1, 2, 4));
  EXPECT_THAT(parse("1-4"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(parse("0-8192+4096"), ElementsAre(0, 4096, 8192));
  EXPECT_THAT(parse("1-9*2,3"), ElementsAre(1, 2, 4, 8, 3));
  EXPECT_THAT(parse("5-5"), ElementsAre(5));
}

TEST(NumberList, RefusesTheRestNamingTheFlag) {
  for (const char* text :
       {"", ",", "1,", "x", "-1", "4-2", "1-", "1-4+0", "1-4*1", "0-4*2",
        "1-4/2", "1-4+", "1 ", "99999999999999999999", "100001", "0-100000",
        "1.5"}) {
    const auto r = ParseNumberList("-t", text, 100000);
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(r.error().message, HasSubstr("-t: ")) << text;
  }
}

BenchLists SomeLists() {
  BenchLists l;
  l.n_prompt = {16, 0};
  l.n_gen = {4};
  l.n_prompt_gen = {{8, 2}};
  l.n_depth = {0, 32};
  l.n_batch = {2048};
  l.n_ubatch = {512};
  l.n_threads = {1, 2};
  l.k_type = l.v_type = {TensorType::kF16};
  return l;
}

TEST(BenchPlan, EveryCombinationInLlamaBenchsOrder) {
  std::vector<std::string> names;
  for (const BenchCase& c : MakePlan(SomeLists())) {
    names.push_back(std::to_string(c.n_threads) + " " + c.Name());
  }
  EXPECT_THAT(names, ElementsAre("1 pp16", "1 tg4", "1 pp8+tg2", "1 pp16 @ d32",
                                 "1 tg4 @ d32", "1 pp8+tg2 @ d32", "2 pp16",
                                 "2 tg4", "2 pp8+tg2", "2 pp16 @ d32",
                                 "2 tg4 @ d32", "2 pp8+tg2 @ d32"));
}

TEST(BenchPlan, TheEngineChoosesItsChunksUnlessAsked) {
  BenchLists l = SomeLists();
  EXPECT_TRUE(MakePlan(l).front().own_batch);
  l.own_batch = false;  // also where the defaults were asked for
  EXPECT_FALSE(MakePlan(l).front().own_batch);
  EXPECT_FALSE(MakePlan(l).front().SameSession(BenchCase()));
}

BenchRow SomeRow() {
  BenchRow r;
  r.test.n_prompt = 100;
  r.test.n_threads = 2;
  r.model = {"qwen3 0.6B Q4_K - Medium", 390753280, 596049920};
  r.model_filename = "it's \"a\" model.gguf";
  r.cpu_info = "some CPU";
  r.test_time = "2026-11-21T11:29:43Z";
  r.parity = "ok";
  r.isa = "avx2";
  r.samples_ns = {1'000'000'000, 500'000'000};  // 100 and 200 tokens/s
  return r;
}

// The columns of llama-bench's database, which its comparison script reads.
const char* const kColumns =
    "build_commit,build_number,cpu_info,gpu_info,backends,model_filename,"
    "model_type,model_size,model_n_params,n_batch,n_ubatch,n_threads,cpu_mask,"
    "cpu_strict,poll,type_k,type_v,n_gpu_layers,n_cpu_moe,split_mode,main_gpu,"
    "no_kv_offload,flash_attn,devices,tensor_split,tensor_buft_overrides,"
    "load_mode,embeddings,no_op_offload,no_host,fit_target,fit_min_ctx,"
    "n_prompt,n_gen,n_depth,test_time,avg_ns,stddev_ns,avg_ts,stddev_ts";

TEST(BenchOutput, CsvHasLlamaBenchsColumns) {
  BenchOutput out(BenchFormat::kCsv, {SomeRow().test});
  EXPECT_EQ(out.Header(), std::string(kColumns) + "\n");
  EXPECT_THAT(out.Row(SomeRow()), HasSubstr("\"it's \"\"a\"\" model.gguf\""));
  EXPECT_THAT(out.Row(SomeRow()), HasSubstr("\"150.000000\",\"70.710678\"\n"));
}

TEST(BenchOutput, JsonIsOneArrayWithAllFieldsInOrder) {
  BenchOutput out(BenchFormat::kJson, {SomeRow().test});
  std::string text = out.Header() + out.Row(SomeRow());
  text += out.Row(SomeRow()) + out.Footer();
  const auto j = nlohmann::ordered_json::parse(text);
  ASSERT_EQ(j.size(), 2u);
  std::string names;
  for (const auto& [name, value] : j[0].items()) names += name + ",";
  EXPECT_EQ(names,
            std::string(kColumns) + ",samples_ns,samples_ts,parity,isa,");
  EXPECT_EQ(j[0]["avg_ns"], 750'000'000);
  EXPECT_EQ(j[0]["avg_ts"], 150.0);
  EXPECT_EQ(j[0]["samples_ns"], (std::vector<int>{1000000000, 500000000}));
  EXPECT_EQ(j[1]["parity"], "ok");
  EXPECT_EQ(BenchOutput(BenchFormat::kJson, {}).Header() +
                BenchOutput(BenchFormat::kJson, {}).Footer(),
            "[\n]\n");
}

TEST(BenchOutput, JsonlIsARowALineWhateverTheFilesName) {
  BenchOutput out(BenchFormat::kJsonl, {SomeRow().test});
  BenchRow row = SomeRow();
  row.model_filename = "\xff\n";
  const std::string text = out.Header() + out.Row(row) + out.Footer();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(nlohmann::json::parse(text)["n_threads"], 2);
}

TEST(BenchOutput, SqlQuotesAreDoubled) {
  BenchOutput out(BenchFormat::kSql, {SomeRow().test});
  EXPECT_THAT(out.Header(),
              HasSubstr("CREATE TABLE IF NOT EXISTS llama_bench (\n"
                        "  build_commit TEXT,\n  build_number INTEGER,\n"));
  EXPECT_THAT(out.Header(), HasSubstr("  stddev_ts REAL\n);\n"));
  EXPECT_THAT(out.Row(SomeRow()), HasSubstr("'it''s \"a\" model.gguf'"));
}

// Its comparison script puts rows of two builds side by side where all of these
// are equal, and sorts out builds that print other columns or types.
TEST(BenchOutput, TypesAndIdleValuesAreLlamaBenchs) {
  BenchOutput json(BenchFormat::kJsonl, {SomeRow().test});
  const auto j = nlohmann::json::parse(json.Row(SomeRow()));
  const auto idle = nlohmann::json::parse(
      R"({"gpu_info":"","backends":"CPU","cpu_mask":"0x0","cpu_strict":false,
          "poll":50,"n_gpu_layers":-1,"n_cpu_moe":0,"split_mode":"layer",
          "main_gpu":0,"no_kv_offload":false,"flash_attn":-1,"devices":"auto",
          "tensor_split":"0.00","tensor_buft_overrides":"none",
          "load_mode":"mmap","embeddings":false,"no_op_offload":0,
          "no_host":false,"fit_target":0,"fit_min_ctx":0,"n_batch":2048,
          "n_ubatch":512,"type_k":"f16","type_v":"f16"})");
  for (const auto& [name, value] : idle.items()) {
    EXPECT_EQ(j[name], value) << name;
    EXPECT_EQ(j[name].type(), value.type()) << name;
  }
  for (const char* text : {"build_commit", "cpu_info", "model_filename",
                           "model_type", "test_time"}) {
    EXPECT_TRUE(j[text].is_string()) << text;
  }
  for (const char* whole :
       {"build_number", "model_size", "model_n_params", "n_threads", "n_prompt",
        "n_gen", "n_depth", "avg_ns", "stddev_ns"}) {
    EXPECT_TRUE(j[whole].is_number_integer()) << whole;
  }
  EXPECT_TRUE(j["avg_ts"].is_number_float() &&
              j["stddev_ts"].is_number_float());

  std::string columns;
  std::istringstream schema(
      BenchOutput(BenchFormat::kSql, {SomeRow().test}).Header());
  for (std::string line; std::getline(schema, line);) {
    std::istringstream words(line);
    std::string name, type;
    if (!line.starts_with("  ") || !(words >> name >> type)) continue;
    columns += (columns.empty() ? "" : ",") + name;
    std::erase(type, ',');
    const auto& value = j[name];
    EXPECT_EQ(type, value.is_string()         ? "TEXT"
                    : value.is_number_float() ? "REAL"
                                              : "INTEGER")
        << name;
  }
  EXPECT_EQ(columns, kColumns);
}

TEST(BenchOutput, MarkdownShowsParityBesideSpeedAndWhatDiffersFromDefaults) {
  BenchRow row = SomeRow();
  row.test.k_type = TensorType::kF32;
  BenchOutput out(BenchFormat::kMarkdown, {row.test});
  std::istringstream lines(out.Header() + out.Row(row));
  std::string header, rule, line;
  std::getline(lines, header);
  std::getline(lines, rule);
  std::getline(lines, line);
  EXPECT_THAT(header, HasSubstr("type_k"));
  EXPECT_THAT(header, ::testing::Not(HasSubstr("type_v")));
  EXPECT_THAT(line, HasSubstr("150.00 \u00B1 70.71 | ok"));
  EXPECT_THAT(line, HasSubstr("372.65 MiB |   596.05 M | CPU"));
  EXPECT_EQ(header.size(), rule.size());
  EXPECT_EQ(header.size() + 1, line.size());  // the sign has two bytes
}

TEST(Statistics, OfSamples) {
  EXPECT_EQ(StatisticsOf(std::vector<double>{}).mean, 0);
  EXPECT_EQ(StatisticsOf(std::vector<double>{3}).deviation, 0);
  const Statistics s = StatisticsOf(std::vector<double>{1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(s.mean, 2.5);
  EXPECT_DOUBLE_EQ(s.deviation, std::sqrt(5.0 / 3.0));
}

TEST(BenchTokens, DoNotDependOnHowTheyAreCut) {
  const auto all = BenchTokens(0, 100, 1000);
  const auto tail = BenchTokens(60, 40, 1000);
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), all.begin() + 60));
  EXPECT_GT(std::set<int32_t>(all.begin(), all.end()).size(), 80u);
}

TEST(Chart, EscapesTextAndSkipsWhatALogAxisCannotShow) {
  Chart chart;
  chart.title = "<a> & \"b\"";
  chart.log_x = chart.log_y = true;
  chart.series = {
      {"s<",
       0,
       true,
       true,
       true,
       {{0, 1, "zero", ""}, {1, 10, "one", "t&"}, {10, 5, "", ""}}}};
  const std::string page = RenderPage("p", RenderChart(chart));
  EXPECT_THAT(page, HasSubstr("&lt;a&gt; &amp; &quot;b&quot;"));
  EXPECT_THAT(page, HasSubstr("s&lt;"));
  EXPECT_THAT(page, HasSubstr("<title>t&amp;</title>"));
  EXPECT_THAT(page, ::testing::Not(HasSubstr("zero")));
  EXPECT_THAT(page, ::testing::Not(HasSubstr("nan")));
  // Nothing is fetched.
  EXPECT_THAT(page, ::testing::Not(HasSubstr("http")));
}

}  // namespace
}  // namespace etalon::profile
