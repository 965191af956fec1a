#include "layer/log_observer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/log.h"
#include "quant/block_formats.h"
#include "quant/f16.h"

namespace etalon::layer {
namespace {

// Range of the finite ones and how many are not.
struct Scales {
  void Add(float x) {
    n_nan += std::isnan(x) ? 1 : 0;
    n_inf += std::isinf(x) ? 1 : 0;
    if (!std::isfinite(x)) return;
    low = std::min(low, x);
    high = std::max(high, x);
  }
  std::string Text(std::string_view name) const {
    const std::string range = low <= high
                                  ? fmt::format(" {}=[{}, {}]", name, low, high)
                                  : fmt::format(" {}=none", name);
    return range + fmt::format(" nan={} inf={}", n_nan, n_inf);
  }
  size_t n_nan = 0, n_inf = 0;
  float low = INFINITY, high = -INFINITY;
};

float ScaleOf(float d) { return d; }
float ScaleOf(uint16_t d) { return F16ToF32(d); }

template <class Block>
std::string ScalesOf(const WeightMatrix& m, size_t block_size) {
  Scales d, dmin;
  constexpr bool kHasMin = requires(const Block& b) { b.dmin; };
  for (size_t r = 0; r < m.rows; ++r) {
    const auto* row = reinterpret_cast<const Block*>(m.row(r));
    for (size_t b = 0; b < m.cols / block_size; ++b) {
      d.Add(ScaleOf(row[b].d));
      if constexpr (kHasMin) dmin.Add(ScaleOf(row[b].dmin));
    }
  }
  return d.Text("d") + (kHasMin ? dmin.Text("dmin") : "");
}

std::string ScalesOf(const WeightMatrix& m) {
  switch (m.type) {
    case TensorType::kQ4_K:
      return ScalesOf<BlockQ4_K>(m, kQkK);
    case TensorType::kQ5_K:
      return ScalesOf<BlockQ5_K>(m, kQkK);
    case TensorType::kQ6_K:
      return ScalesOf<BlockQ6_K>(m, kQkK);
    case TensorType::kQ8_K:
      return ScalesOf<BlockQ8_K>(m, kQkK);
    case TensorType::kQ8_0:
      return ScalesOf<BlockQ8_0>(m, kQk);
    default:
      return "";
  }
}

}  // namespace

std::string DescribeStage(std::string_view stage, Span2D<const float> values) {
  size_t n_nan = 0, n_inf = 0;
  float low = INFINITY, high = -INFINITY;
  for (size_t r = 0; r < values.rows; ++r) {
    for (const float x : values.row(r)) {
      n_nan += std::isnan(x) ? 1 : 0;
      n_inf += std::isinf(x) ? 1 : 0;
      low = std::min(low, x);
      high = std::max(high, x);
    }
  }
  std::string line = fmt::format("[LAYER_DEBUG] {:<30} size={}", stage,
                                 values.rows * values.cols);
  if (n_nan + n_inf > 0) {
    return line + fmt::format(" nan={} inf={}", n_nan, n_inf);
  }
  if (values.empty()) return line;
  return line + fmt::format(" range=[{}, {}]", low, high);
}

std::string DescribeBlocks(std::string_view stage, const WeightMatrix& m) {
  return fmt::format("[LAYER_DEBUG] {:<30} {} size={}", stage, TypeName(m.type),
                     m.rows * m.cols) +
         ScalesOf(m);
}

void LogObserver::OnLayer(size_t layer) {
  Log(LogLevel::kInfo, "[LAYER_DEBUG] layer {}", layer);
}

void LogObserver::OnBlocks(std::string_view stage, const WeightMatrix& blocks) {
  if (LogEnabled(LogLevel::kInfo)) {
    LogMessage(LogLevel::kInfo, DescribeBlocks(stage, blocks));
  }
}

void LogObserver::OnStage(std::string_view stage, Span2D<const float> values) {
  if (LogEnabled(LogLevel::kInfo)) {
    LogMessage(LogLevel::kInfo, DescribeStage(stage, values));
  }
}

}  // namespace etalon::layer
