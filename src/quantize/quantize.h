// A whole GGUF file to fewer bits: reads F32, F16 or BF16 weights (quantised
// ones only when asked), writes GGUF version 3 atomically: the output name
// always holds its old content or the complete new file, which may be the input
// itself. The same bytes for any number of threads.
// Metadata is copied; general.file_type and general.quantization_version are
// set, quantize.imatrix.* when an importance file is used, split.* dropped.
#ifndef ETALON_QUANTIZE_QUANTIZE_H_
#define ETALON_QUANTIZE_QUANTIZE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "etalon/status.h"
#include "quantize/type_mix.h"

namespace etalon::quantize {

// One tensor, reported before its bytes are made.
struct TensorReport {
  size_t index = 0;
  size_t count = 0;
  std::string_view name;
  std::array<uint64_t, 4> ne{};
  std::string from;
  std::string to;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  // The type that the width did not allow: "Q4_K", empty if none.
  std::string_view wanted;
  bool importance_missing = false;  // a file was given and lacks this tensor
};

struct QuantizeOptions {
  MixOptions mix;
  bool copy = false;              // every tensor as it is
  bool allow_requantize = false;  // input that is quantised already
  bool dry_run = false;           // choose and report, write nothing
  std::string importance_path;    // empty: none
  // Substrings of tensor names: use the importance file for these only, or for
  // all but these. At most one of the two.
  std::vector<std::string> include_weights;
  std::vector<std::string> exclude_weights;
  int n_threads = 1;
  std::function<void(const TensorReport&)> on_tensor;
  // Weight bytes written so far and in all; false stops with an error.
  std::function<bool(uint64_t done, uint64_t total)> on_progress;
};

struct QuantizeSummary {
  uint64_t bytes_in = 0;  // tensor data
  uint64_t bytes_out = 0;
  uint64_t n_weights = 0;
  size_t n_tensors = 0;
  size_t n_fallbacks = 0;
  std::vector<std::string> warnings;  // of the input file
};

// Errors: one line naming tensor, row and rule; then nothing is written. NaN,
// Inf and values beyond the target type's range are errors.
Expected<QuantizeSummary> QuantizeFile(const std::string& input,
                                       const std::string& output,
                                       const QuantizeOptions& options);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_QUANTIZE_H_
