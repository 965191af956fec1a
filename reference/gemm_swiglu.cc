// silu(x Wgate^T) * (x Wup^T): the products rounded to f32, as the contract
// defines them (the bits of two Gemm and a SwiGlu), then the gate.
#include <array>
#include <vector>

#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/stages.h"

namespace etalon::reference {

Expected<Oracle> GemmSwiGluOracle(const GemmSwiGluArgs& args,
                                  const Profile& p) {
  const auto multiply = [&](const GemmPart& part) {
    return Multiply(args.x, part.weights, static_cast<double>(part.scale),
                    args.activations, &p, part.bias);
  };
  ETALON_ENSURE(args.gate.weights.rows == args.up.weights.rows,
                "gemm_swiglu: gate and up differ in rows");
  ETALON_ASSIGN_OR_RETURN(const Stage gate, multiply(args.gate));
  ETALON_ASSIGN_OR_RETURN(const Stage up, multiply(args.up));
  ETALON_ASSIGN_OR_RETURN(
      const Stage out,
      Activate(gate, up, args.x.rows, args.gate.weights.rows, &p));
  Oracle oracle;
  oracle.value.assign(out.value.begin(), out.value.end());
  oracle.c.push_back(out.error);
  return oracle;
}

Status GemmSwiGlu(const GemmSwiGluArgs& args, ExecContext& ctx) {
  const size_t m = args.x.rows;
  const size_t n = args.gate.weights.rows;
  std::vector<float> gate(m * n);
  std::vector<float> up(m * args.up.weights.rows);
  std::array<GemmPart, 2> parts = {args.gate, args.up};
  parts[0].out = {gate.data(), m, n};
  parts[1].out = {up.data(), m, args.up.weights.rows};
  ETALON_RETURN_IF_ERROR(Gemm({args.x, parts, args.activations}, ctx));
  return SwiGlu({parts[0].out, parts[1].out, args.out}, ctx);
}

}  // namespace etalon::reference
