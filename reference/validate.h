// Checks at the entry of the reference ops. Every message names the op, the
// argument, what was found and the rule.
#ifndef ETALON_REFERENCE_VALIDATE_H_
#define ETALON_REFERENCE_VALIDATE_H_

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "etalon/status.h"
#include "etalon/tensor.h"
#include "reference/formats.h"

namespace etalon::reference {

template <class T>
Status CheckMatrix(std::string_view op, std::string_view name,
                   const Span2D<T>& m) {
  if (m.rows == 0 || m.cols == 0) return {};
  ETALON_ENSURE(m.data != nullptr, fmt::format("{}: {} has no data", op, name));
  ETALON_ENSURE(m.rows == 1 || m.stride >= m.cols,
                fmt::format("{}: {} has stride {}, want at least its {} cols",
                            op, name, m.stride, m.cols));
  return {};
}

// `m` has the shape [rows, cols].
template <class T>
Status CheckShape(std::string_view op, std::string_view name,
                  const Span2D<T>& m, size_t rows, size_t cols) {
  ETALON_ENSURE(m.rows == rows && m.cols == cols,
                fmt::format("{}: {} is [{}, {}], want [{}, {}]", op, name,
                            m.rows, m.cols, rows, cols));
  return CheckMatrix(op, name, m);
}

inline Status CheckLength(std::string_view op, std::string_view name,
                          size_t length, size_t wanted) {
  ETALON_ENSURE(length == wanted, fmt::format("{}: {} has {} elements, want {}",
                                              op, name, length, wanted));
  return {};
}

inline Status CheckWeights(std::string_view op, std::string_view name,
                           const WeightMatrix& w) {
  const auto format = WeightFormat(w.type);
  ETALON_ENSURE(format, fmt::format("{}: {} has type {}, which no weight has",
                                    op, name, FormatName(w.type)));
  ETALON_ENSURE(
      w.cols % format->block_size == 0,
      fmt::format("{}: {} has {} cols, want a multiple of {} for {}", op, name,
                  w.cols, format->block_size, FormatName(w.type)));
  if (w.rows == 0 || w.cols == 0) return {};
  ETALON_ENSURE(w.data != nullptr, fmt::format("{}: {} has no data", op, name));
  const size_t row_bytes = w.cols / format->block_size * format->block_bytes;
  ETALON_ENSURE(w.rows == 1 || w.stride_bytes >= row_bytes,
                fmt::format("{}: {} has row stride {}, want at least {} bytes",
                            op, name, w.stride_bytes, row_bytes));
  return {};
}

template <class T>
Status CheckHeads(std::string_view op, std::string_view name,
                  const HeadsView<T>& x) {
  ETALON_ENSURE(x.n_heads > 0 && x.head_dim > 0,
                fmt::format("{}: {} has {} heads of {} lanes, want at least 1",
                            op, name, x.n_heads, x.head_dim));
  ETALON_ENSURE(x.n_tokens == 0 || x.data != nullptr,
                fmt::format("{}: {} has no data", op, name));
  return {};
}

template <class Byte>
Status CheckCache(std::string_view op, std::string_view name,
                  const BasicKvView<Byte>& c) {
  ETALON_ENSURE(c.type == TensorType::kF32 || c.type == TensorType::kF16 ||
                    c.type == TensorType::kBF16 || c.type == TensorType::kQ8_0,
                fmt::format("{}: {} has type {}, want F32, F16, BF16 or Q8_0",
                            op, name, FormatName(c.type)));
  ETALON_ENSURE(c.data != nullptr, fmt::format("{}: {} has no data", op, name));
  const size_t block = WeightFormat(c.type)->block_size;
  ETALON_ENSURE(
      c.head_stride % block == 0 && c.pos_stride % block == 0,
      fmt::format("{}: {} has strides {} and {}, want multiples of {} for {}",
                  op, name, c.head_stride, c.pos_stride, block,
                  FormatName(c.type)));
  return {};
}

// Do two matrices share an element? Interleaved columns of one buffer do not.
template <class A, class B>
bool Overlap(const Span2D<A>& a, const Span2D<B>& b) {
  if (a.rows == 0 || a.cols == 0 || b.rows == 0 || b.cols == 0) return false;
  const auto begin = [](const auto& m) {
    return reinterpret_cast<uintptr_t>(m.data);
  };
  const auto end = [&](const auto& m) {
    return begin(m) + ((m.rows - 1) * m.stride + m.cols) * sizeof(*m.data);
  };
  if (begin(a) >= end(b) || begin(b) >= end(a)) return false;
  if (a.stride != b.stride || sizeof(*a.data) != sizeof(*b.data)) return true;
  const bool a_first = begin(a) <= begin(b);
  const size_t distance =
      (a_first ? begin(b) - begin(a) : begin(a) - begin(b)) / sizeof(*a.data) %
      a.stride;
  const size_t first = a_first ? a.cols : b.cols;
  const size_t second = a_first ? b.cols : a.cols;
  return distance < first || distance + second > a.stride;
}
template <class A, class B>
bool SameView(const Span2D<A>& a, const Span2D<B>& b) {
  return static_cast<const void*>(a.data) == static_cast<const void*>(b.data) &&
         a.stride == b.stride;
}

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_VALIDATE_H_
