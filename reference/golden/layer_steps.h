// A layer case taken apart: every op of the block as a case of its own, run by
// whoever is asked. Emulated machines and the second oracle go through it; the
// reference and the engine have their own order of the ops.
#ifndef ETALON_REFERENCE_GOLDEN_LAYER_STEPS_H_
#define ETALON_REFERENCE_GOLDEN_LAYER_STEPS_H_

#include <functional>
#include <string_view>
#include <vector>

#include "reference/golden/case.h"

namespace etalon::golden {

// The first output of a case whose inputs hold data; its outputs are declared,
// it has no expected values.
using RunStep = std::function<Expected<Tensor>(const Case& step)>;

// The block's output. `bug`: one of the catalogue's of op "layer".
Expected<Tensor> RunLayerSteps(const Case& layer, const RunStep& run,
                               std::string_view bug = "");

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_LAYER_STEPS_H_
