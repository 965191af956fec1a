// The self-tests of the kernels that ops call, to be passed to RunSelfTests at
// start-up (core/self_test.h says how to write one).
#ifndef ETALON_OPS_SELF_TESTS_H_
#define ETALON_OPS_SELF_TESTS_H_

#include <span>

#include "core/self_test.h"

namespace etalon::ops {

std::span<const SelfTest> KernelSelfTests();

}  // namespace etalon::ops

#endif  // ETALON_OPS_SELF_TESTS_H_
