// Scratch memory for ops: an arena that is filled in stack order and emptied as
// a whole, so that nothing is allocated while generating.
#ifndef ETALON_WORKSPACE_H_
#define ETALON_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "etalon/status.h"

namespace etalon {

class Workspace {
 public:
  static constexpr size_t kAlignment = 64;  // one cache line, one zmm

  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Makes at least `bytes` available without further allocation. Error
  // (kLimit) names the size when the system refuses.
  Status Reserve(size_t bytes);

  // Uninitialised memory for n elements, 64-byte aligned, valid until the
  // enclosing Scope ends. Grows the arena when it is too small; null only when
  // memory is exhausted. Not thread safe: call outside parallel regions.
  template <class T>
  Expected<std::span<T>> Allocate(size_t n) {
    ETALON_ASSIGN_OR_RETURN(std::byte * p, AllocateBytes(n, sizeof(T)));
    return std::span<T>(reinterpret_cast<T*>(p), n);
  }

  size_t capacity() const { return capacity_; }
  // How often the arena had to grow beyond what was reserved.
  size_t growths() const { return growths_; }

  // Everything allocated while a Scope lives is released when it ends.
  class Scope {
   public:
    explicit Scope(Workspace& w) : w_(w), block_(w.block_), used_(w.used_) {}
    ~Scope() {
      w_.block_ = block_;
      w_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& w_;
    size_t block_;
    size_t used_;
  };

 private:
  struct FreeDeleter {
    void operator()(std::byte* p) const;
  };
  struct Block {
    std::unique_ptr<std::byte, FreeDeleter> data;
    size_t size = 0;
  };

  Expected<std::byte*> AllocateBytes(size_t n, size_t element_size);
  Status AddBlock(size_t bytes);

  std::vector<Block> blocks_;
  size_t block_ = 0;  // index of the block in use
  size_t used_ = 0;   // bytes used of it
  size_t capacity_ = 0;
  size_t growths_ = 0;
};

// What every op is handed beside its arguments.
struct Config;
struct ExecContext {
  Workspace* workspace = nullptr;
  const Config* config = nullptr;
  int n_threads = 1;
};

}  // namespace etalon

#endif  // ETALON_WORKSPACE_H_
