// The only door to threads. A parallel region is opened by one engine thread,
// never nested; results must not depend on which thread runs which task, so
// work is cut by shapes, and partial results merge in index order.
#ifndef ETALON_CORE_PARALLEL_H_
#define ETALON_CORE_PARALLEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace etalon {

// A callable passed by reference: two words, no allocation. It must outlive
// the call it is passed to, which a lambda in the argument list does.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
           std::is_invocable_r_v<R, F&, Args...>)
      FunctionRef(F&& f)  // NOLINT(google-explicit-constructor)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(
              std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const {
    return call_(object_, std::forward<Args>(args)...);
  }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

enum class Schedule {
  // Each thread takes the next task when it is free: a thread that the system
  // puts aside does not hold up the rest. Tasks of 20 us or more.
  kDynamic,
  // Equal contiguous ranges: for many small, equal tasks.
  kStatic,
  // The ranges of kStatic, but who is done with its own helps the others: for
  // rows that one op after the other goes through. A thread finds in its cache
  // what it wrote in the region before.
  kOwnFirst,
};

// Calls fn(task, thread) once for every task in [0, n_tasks), on at most
// n_threads threads; thread is in [0, n_threads) and no two calls that run at
// the same time share it. Returns when all are done. fn must not throw. Runs
// on the calling thread when one thread suffices. Every call runs with the
// default floating-point environment, whatever the caller has set.
void ParallelFor(size_t n_tasks, int n_threads,
                 FunctionRef<void(size_t task, int thread)> fn,
                 Schedule schedule = Schedule::kDynamic);

// For profilers: what the regions that this thread opens come to. In ticks
// (core/ticks.h), summed over regions.
struct RegionClock {
  uint64_t regions = 0;
  uint64_t wall = 0;     // from opening to closing
  uint64_t thread = 0;   // wall times the team
  uint64_t busy = 0;     // summed over the team: from a thread's first task to
                         // the end of its last
  uint64_t longest = 0;  // of the thread that was busy longest
};
// Counts into `clock` from now on; null, the state at start, costs nothing but
// a look. Per calling thread.
void SetRegionClock(RegionClock* clock);

}  // namespace etalon

#endif  // ETALON_CORE_PARALLEL_H_
