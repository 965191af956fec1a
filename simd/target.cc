#include "simd/target.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "hwy/highway.h"

#if HWY_ARCH_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace etalon {
namespace {

constexpr std::string_view kTierNames[kNumSimdTiers] = {
    "scalar", "avx2", "avx512", "avx512-vnni", "amx"};

#if HWY_ARCH_X86
struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
CpuidLeaf Cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf r;
  // Checks the highest leaf first and leaves r at zero beyond it.
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}
constexpr bool Bit(uint32_t reg, int bit) { return (reg >> bit) & 1; }

// XCR0: register state that the operating system saves. As an instruction
// and not an intrinsic, because the baseline is compiled without -mxsave.
uint64_t ReadXcr0() {
  uint32_t lo, hi;
  asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t{hi} << 32) | lo;
}

// Linux hands out the 8 KiB of tile state only to processes that ask.
bool AskForTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int kArchReqXcompPerm = 0x1023;
  constexpr int kXfeatureXtileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtileData) == 0;
#else
  return false;
#endif
}

// AMD's family 19h with AVX-512: in family and its extension, 0Fh + 0Ah.
bool IsZen4(const CpuidLeaf& l1, const CpuidLeaf& l7) {
  const CpuidLeaf l0 = Cpuid(0, 0);
  constexpr uint32_t kAuth = 0x68747541;  // of AuthenticAMD
  return l0.ebx == kAuth && (l1.eax >> 8 & 0xf) == 0xf &&
         (l1.eax >> 20 & 0xff) == 0xa && Bit(l7.ebx, 16);
}

simd::CpuFeatures Detect() {
  simd::CpuFeatures f;
  const CpuidLeaf l1 = Cpuid(1, 0);
  const CpuidLeaf l7 = Cpuid(7, 0);
  const CpuidLeaf l71 = Cpuid(7, 1);
  const bool osxsave = Bit(l1.ecx, 27);
  const uint64_t xcr0 = osxsave ? ReadXcr0() : 0;
  constexpr uint64_t kYmm = 0x06;          // SSE, AVX
  constexpr uint64_t kZmm = kYmm | 0xE0;   // opmask, ZMM_Hi256, Hi16_ZMM
  constexpr uint64_t kTiles = 0x3u << 17;  // XTILECFG, XTILEDATA
  const bool ymm = (xcr0 & kYmm) == kYmm;
  const bool zmm = (xcr0 & kZmm) == kZmm;
  const bool tiles = (xcr0 & kTiles) == kTiles;

  // Highway's functions are compiled for more than their names say (AES,
  // PCLMUL, ...), so its own verdict counts as well.
  const int64_t highway = hwy::SupportedTargets();
  const bool fma = Bit(l1.ecx, 12), f16c = Bit(l1.ecx, 29);
  const bool bmi = Bit(l7.ebx, 3) && Bit(l7.ebx, 8);
  f.avx2 =
      ymm && Bit(l7.ebx, 5) && fma && f16c && bmi && (highway & HWY_AVX2) != 0;
  f.avx512 = f.avx2 && zmm && Bit(l7.ebx, 16) && Bit(l7.ebx, 17) &&
             Bit(l7.ebx, 28) && Bit(l7.ebx, 30) && Bit(l7.ebx, 31) &&
             (highway & HWY_AVX3) != 0;
  f.avx512_vnni = f.avx512 && Bit(l7.ecx, 11);
  f.avx512_bf16 = f.avx512 && Bit(l71.eax, 5);
  const bool amx = f.avx512 && tiles && Bit(l7.edx, 24) &&
                   (Bit(l7.edx, 25) || Bit(l7.edx, 22)) && AskForTiles();
  f.amx_int8 = amx && Bit(l7.edx, 25);
  f.amx_bf16 = amx && Bit(l7.edx, 22);
  f.l1_prefetch_is_late = IsZen4(l1, l7);
  const char* emulated = std::getenv("ETALON_EMULATED_AMX");
  if (!amx && f.avx512_vnni && emulated != nullptr &&
      std::string_view(emulated) == "1") {
    f.amx_int8 = f.amx_bf16 = f.amx_emulated = true;
  }
  return f;
}

int64_t HighwayTarget(SimdTier tier) {
  if (tier >= SimdTier::kAvx512) return HWY_AVX3;
  if (tier == SimdTier::kAvx2) return HWY_AVX2;
  return 0;  // no bit: Highway's table falls through to its scalar entry
}
#else
simd::CpuFeatures Detect() { return {}; }
// Other architectures have one tier of ours; Highway chooses within it.
int64_t HighwayTarget(SimdTier) { return hwy::SupportedTargets(); }
#endif

// Kernels dispatch through Highway's table of function pointers; its index is
// the lowest bit that is set here and was compiled into the caller's file.
void SteerHighway(SimdTier tier) {
  hwy::GetChosenTarget().Update(HighwayTarget(tier));
}

struct TierState {
  std::vector<SimdTier> supported{SimdTier::kScalar};
  SimdTier active = SimdTier::kScalar;

  TierState() {
    const simd::CpuFeatures& f = simd::GetCpuFeatures();
    if (f.avx2) supported.push_back(SimdTier::kAvx2);
    if (f.avx512) supported.push_back(SimdTier::kAvx512);
    if (f.avx512_vnni) supported.push_back(SimdTier::kAvx512Vnni);
    if (f.avx512_vnni && f.amx_int8) supported.push_back(SimdTier::kAmx);
    active = supported.back();
    SteerHighway(active);
  }
};

TierState& State() {
  static TierState state;
  return state;
}

std::string Join(const std::vector<SimdTier>& tiers) {
  std::string s;
  for (SimdTier t : tiers) {
    if (!s.empty()) s += ", ";
    s += SimdTierName(t);
  }
  return s;
}

}  // namespace

std::string_view SimdTierName(SimdTier tier) {
  return kTierNames[static_cast<int>(tier)];
}

Expected<SimdTier> ParseSimdTier(std::string_view name) {
  std::string known;
  for (int i = 0; i < kNumSimdTiers; ++i) {
    if (name == kTierNames[i]) return static_cast<SimdTier>(i);
    if (i > 0) known += ", ";
    known += kTierNames[i];
  }
  return InvalidArgument("unknown SIMD tier '" + std::string(name) +
                         "'; known: " + known);
}

const std::vector<SimdTier>& SupportedSimdTiers() { return State().supported; }

SimdTier ActiveSimdTier() { return State().active; }

Status SetActiveSimdTier(SimdTier tier) {
  TierState& state = State();
  if (std::find(state.supported.begin(), state.supported.end(), tier) ==
      state.supported.end()) {
    return InvalidArgument("this machine cannot run SIMD tier '" +
                           std::string(SimdTierName(tier)) +
                           "'; it can run: " + Join(state.supported));
  }
  state.active = tier;
  SteerHighway(tier);
  return {};
}

namespace simd {

const CpuFeatures& GetCpuFeatures() {
  static const CpuFeatures features = Detect();
  return features;
}

void DropSimdTier(SimdTier tier) {
  if (tier == SimdTier::kScalar) return;  // the floor: something must run
  TierState& state = State();
  std::erase(state.supported, tier);
  if (state.active != tier) return;
  // The next lower one; the list ascends and starts with scalar.
  for (SimdTier t : state.supported) {
    if (t < tier) state.active = t;
  }
  SteerHighway(state.active);
}

}  // namespace simd
}  // namespace etalon
