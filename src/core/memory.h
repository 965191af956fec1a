// How much memory this process may still take.
#ifndef ETALON_CORE_MEMORY_H_
#define ETALON_CORE_MEMORY_H_

#include <cstdint>

namespace etalon {

// The least of: MemAvailable of the machine, what the control groups (v1, v2)
// leave, and the address-space limit. Reads /proc and /sys.
uint64_t AvailableMemoryBytes();

}  // namespace etalon

#endif  // ETALON_CORE_MEMORY_H_
