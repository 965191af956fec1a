// The figures of the HTML report, each one SVG element. Colours are CSS
// variables of the page, so that light and dark are the page's matter; what a
// colour says is also said by a mark or a title.
#ifndef ETALON_REFERENCE_GOLDEN_REPORT_FIGURES_H_
#define ETALON_REFERENCE_GOLDEN_REPORT_FIGURES_H_

#include <string>
#include <vector>

#include "reference/golden/result.h"

namespace etalon::golden {

// Colour class of a ratio err / bound: h0 (below 1e-4) ... h5 (0.3 to 1), then
// bad ones: h6 (1 to 10), h7 (beyond, or a wrong special value).
int HeatClass(double ratio);
// The legend that explains the classes.
std::string HeatLegend();

// Rows x columns of the worst ratio: layers x modules of a model, else ops x
// families.
std::string Heatmap(const CheckResult& result);
// How many elements have which err / bound, over all cases, or of one op.
std::string Histogram(const CheckResult& result);
// Every element of a failing output (the worst of each cell where there are
// more than fit), the last axis across.
std::string ElementMap(const OutputResult& output);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_REPORT_FIGURES_H_
