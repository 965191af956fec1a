// `etalon bench` and its parity check.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/parity_check.h"
#include "tests/cli/program_fixture.h"

namespace etalon::cli {
namespace {

using ::testing::HasSubstr;

class BenchCommand : public Program {};

TEST_F(BenchCommand, RowsOfAllTestsWithParityOnStdout) {
  const auto r = test::Etalon({"bench",
                               "-m",
                               model_,
                               "-p",
                               "8,16",
                               "-n",
                               "2",
                               "-pg",
                               "4,2",
                               "-d",
                               "0-32+32",
                               "-t",
                               "1",
                               "-r",
                               "2",
                               "-ctk",
                               "f32",
                               "-ngl",
                               "99",
                               "-o",
                               "json",
                               "--html",
                               dir_.File("page.html")});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.ErrLines(), 1) << r.err;  // flags of no effect
  const auto rows = nlohmann::json::parse(r.out);
  ASSERT_EQ(rows.size(), 8u);
  for (const auto& row : rows) {
    EXPECT_EQ(row["parity"], "ok");
    EXPECT_EQ(row["samples_ns"].size(), 2u);
    EXPECT_GT(row["avg_ts"], 0.0);
    EXPECT_EQ(row["type_k"], "f32");
    EXPECT_EQ(row["type_v"], "f16");
  }
  EXPECT_EQ(rows[7]["n_depth"], 32);
  EXPECT_EQ(rows[7]["n_prompt"], 4);
  EXPECT_EQ(rows[7]["n_gen"], 2);
  EXPECT_THAT(ReadFile(dir_.File("page.html")), HasSubstr("<svg"));
}

TEST_F(BenchCommand, RefusesBadFlags) {
  const auto refused = [&](std::vector<std::string> args, const char* part) {
    args.insert(args.begin(), {"bench", "-m", model_});
    ExpectRefused(args, 1, part);
  };
  refused({"-p", "4-2"}, "-p: \"4-2\"");
  refused({"-t", "0"}, "need at least 1");
  refused({"-pg", "4"}, "-pg: \"4\"");
  refused({"-ctk", "q8_0"}, "-ctk: \"q8_0\"");
  refused({"-o", "xml"}, "\"xml\"");
  refused({"-p", "0", "-n", "0"}, "no test");
  ExpectRefused({"bench"}, 1, "no model");
}

// One op of a table, wrong by a little.
Backend wrong;
Status WrongAdd(const AddArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CpuBackend().add(a, ctx));
  a.out.row(0)[1] *= 1.0f + 0x1p-22f;
  return {};
}
Status WrongGemm(const GemmArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CpuBackend().gemm(a, ctx));
  if (a.x.rows > 1) return {};  // decode only
  for (const GemmPart& p : a.parts) p.out.row(0)[0] *= 1.001f;
  return {};
}
Status WrongAttention(const AttentionArgs& a, ExecContext& ctx) {
  AttentionArgs bent = a;
  bent.scale *= 1.0001f;
  return CpuBackend().attention(bent, ctx);
}
Status WrongKvWrite(const KvWriteArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CpuBackend().kv_write(a, ctx));
  a.cache.data[a.pos * a.cache.pos_stride * RowBytes(a.cache.type, 1)] ^=
      std::byte{1};
  return {};
}
Status WrongSwiGlu(const GemmSwiGluArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CpuBackend().gemm_swiglu(a, ctx));
  a.out.row(0)[0] += 1e-6f;
  return {};
}

TEST_F(BenchCommand, ParityHoldsForTheCpuAndTheReferenceBackend) {
  for (const auto& named : test::AllArchitectureSpecs()) {
    test::MakeModel(named.spec).Write(model_);
    const auto model = model::Model::Load(model_, {});
    ASSERT_TRUE(model) << named.name << model.error().message;
    for (const TensorType type : {TensorType::kF16, TensorType::kF32}) {
      model::SessionOptions options;
      options.k_type = options.v_type = type;
      const auto report = CheckParity(**model, options);
      ASSERT_TRUE(report) << named.name << report.error().message;
      EXPECT_EQ(report->failure, "") << named.name;
      EXPECT_GT(report->n_kinds, 8u);
      EXPECT_GT(report->n_numbers, 1000u);
      EXPECT_LE(report->worst, 1.0);
    }
  }
}

TEST_F(BenchCommand, ParityFindsAWrongOpAndNamesIt) {
  const auto model = model::Model::Load(model_, {});
  ASSERT_TRUE(model);
  model::SessionOptions options;
  options.backend = &wrong;
  const auto failure = [&] {
    const auto report = CheckParity(**model, options);
    return report ? report->failure : report.error().message;
  };
  wrong = CpuBackend();
  EXPECT_EQ(failure(), "");
  wrong.add = WrongAdd;
  EXPECT_THAT(failure(), HasSubstr("add: element 1 is"));
  wrong = CpuBackend();
  wrong.gemm = WrongGemm;
  EXPECT_THAT(failure(), HasSubstr("one token"));
  wrong = CpuBackend();
  wrong.attention = WrongAttention;
  EXPECT_THAT(failure(), HasSubstr("attention over F32 cache, many: element"));
  wrong = CpuBackend();
  wrong.kv_write = WrongKvWrite;
  EXPECT_THAT(failure(), HasSubstr("kv_write F32, many: token 0"));
  wrong = CpuBackend();
  wrong.gemm_swiglu = WrongSwiGlu;
  EXPECT_THAT(failure(), HasSubstr("gemm_swiglu"));
}

}  // namespace
}  // namespace etalon::cli
