// Plain-loop kernels on an emulated machine, right or with one catalogued bug.
// They share nothing with the oracles but the decoders of number formats. Three
// uses: what a true profile allows must never fail (no false alarms); what a
// bug does must fail (mutants); and a failing port's output is compared with
// what each bug gives (fingerprints).
#ifndef ETALON_REFERENCE_GOLDEN_EMULATOR_H_
#define ETALON_REFERENCE_GOLDEN_EMULATOR_H_

#include <span>
#include <string_view>

#include "reference/golden/case.h"
#include "reference/golden/machine.h"

namespace etalon::golden {

struct Bug {
  std::string_view id;
  std::string_view op;
  std::string_view bug_class;  // one of the twelve of docs/mutants.md
  std::string_view description;
};
std::span<const Bug> Bugs();

// Is there a kernel here for the op, and for this variant of it?
bool CanEmulate(const Case& c);

// What the kernel of c.op gives. `bug` empty: a right kernel. No kernel:
// error kInvalidArgument.
Expected<TensorFile> Emulate(const Case& c, const Machine& machine,
                             std::string_view bug = "");

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_EMULATOR_H_
