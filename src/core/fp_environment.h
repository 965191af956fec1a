// Rounding mode and denormal flags are part of the bits: a host program that
// flushes denormals or rounds upwards would change every result.
#ifndef ETALON_CORE_FP_ENVIRONMENT_H_
#define ETALON_CORE_FP_ENVIRONMENT_H_

#if !defined(__SSE2__)
#include <cfenv>
#endif

namespace etalon {

// While one lives, this thread rounds to nearest, keeps denormals and masks
// all floating-point traps; afterwards the thread is as it was.
class ScopedFpEnvironment {
 public:
#if defined(__SSE2__)
  ScopedFpEnvironment() : saved_(__builtin_ia32_stmxcsr()) {
    // Writing the register is slow, and it is almost always right already.
    if ((saved_ & ~kFlags) != kDefault) __builtin_ia32_ldmxcsr(kDefault);
  }
  ~ScopedFpEnvironment() {
    if ((saved_ & ~kFlags) != kDefault) __builtin_ia32_ldmxcsr(saved_);
  }
#else
  ScopedFpEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~ScopedFpEnvironment() { std::fesetenv(&saved_); }
#endif
  ScopedFpEnvironment(const ScopedFpEnvironment&) = delete;
  ScopedFpEnvironment& operator=(const ScopedFpEnvironment&) = delete;

 private:
#if defined(__SSE2__)
  // MXCSR: all exceptions masked, nearest even, no FTZ, no DAZ.
  static constexpr unsigned kDefault = 0x1F80;
  static constexpr unsigned kFlags = 0x3F;  // sticky exception flags
  unsigned saved_;
#else
  std::fenv_t saved_;
#endif
};

}  // namespace etalon

#endif  // ETALON_CORE_FP_ENVIRONMENT_H_
