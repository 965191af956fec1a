// NumPy's .npy format, version 1.0: C order, little-endian. The file appears
// under its name when it is complete (atomic_file.h).
#ifndef ETALON_IO_NPY_H_
#define ETALON_IO_NPY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "io/atomic_file.h"

namespace etalon::io {

// NumPy's dtype: "<f4", "<i8", "|u1".
template <class T>
constexpr std::string_view NpyDtype();
template <>
constexpr std::string_view NpyDtype<float>() {
  return "<f4";
}
template <>
constexpr std::string_view NpyDtype<double>() {
  return "<f8";
}
template <>
constexpr std::string_view NpyDtype<int8_t>() {
  return "|i1";
}
template <>
constexpr std::string_view NpyDtype<uint8_t>() {
  return "|u1";
}
template <>
constexpr std::string_view NpyDtype<int32_t>() {
  return "<i4";
}
template <>
constexpr std::string_view NpyDtype<uint32_t>() {
  return "<u4";
}
template <>
constexpr std::string_view NpyDtype<int64_t>() {
  return "<i8";
}
template <>
constexpr std::string_view NpyDtype<uint64_t>() {
  return "<u8";
}

// The bytes before the data: a multiple of 64. `shape` outermost first, empty
// for a scalar. Error: more dimensions than version 1.0's header can hold.
Expected<std::string> NpyHeader(std::string_view dtype,
                                std::span<const uint64_t> shape);

// Row after row, for arrays larger than memory.
template <class T>
class NpyWriter {
 public:
  static Expected<NpyWriter> Create(const std::string& path,
                                    std::span<const uint64_t> shape) {
    uint64_t n = 1;
    for (const uint64_t extent : shape) {
      ETALON_ENSURE(!__builtin_mul_overflow(n, extent, &n),
                    "npy shape overflows 2^64");
    }
    ETALON_ASSIGN_OR_RETURN(const std::string header,
                            NpyHeader(NpyDtype<T>(), shape));
    ETALON_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
    ETALON_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(header))));
    return NpyWriter(std::move(file), n);
  }

  // The next elements in C order. Error: more than the shape has.
  Status Append(std::span<const T> elements) {
    ETALON_ENSURE(elements.size() <= n_left_, "npy: more data than its shape");
    n_left_ -= elements.size();
    return file_.Write(std::as_bytes(elements));
  }

  // Error: fewer elements than the shape has; then there is no file.
  Status Finish() {
    ETALON_ENSURE(n_left_ == 0, "npy: less data than its shape");
    return file_.Commit();
  }

 private:
  NpyWriter(AtomicFile file, uint64_t n) : file_(std::move(file)), n_left_(n) {}

  AtomicFile file_;
  uint64_t n_left_;
};

template <class T>
Status WriteNpy(const std::string& path, std::span<const uint64_t> shape,
                std::span<const T> elements) {
  ETALON_ASSIGN_OR_RETURN(auto writer, NpyWriter<T>::Create(path, shape));
  ETALON_RETURN_IF_ERROR(writer.Append(elements));
  return writer.Finish();
}

}  // namespace etalon::io

#endif  // ETALON_IO_NPY_H_
