#include "core/cpu_info.h"

#include <fmt/format.h>

#include <fstream>
#include <vector>

#include "simd/target.h"

namespace etalon {

std::string CpuModelName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line)) {
    if (!line.starts_with("model name")) continue;
    const size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    if (begin != std::string::npos) return line.substr(begin);
  }
  return "unknown";
}

std::string CpuFeatureList() {
  const simd::CpuFeatures& f = simd::GetCpuFeatures();
  std::vector<const char*> names;
  if (f.avx2) names.push_back("avx2");
  if (f.avx512) names.push_back("avx512");
  if (f.avx512_vnni) names.push_back("avx512-vnni");
  if (f.avx512_bf16) names.push_back("avx512-bf16");
  if (f.amx_int8) {
    names.push_back(f.amx_emulated ? "amx-int8-emulated" : "amx-int8");
  }
  if (f.amx_bf16) {
    names.push_back(f.amx_emulated ? "amx-bf16-emulated" : "amx-bf16");
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, " "));
}

}  // namespace etalon
