#include "ops/self_tests.h"

#include <vector>

namespace etalon::ops {

bool SelfTestDequantize();
bool SelfTestQuantizeRow();
bool SelfTestGemm();
bool SelfTestExp();
bool SelfTestElementwise();
bool SelfTestRmsNorm();
bool SelfTestSoftmax();
bool SelfTestRope();

// Declare `bool SelfTestX();` above, define it beside the op, add a line here.
std::span<const SelfTest> KernelSelfTests() {
  static const std::vector<SelfTest> tests = {
      {"dequantize", SelfTestDequantize},
      {"quantize_row", SelfTestQuantizeRow},
      {"gemm", SelfTestGemm},
      {"exp", SelfTestExp},
      {"elementwise", SelfTestElementwise},
      {"rms_norm", SelfTestRmsNorm},
      {"softmax", SelfTestSoftmax},
      {"rope", SelfTestRope},
  };
  return tests;
}

}  // namespace etalon::ops
