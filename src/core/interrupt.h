// Ctrl-C: the first press asks the work to stop at the next token, the second
// ends the program at once.
#ifndef ETALON_CORE_INTERRUPT_H_
#define ETALON_CORE_INTERRUPT_H_

namespace etalon {

inline constexpr int kInterruptedExitStatus = 130;  // 128 + SIGINT

// For programs: handles SIGINT from now on. A second SIGINT ends the process
// with kInterruptedExitStatus without any cleaning up.
void InstallInterruptHandler();

// Whether the user asked to stop; polled between tokens and between chunks.
bool Interrupted();
void ClearInterrupt();

}  // namespace etalon

#endif  // ETALON_CORE_INTERRUPT_H_
