// One tensor's rows, converted chunk by chunk on all threads and handed to a
// sink in order, so that memory does not grow with the tensor.
#ifndef ETALON_QUANTIZE_TENSOR_STREAM_H_
#define ETALON_QUANTIZE_TENSOR_STREAM_H_

#include <functional>
#include <vector>

#include "etalon/status.h"
#include "etalon/types.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"

namespace etalon::quantize {

struct TensorConversion {
  const io::GgufTensor* tensor = nullptr;
  TensorType target = TensorType::kF32;
  // [ne[2] * ne[3], ne[0]] or null: each expert has its own.
  const std::vector<float>* importance = nullptr;
  int n_threads = 1;
  // Called with the bytes written so far; false stops.
  std::function<bool(uint64_t)> on_progress;
};

// Precondition: both types are known, ne[0] is a multiple of both blocks.
Status StreamTensor(const TensorConversion& conversion,
                    const io::GgufWriter::ByteSink& sink);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_TENSOR_STREAM_H_
