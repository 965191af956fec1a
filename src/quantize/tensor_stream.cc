#include "quantize/tensor_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "io/untrusted_text.h"
#include "quantize/weight_row.h"
#include "simd/dequantize.h"

namespace etalon::quantize {
namespace {

// About a millisecond of the slowest search.
constexpr size_t kTaskValues = 8192;
// f32 scratch per thread is one row; the output of a chunk is at most 4 MiB
// for any quantised type.
constexpr size_t kChunkValues = size_t{1} << 20;

// First value of the row that cannot be quantised, or n.
size_t FirstBad(const float* x, size_t n, float largest) {
  for (size_t i = 0; i < n; ++i) {
    if (!(std::abs(x[i]) <= largest)) return i;
  }
  return n;
}

class Streamer {
 public:
  explicit Streamer(const TensorConversion& c)
      : c_(c),
        tensor_(*c.tensor),
        width_(tensor_.ne[0]),
        rows_(tensor_.ne[1] * tensor_.ne[2] * tensor_.ne[3]),
        in_bytes_(RowBytes(tensor_.type(), width_)),
        out_bytes_(RowBytes(c.target, width_)),
        scratch_(static_cast<size_t>(c.n_threads), std::vector<float>(width_)) {
  }

  Status Run(const io::GgufWriter::ByteSink& sink) {
    if (width_ == 0 || rows_ == 0) return {};
    const uint64_t rows_per_chunk =
        std::max<uint64_t>(1, kChunkValues / width_);
    std::vector<std::byte> out(
        static_cast<size_t>(std::min(rows_per_chunk, rows_)) * out_bytes_);
    for (uint64_t row = 0; row < rows_; row += rows_per_chunk) {
      const uint64_t end = std::min(rows_, row + rows_per_chunk);
      ETALON_RETURN_IF_ERROR(ConvertRows(row, end, out.data()));
      const size_t n_bytes = static_cast<size_t>(end - row) * out_bytes_;
      ETALON_RETURN_IF_ERROR(sink({out.data(), n_bytes}));
      if (c_.on_progress && !c_.on_progress(end * out_bytes_)) {
        return Fail(ErrorCode::kIo, "interrupted");
      }
    }
    return {};
  }

 private:
  static constexpr uint64_t kNoRow = std::numeric_limits<uint64_t>::max();

  Status ConvertRows(uint64_t begin, uint64_t end, std::byte* out) {
    const uint64_t rows_per_task = std::max<uint64_t>(1, kTaskValues / width_);
    const size_t n_tasks =
        static_cast<size_t>((end - begin + rows_per_task - 1) / rows_per_task);
    // One slot per task: the first bad row does not depend on who found it.
    std::vector<uint64_t> bad(n_tasks, kNoRow);
    ParallelFor(n_tasks, c_.n_threads, [&](size_t task, int thread) {
      const uint64_t first = begin + task * rows_per_task;
      const uint64_t last = std::min(end, first + rows_per_task);
      for (uint64_t row = first; row < last; ++row) {
        if (!ConvertRow(row, thread, out + (row - begin) * out_bytes_)) {
          bad[task] = row;
          return;
        }
      }
    });
    const auto it = std::find_if(bad.begin(), bad.end(),
                                 [](uint64_t row) { return row != kNoRow; });
    return it == bad.end() ? Status() : BadRow(*it);
  }

  const float* Dequantized(uint64_t row, int thread) {
    float* x = scratch_[static_cast<size_t>(thread)].data();
    simd::DequantizeRow(tensor_.type(), tensor_.data + row * in_bytes_, width_,
                        x);
    return x;
  }

  bool ConvertRow(uint64_t row, int thread, std::byte* out) {
    const float* x = Dequantized(row, thread);
    if (FirstBad(x, width_, LargestWeight(c_.target)) != width_) return false;
    const float* importance = nullptr;
    if (c_.importance != nullptr) {
      importance = c_.importance->data() + row / tensor_.ne[1] * width_;
    }
    QuantizeWeightRow(c_.target, x, width_, importance, out);
    return true;
  }

  Status BadRow(uint64_t row) {
    const float* x = Dequantized(row, 0);
    const size_t i = FirstBad(x, width_, LargestWeight(c_.target));
    return BadInput(fmt::format(
        "tensor '{}' row {} column {}: {} cannot be stored as {} (largest {})",
        io::Printable(tensor_.name), row, i, x[i], TypeName(c_.target),
        LargestWeight(c_.target)));
  }

  const TensorConversion& c_;
  const io::GgufTensor& tensor_;
  const size_t width_;
  const uint64_t rows_;
  const size_t in_bytes_;
  const size_t out_bytes_;
  std::vector<std::vector<float>> scratch_;  // [n_threads][width]
};

}  // namespace

Status StreamTensor(const TensorConversion& conversion,
                    const io::GgufWriter::ByteSink& sink) {
  return Streamer(conversion).Run(sink);
}

}  // namespace etalon::quantize
