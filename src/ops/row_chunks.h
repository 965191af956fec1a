// Splits the rows of a row-wise op into tasks. Rows do not depend on each
// other, so the split cannot show in a result.
#ifndef ETALON_OPS_ROW_CHUNKS_H_
#define ETALON_OPS_ROW_CHUNKS_H_

#include <algorithm>
#include <cstddef>

#include "core/parallel.h"

namespace etalon::ops {

// fn(begin, end) over [0, rows) in tasks of about 2^15 elements: some 10 us at
// a few elements per nanosecond, well above the cost of a hand-over. A
// single task runs on the calling thread.
template <class Fn>
void ForRowChunks(size_t rows, size_t elements_per_row, int n_threads,
                  const Fn& fn) {
  constexpr size_t kElementsPerTask = size_t{1} << 15;
  if (rows == 0) return;
  const size_t rows_per_task = std::max<size_t>(
      1, kElementsPerTask / std::max<size_t>(1, elements_per_row));
  const size_t n_tasks = (rows + rows_per_task - 1) / rows_per_task;
  ParallelFor(
      n_tasks, n_threads,
      [&](size_t task, int) {
        const size_t begin = task * rows_per_task;
        fn(begin, std::min(rows, begin + rows_per_task));
      },
      Schedule::kOwnFirst);
}

}  // namespace etalon::ops

#endif  // ETALON_OPS_ROW_CHUNKS_H_
