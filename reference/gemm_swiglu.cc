// silu(x Wgate^T) * (x Wup^T): the products rounded to f32, as the contract
// defines them (the bits of two Gemm and a SwiGlu), then the gate.
#include <array>
#include <vector>

#include "reference/ops.h"
#include "reference/oracle.h"

namespace etalon::reference {

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
