// The CPU in words, for people and for result files.
#ifndef ETALON_CORE_CPU_INFO_H_
#define ETALON_CORE_CPU_INFO_H_

#include <string>

namespace etalon {

// "Intel(R) Xeon(R) Processor", from /proc/cpuinfo; "unknown" without it.
std::string CpuModelName();

// "avx2 avx512 avx512-vnni ...": the features kernels look at. Tiles that an
// emulator executes are named so, here and in every result that quotes this.
std::string CpuFeatureList();

}  // namespace etalon

#endif  // ETALON_CORE_CPU_INFO_H_
