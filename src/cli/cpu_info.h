// What `etalon info` says about the machine.
#ifndef ETALON_CLI_CPU_INFO_H_
#define ETALON_CLI_CPU_INFO_H_

#include <string>

namespace etalon::cli {

// "Intel(R) Xeon(R) Processor", from /proc/cpuinfo; "unknown" without it.
std::string CpuModelName();

// "avx2 avx512 avx512-vnni ...": the features kernels look at.
std::string CpuFeatureList();

}  // namespace etalon::cli

#endif  // ETALON_CLI_CPU_INFO_H_
