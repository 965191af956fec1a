// The table of ops that a model runs on. `cpu` (src/ops) and `reference`
// (reference/, fp64) fill it; a GPU port plugs in here, and the parity suite
// walks the tables by name. Every entry has the semantics, shapes and errors
// stated at its args struct.
#ifndef ETALON_BACKEND_H_
#define ETALON_BACKEND_H_

#include <string>
#include <string_view>
#include <vector>

#include "etalon/attention.h"
#include "etalon/elementwise.h"
#include "etalon/gemm.h"
#include "etalon/moe.h"
#include "etalon/norm.h"
#include "etalon/rope.h"

namespace etalon {

struct Backend {
  std::string_view name;
  Status (*embedding)(const EmbeddingArgs&, ExecContext&);
  Status (*rms_norm)(const RmsNormArgs&, ExecContext&);
  Status (*rope)(const RopeArgs&, ExecContext&);
  Status (*gemm)(const GemmArgs&, ExecContext&);
  Status (*gemm_swiglu)(const GemmSwiGluArgs&, ExecContext&);
  Status (*kv_write)(const KvWriteArgs&, ExecContext&);
  Status (*attention)(const AttentionArgs&, ExecContext&);
  Status (*swiglu)(const SwiGluArgs&, ExecContext&);
  Status (*add)(const AddArgs&, ExecContext&);
  Status (*scale_rows)(const ScaleRowsArgs&, ExecContext&);
  Status (*softmax)(const SoftmaxArgs&, ExecContext&);
  Status (*moe_router)(const MoeRouterArgs&, ExecContext&);
  Status (*moe_ffn)(const MoeFfnArgs&, ExecContext&);
};

const Backend& CpuBackend();        // src/ops/backend.cc
const Backend& ReferenceBackend();  // reference/backend.cc

// Every table this process knows: reference, cpu, then those registered. A
// port answers kUnsupported for an op or shape that it does not have.
std::vector<const Backend*> Backends();  // src/capi/backends.cc
const Backend* FindBackend(std::string_view name);
// `backend` must live as long as the process; its name must be new.
Status RegisterBackend(const Backend& backend);
// A shared library that exports etalon_backend_entry (etalon.h).
Status LoadBackend(const std::string& path);

}  // namespace etalon

#endif  // ETALON_BACKEND_H_
