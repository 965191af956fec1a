// Loaded before a program (LD_PRELOAD, or linked), executes the AMX
// instructions that the processor lacks: they trap as illegal (SIGILL), the
// handler does what they would have done, and the program goes on behind them.
// With ETALON_EMULATED_AMX=1 (simd/target.h) the engine then has its AMX tier
// on every processor that can run the tier's vector code. On a processor with
// AMX nothing traps, and this library does nothing.
//
// Not emulated: cpuid, the kernel's permission for tile data, and its saving of
// tiles over other signals' handlers.
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tests/amx/tile_unit.h"

namespace etalon::amx {
namespace {

// Initial-exec: the general model may allocate at a thread's first use, which
// a signal handler must not.
[[gnu::tls_model("initial-exec")]] constinit thread_local TileUnit t_unit{};

struct sigaction g_previous;

// One line on stderr, put together without allocation.
class Line {
 public:
  Line& Text(const char* text) {
    while (*text != '\0' && size_ < sizeof text_) text_[size_++] = *text++;
    return *this;
  }
  Line& Hex(uint64_t value, int digits) {
    for (int d = digits - 1; d >= 0; --d) {
      const char digit[] = {"0123456789abcdef"[(value >> (4 * d)) & 15], '\0'};
      Text(digit);
    }
    return *this;
  }
  // The bytes of an instruction, 15 at most, none from the next page.
  Line& Code(const uint8_t* code) {
    const size_t in_page = 4096 - reinterpret_cast<uintptr_t>(code) % 4096;
    for (size_t i = 0; i < 15 && i < in_page; ++i) Text(" ").Hex(code[i], 2);
    return *this;
  }
  void Write() {
    Text("\n");
    [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text_, size_);
  }

 private:
  char text_[256];
  size_t size_ = 0;
};

Line Begin(const char* what, const uint8_t* code) {
  Line line;
  line.Text("tile emulator: ").Text(what).Text(", at 0x");
  line.Hex(reinterpret_cast<uintptr_t>(code), 16).Text(":").Code(code);
  return line;
}

void OnIllegalInstruction(int, siginfo_t* info, void* context) {
  greg_t* const r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const uint8_t*>(r[REG_RIP]);
  constexpr int kOrder[16] = {
      REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  uint64_t registers[16];
  for (int i = 0; i < 16; ++i) {
    registers[i] = static_cast<uint64_t>(r[kOrder[i]]);
  }
  // Those that follow at once go along: a trap costs more than a product.
  const uint8_t* at = code;
  TileInstruction instruction;
  while (info->si_code > 0 && Decode(at, registers, &instruction)) {
    if (const char* fault = Execute(instruction, t_unit)) {
      Begin(fault, at).Write();
      std::abort();
    }
    at += instruction.length;
  }
  if (at != code) {
    r[REG_RIP] = static_cast<greg_t>(reinterpret_cast<uintptr_t>(at));
    return;
  }
  // Not ours: as if this library were not there, the instruction faults again.
  sigaction(SIGILL, &g_previous, nullptr);
  if (info->si_code <= 0) {
    raise(SIGILL);  // sent by kill() and not by an instruction
  } else {
    Begin("illegal instruction", code).Write();
  }
}

// SIGILL stays blocked within the handler: an illegal instruction of its own
// ends the process instead of calling it again. On the thread's own stack, not
// on an alternate one, which may be too small for a product's 8 KiB and more.
[[gnu::constructor]] void Install() {
  struct sigaction action = {};
  action.sa_sigaction = OnIllegalInstruction;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGILL, &action, &g_previous);
}

}  // namespace
}  // namespace etalon::amx
