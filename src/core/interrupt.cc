#include "core/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace etalon {
namespace {

std::atomic<int> presses{0};
static_assert(std::atomic<int>::is_always_lock_free);  // async-signal-safe

void OnSigint(int /*signal*/) {
  if (presses.fetch_add(1) > 0) _exit(kInterruptedExitStatus);
}

}  // namespace

void InstallInterruptHandler() {
  struct sigaction action = {};
  action.sa_handler = OnSigint;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: a read that waits for the user returns and is seen.
  sigaction(SIGINT, &action, nullptr);
}

bool Interrupted() { return presses.load(std::memory_order_relaxed) > 0; }
void ClearInterrupt() { presses.store(0); }

}  // namespace etalon
