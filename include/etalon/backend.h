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

// f.operator()<Args, &Backend::entry>() for every entry, for what wraps a whole
// table: [&]<class Args, auto Entry>() { ... backend.*Entry ... }.
template <class F>
void ForEachEntry(F f) {
  f.template operator()<EmbeddingArgs, &Backend::embedding>();
  f.template operator()<RmsNormArgs, &Backend::rms_norm>();
  f.template operator()<RopeArgs, &Backend::rope>();
  f.template operator()<GemmArgs, &Backend::gemm>();
  f.template operator()<GemmSwiGluArgs, &Backend::gemm_swiglu>();
  f.template operator()<KvWriteArgs, &Backend::kv_write>();
  f.template operator()<AttentionArgs, &Backend::attention>();
  f.template operator()<SwiGluArgs, &Backend::swiglu>();
  f.template operator()<AddArgs, &Backend::add>();
  f.template operator()<ScaleRowsArgs, &Backend::scale_rows>();
  f.template operator()<SoftmaxArgs, &Backend::softmax>();
  f.template operator()<MoeRouterArgs, &Backend::moe_router>();
  f.template operator()<MoeFfnArgs, &Backend::moe_ffn>();
  static_assert(
      sizeof(Backend) == sizeof(std::string_view) + 13 * sizeof(Backend::gemm),
      "an entry is missing above");
}

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
