#include "reference/golden/trace.h"

#include <fmt/format.h>

#include "reference/golden/trace_cases.h"

namespace etalon::golden {
namespace {

thread_local Tracer* current = nullptr;

Input Vector(std::string name, std::span<const float> values) {
  Input i;
  i.name = std::move(name);
  i.shape = {values.size()};
  i.data = Tensor(DType::kF32, i.shape, values);
  return i;
}

}  // namespace

template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
Status Tracer::Traced(const Args& args, ExecContext& ctx) {
  Tracer& t = *current;
  if (t.layer_ < 0 || t.block_ended_) ETALON_RETURN_IF_ERROR(t.Flush());
  t.block_ended_ = false;
  ETALON_ASSIGN_OR_RETURN(std::vector<Case> cases, internal::CasesOf(args));
  ETALON_RETURN_IF_ERROR((t.inner_.*Entry)(args, ctx));
  for (size_t i = 0; i < cases.size(); ++i) {
    Call call;
    call.c = std::move(cases[i]);
    call.c.layer = t.layer_;
    call.c.call = t.n_calls_++;
    if (call.c.op == "rope") call.c.inputs.push_back(Vector("freq", t.freq_));
    internal::CallOutput out = internal::OutputOf(args, i);
    call.out = out.address;
    call.outputs = std::move(out.tensors);
    t.calls_.push_back(std::move(call));
  }
  return {};
}

Tracer::Tracer(const Backend& inner, std::vector<float> freq, CaseSink sink)
    : inner_(inner),
      backend_(inner),
      freq_(std::move(freq)),
      sink_(std::move(sink)) {
  ForEachEntry([&]<class Args, auto Entry>() {
    backend_.*Entry = &Tracer::Traced<Args, Entry>;
  });
  current = this;
}

Tracer::~Tracer() { current = nullptr; }

void Tracer::OnStage(std::string_view stage, Span2D<const float> values) {
  if (stage == "input") {
    layer_ = n_layers_++;
    block_ended_ = true;
    return;
  }
  bool reached = false;
  for (size_t i = calls_.size(); i-- > 0;) {
    Call& call = calls_[i];
    if (call.out != values.data) continue;
    if (!call.c.module.empty()) break;
    call.c.module =
        reached ? fmt::format("{}.{}", stage, call.c.op) : std::string(stage);
    reached = true;
  }
  if (stage == "output") layer_ = -1;
}

Status Tracer::Flush() {
  for (Call& call : calls_) {
    Case& c = call.c;
    if (c.module.empty()) {
      c.module = c.layer < 0 ? (c.op == "embedding"  ? "token_embd"
                                : c.op == "rms_norm" ? "output_norm"
                                                     : "output")
                             : c.op;
    }
    c.id = c.layer < 0
               ? fmt::format("{:05}.{}", c.call, c.module)
               : fmt::format("{:05}.layer{:02}.{}", c.call, c.layer, c.module);
    c.family = "model";
    ETALON_RETURN_IF_ERROR(sink_(std::move(c), std::move(call.outputs)));
  }
  calls_.clear();
  return {};
}

Status Tracer::Finish() { return Flush(); }

}  // namespace etalon::golden
