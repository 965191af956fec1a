#ifndef ETALON_SIMD_READ_AHEAD_H_
#define ETALON_SIMD_READ_AHEAD_H_

#include <cstddef>

#include "hwy/base.h"
#include "simd/target.h"

namespace etalon::simd {

// Rows that are read later, asked for line by line in ascending order, whatever
// the order in which others are read meanwhile: DRAM serves one stream per core
// best. Into L1, although the line is then used from L2: that asks for it with
// more urgency (Zen 5: 91 % of the DRAM roof in decode, into L2 86 %); but into
// L2 where it would not come at all. After the last row its lines are asked for
// again.
class ReadAhead {
 public:
  ReadAhead() = default;  // for calls that ask for nothing
  HWY_INLINE ReadAhead(const std::byte* row, size_t row_bytes,
                       size_t stride_bytes, size_t n_rows)
      : at_(row),
        end_(row + row_bytes),
        row_bytes_(row_bytes),
        stride_bytes_(stride_bytes),
        n_left_(n_rows),
        into_l1_(!GetCpuFeatures().l1_prefetch_is_late) {
    if (row_bytes != stride_bytes || n_rows == 0) return;
    // One long row.
    row_bytes_ = n_rows * row_bytes;
    end_ = row + row_bytes_;
    n_left_ = 1;
  }

  HWY_INLINE void AskForLine() {
    if (into_l1_) {
      __builtin_prefetch(at_, 0, 3);
    } else {
      __builtin_prefetch(at_, 0, 2);
    }
    at_ += kLineBytes;
    if (at_ < end_) return;
    if (n_left_ > 1) {
      --n_left_;
      end_ += stride_bytes_;
    }
    at_ = end_ - row_bytes_;
  }

 private:
  static constexpr size_t kLineBytes = 64;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;  // of the row that at_ is in
  size_t row_bytes_ = 0, stride_bytes_ = 0, n_left_ = 0;
  bool into_l1_ = false;
};

}  // namespace etalon::simd

#endif  // ETALON_SIMD_READ_AHEAD_H_
