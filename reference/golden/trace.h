// A backend that writes down every op of another one as a case: parameters,
// inputs as they were before the call, outputs as they were after. Handed to a
// session in the other's place it turns the run of a whole model into a pack,
// by which a port is then judged op by op, each on the golden inputs.
#ifndef ETALON_REFERENCE_GOLDEN_TRACE_H_
#define ETALON_REFERENCE_GOLDEN_TRACE_H_

#include <functional>
#include <string_view>
#include <vector>

#include "etalon/backend.h"
#include "etalon/layer.h"
#include "reference/golden/case.h"

namespace etalon::golden {

// What the run gave for a case: its outputs' tensors, by name.
using CaseSink = std::function<Status(Case c, TensorFile outputs)>;

// One at a time per thread: the table's functions have no object, they find the
// tracer of the thread that calls them.
class Tracer : public layer::LayerObserver {
 public:
  // `freq` [rotary_dim / 2]: the model's RoPE frequencies; `first_position`:
  // that of row 0 of the tables.
  Tracer(const Backend& inner, std::vector<float> freq, CaseSink sink);
  ~Tracer() override;
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  const Backend& backend() const { return backend_; }

  // The latest call that wrote these values takes the stage's name; calls
  // before it on the same memory are steps on the way there: "q_rope.rms_norm".
  void OnStage(std::string_view stage, Span2D<const float> values) override;
  // Hands the last calls to the sink.
  Status Finish();

 private:
  struct Call {
    Case c;
    const void* out = nullptr;  // address of the first output
    TensorFile outputs;
  };
  template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
  static Status Traced(const Args& args, ExecContext& ctx);
  Status Flush();

  Backend inner_;
  Backend backend_;
  std::vector<float> freq_;
  CaseSink sink_;
  int layer_ = -1;  // of the calls that come; -1: outside of any
  int n_layers_ = 0;
  int n_calls_ = 0;
  bool block_ended_ = false;
  std::vector<Call> calls_;  // since the last block began, not yet handed on
};

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_TRACE_H_
