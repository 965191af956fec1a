#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "core/parallel.h"
#include "model/weights.h"
#include "simd/finite_scan.h"

namespace etalon::model {
namespace {

// Bytes one task reads: long enough for the hardware prefetcher, short enough
// for progress and for balance between threads.
constexpr size_t kTaskBytes = size_t{4} << 20;

struct Task {
  const io::GgufTensor* tensor;
  size_t first_block;
  size_t n_blocks;
};

std::vector<Task> MakeTasks(const io::GgufFile& file) {
  std::vector<Task> tasks;
  for (const io::GgufTensor& t : file.tensors()) {
    const TypeTraits* traits = FindTypeTraits(t.type());
    if (traits == nullptr || t.data == nullptr) continue;
    const size_t n_blocks = t.n_bytes / traits->block_bytes;
    const size_t step = kTaskBytes / traits->block_bytes;
    for (size_t b = 0; b < n_blocks; b += step) {
      tasks.push_back({&t, b, std::min(step, n_blocks - b)});
    }
  }
  return tasks;
}

}  // namespace

Status CheckFinite(const io::GgufFile& file, int n_threads,
                   const std::function<void(uint64_t)>& progress) {
  const std::vector<Task> tasks = MakeTasks(file);
  // The first bad block in file order, so that the message does not depend on
  // the threads.
  constexpr size_t kNone = SIZE_MAX;
  std::vector<size_t> bad(tasks.size(), kNone);
  std::atomic<uint64_t> done{0};
  ParallelFor(tasks.size(), n_threads, [&](size_t i, int thread) {
    const Task& task = tasks[i];
    const TypeTraits& traits = GetTypeTraits(task.tensor->type());
    const std::byte* data =
        task.tensor->data + task.first_block * traits.block_bytes;
    const auto found =
        simd::FirstNonFiniteBlock(task.tensor->type(), data, task.n_blocks);
    if (found) bad[i] = task.first_block + *found;
    const uint64_t total = done.fetch_add(task.n_blocks * traits.block_bytes) +
                           task.n_blocks * traits.block_bytes;
    if (thread == 0 && progress) progress(total);
  });
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (bad[i] == kNone) continue;
    const io::GgufTensor& t = *tasks[i].tensor;
    const TypeTraits& traits = GetTypeTraits(t.type());
    return BadInput(
        fmt::format("{}: {} {} (row {}, file offset {}) is NaN or Inf", t.name,
                    traits.block_size == 1 ? "element" : "scale of block",
                    bad[i], bad[i] * traits.block_size / t.ne[0],
                    t.offset + bad[i] * traits.block_bytes));
  }
  return {};
}

}  // namespace etalon::model
