// The kernels of emulator.h, by op.
#ifndef ETALON_REFERENCE_GOLDEN_EMULATOR_KERNELS_H_
#define ETALON_REFERENCE_GOLDEN_EMULATOR_KERNELS_H_

#include <cmath>
#include <string_view>
#include <vector>

#include "reference/golden/case.h"
#include "reference/golden/machine.h"

namespace etalon::golden::internal {

// A case, a machine, a bug: what every kernel is given.
struct Emulation {
  const Case& c;
  const Machine& m;
  std::string_view bug;

  bool Is(std::string_view id) const { return bug == id; }
  std::vector<double> In(std::string_view name) const {
    const Input* i = c.FindInput(name);
    std::vector<double> v;
    if (i == nullptr) return v;
    for (size_t k = 0; k < i->data.n(); ++k) {
      v.push_back(m.Flush(ElementValue(i->data, k)));
    }
    return v;
  }
  Shape ShapeOf(std::string_view name) const {
    const Input* i = c.FindInput(name);
    return i == nullptr ? Shape{0, 0, 0} : i->shape;
  }
  int64_t Int(const std::string& name) const { return c.Int(name).value_or(0); }
  double F32(const std::string& name) const {
    return static_cast<double>(c.Float(name).value_or(0.0f));
  }
  std::string Text(const std::string& name) const {
    return c.Text(name).value_or("");
  }
  // Output i from values, rounded to its dtype.
  Tensor Result(size_t i, const std::vector<double>& values) const;
};

std::vector<double> EmulateRmsNorm(const Emulation& e);
std::vector<double> EmulateSoftmax(const Emulation& e);
std::vector<double> EmulateRope(const Emulation& e);
std::vector<double> EmulateSwiGlu(const Emulation& e);
std::vector<double> EmulateAdd(const Emulation& e);
std::vector<double> EmulateScaleRows(const Emulation& e);
std::vector<double> EmulateGemm(const Emulation& e);
std::vector<double> EmulateDequantize(const Emulation& e);
std::vector<double> EmulateAttention(const Emulation& e);
std::vector<double> EmulateKvWrite(const Emulation& e);
void EmulateRouter(const Emulation& e, std::vector<double>& experts,
                   std::vector<double>& weights);
void EmulateQuantize(const Emulation& e, std::vector<double>& d,
                     std::vector<double>& q);

}  // namespace etalon::golden::internal

#endif  // ETALON_REFERENCE_GOLDEN_EMULATOR_KERNELS_H_
