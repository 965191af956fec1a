#include "layer/log_observer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/log.h"

namespace etalon::layer {

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

void LogObserver::OnStage(std::string_view stage, Span2D<const float> values) {
  if (LogEnabled(LogLevel::kInfo)) {
    LogMessage(LogLevel::kInfo, DescribeStage(stage, values));
  }
}

}  // namespace etalon::layer
