#include "etalon/workspace.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace etalon {
namespace {

constexpr size_t kMaxBytes = std::numeric_limits<ptrdiff_t>::max();

// Callers add up the sizes of several buffers; each is rounded up to a cache
// line when it is handed out. This much covers 64 of them.
constexpr size_t kReserveSlack = 64 * Workspace::kAlignment;

constexpr size_t RoundUp(size_t bytes, size_t unit = Workspace::kAlignment) {
  return (bytes + unit - 1) / unit * unit;
}

tl::unexpected<Error> TooLarge(size_t bytes) {
  return Fail(ErrorCode::kLimit, "workspace: the system refused " +
                                     std::to_string(bytes) + " bytes");
}

// Large blocks in huge pages: fewer page-table walks. Only a hint.
std::byte* AllocateBlock(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const bool large = bytes >= 2 * kHugePage;
  const size_t unit = large ? kHugePage : Workspace::kAlignment;
  void* const p = std::aligned_alloc(unit, RoundUp(bytes, unit));
  if (large && p != nullptr) madvise(p, bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(p);
}

}  // namespace

void Workspace::FreeDeleter::operator()(std::byte* p) const { std::free(p); }

// Makes the block that follows everything in use at least `bytes` long.
Status Workspace::AddBlock(size_t bytes) {
  // Memory is handed out and given back in stack order: blocks past the one in
  // use are empty, and so is that one when nothing of it is used.
  const size_t first_empty = used_ == 0 ? block_ : block_ + 1;
  const auto empty = [&] {
    return blocks_.begin() +
           static_cast<ptrdiff_t>(std::min(first_empty, blocks_.size()));
  };
  const auto found =
      std::find_if(empty(), blocks_.end(),
                   [bytes](const Block& b) { return b.size >= bytes; });
  if (found != blocks_.end()) {
    std::iter_swap(empty(), found);
    return {};
  }
  Block block;
  block.data.reset(AllocateBlock(bytes));
  if (!block.data) return TooLarge(bytes);
  block.size = bytes;
  // The empty ones were too small once and would be again: one large block
  // takes their place, so that the arena settles at one block.
  for (auto it = empty(); it != blocks_.end(); ++it) capacity_ -= it->size;
  blocks_.erase(empty(), blocks_.end());
  capacity_ += bytes;
  blocks_.push_back(std::move(block));
  return {};
}

Status Workspace::Reserve(size_t bytes) {
  if (bytes > kMaxBytes - kReserveSlack) return TooLarge(bytes);
  bytes = RoundUp(bytes) + kReserveSlack;
  const size_t here = blocks_.empty() ? 0 : blocks_[block_].size - used_;
  if (here >= bytes) return {};
  return AddBlock(bytes);
}

Expected<std::byte*> Workspace::AllocateBytes(size_t n, size_t element_size) {
  if (n > kMaxBytes / 2 / element_size) {
    return Fail(ErrorCode::kLimit, "workspace: " + std::to_string(n) +
                                       " elements of " +
                                       std::to_string(element_size) +
                                       " bytes are more than memory can hold");
  }
  const size_t bytes = RoundUp(std::max<size_t>(n * element_size, 1));
  if (blocks_.empty() || blocks_[block_].size - used_ < bytes) {
    const size_t before = capacity_;
    // At least as much again, so that the number of growths stays logarithmic.
    const size_t next = used_ == 0 ? block_ : block_ + 1;
    const bool fits = next < blocks_.size() && blocks_[next].size >= bytes;
    if (!fits) {
      if (Status s = AddBlock(std::max(bytes, capacity_)); !s) {
        ETALON_RETURN_IF_ERROR(AddBlock(bytes));
      }
    }
    if (capacity_ != before) ++growths_;
    block_ = next;
    used_ = 0;
  }
  std::byte* p = blocks_[block_].data.get() + used_;
  used_ += bytes;
  return p;
}

}  // namespace etalon
