#include "ops/span_checks.h"

#include <fmt/format.h>

#include <cstdint>
#include <limits>

namespace etalon::ops {
namespace {

// Elements from the first to one past the last; CheckSpan has excluded
// overflow.
size_t Extent(Span2D<const float> s) {
  return s.empty() ? 0 : (s.rows - 1) * s.stride + s.cols;
}

bool Same(Span2D<const float> a, Span2D<const float> b) {
  return a.data == b.data && a.rows == b.rows && a.cols == b.cols &&
         (a.stride == b.stride || a.rows <= 1);
}

bool Disjoint(Span2D<const float> a, Span2D<const float> b) {
  if (a.empty() || b.empty()) return true;
  const uintptr_t begin_a = reinterpret_cast<uintptr_t>(a.data);
  const uintptr_t begin_b = reinterpret_cast<uintptr_t>(b.data);
  if (begin_a + Extent(a) * sizeof(float) <= begin_b ||
      begin_b + Extent(b) * sizeof(float) <= begin_a) {
    return true;
  }
  // Column ranges of one matrix: the later one starts after the earlier one's
  // columns and ends before the next row.
  const bool a_first = begin_a <= begin_b;
  const uintptr_t distance = a_first ? begin_b - begin_a : begin_a - begin_b;
  if (a.stride != b.stride || distance % sizeof(float) != 0) return false;
  const size_t column = distance / sizeof(float) % a.stride;
  const size_t first_cols = a_first ? a.cols : b.cols;
  const size_t later_cols = a_first ? b.cols : a.cols;
  return column >= first_cols && column + later_cols <= a.stride;
}

}  // namespace

Status CheckSpan(std::string_view op, const NamedSpan& s) {
  const Span2D<const float>& v = s.span;
  ETALON_ENSURE(
      v.stride >= v.cols || v.rows <= 1,
      fmt::format("{}: {} stride {} < width {}", op, s.name, v.stride, v.cols));
  if (v.empty()) return {};
  constexpr size_t kMaxElements =
      std::numeric_limits<ptrdiff_t>::max() / sizeof(float);
  ETALON_ENSURE(
      v.cols <= kMaxElements &&
          (v.rows == 1 || v.stride <= (kMaxElements - v.cols) / (v.rows - 1)),
      fmt::format("{}: {} of {} rows with stride {} exceeds the address space",
                  op, s.name, v.rows, v.stride));
  ETALON_ENSURE(v.data != nullptr, fmt::format("{}: {} [{}, {}] is null", op,
                                               s.name, v.rows, v.cols));
  return {};
}

Status CheckSameShape(std::string_view op, const NamedSpan& a,
                      const NamedSpan& b) {
  ETALON_ENSURE(
      a.span.rows == b.span.rows && a.span.cols == b.span.cols,
      fmt::format("{}: {} is [{}, {}], need the shape of {}, [{}, {}]", op,
                  b.name, b.span.rows, b.span.cols, a.name, a.span.rows,
                  a.span.cols));
  return {};
}

Status CheckDisjoint(std::string_view op, const NamedSpan& a,
                     const NamedSpan& b) {
  ETALON_ENSURE(Disjoint(a.span, b.span),
                fmt::format("{}: {} overlaps {}", op, b.name, a.name));
  return {};
}

Status CheckSameOrDisjoint(std::string_view op, const NamedSpan& in,
                           const NamedSpan& out) {
  ETALON_ENSURE(Same(in.span, out.span) || Disjoint(in.span, out.span),
                fmt::format("{}: {} overlaps {} without being the same view",
                            op, out.name, in.name));
  return {};
}

}  // namespace etalon::ops
