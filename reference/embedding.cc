#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {
constexpr char kOp[] = "embedding";
}

Expected<Oracle> EmbeddingOracle(const EmbeddingArgs& args) {
  const WeightMatrix& table = args.table;
  ETALON_RETURN_IF_ERROR(CheckWeights(kOp, "table", table));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "out", args.out, args.tokens.size(), table.cols));
  for (size_t t = 0; t < args.tokens.size(); ++t) {
    const int32_t id = args.tokens[t];
    ETALON_ENSURE(id >= 0 && static_cast<size_t>(id) < table.rows,
                  fmt::format("{}: token {} at {} is outside the table of {}",
                              kOp, id, t, table.rows));
  }
  Oracle oracle;
  oracle.value.resize(args.tokens.size() * table.cols);
  for (size_t t = 0; t < args.tokens.size(); ++t) {
    DecodeRow(table.type, table.row(static_cast<size_t>(args.tokens[t])),
              {oracle.value.data() + t * table.cols, table.cols});
  }
  return oracle;
}

Status Embedding(const EmbeddingArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, EmbeddingOracle(args));
  Store(oracle.value, args.out);
  return {};
}

}  // namespace etalon::reference
