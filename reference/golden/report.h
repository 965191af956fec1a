// What a check found, for people and for machines. Everything is made of a
// CheckResult, and the same result gives the same bytes: no clock, no paths but
// those in it.
#ifndef ETALON_REFERENCE_GOLDEN_REPORT_H_
#define ETALON_REFERENCE_GOLDEN_REPORT_H_

#include <string>
#include <string_view>

#include "reference/golden/result.h"

namespace etalon::golden {

// One self-contained HTML file, its figures inline SVG, light and dark: first
// divergence, heatmap, histogram of err / bound, element map of the first
// failing tensor, fingerprints, fits, failing cases with a line that repeats
// each.
std::string HtmlReport(const CheckResult& result);
// One test suite an op, one test case a case; a warning is a pass with output.
std::string JUnitReport(const CheckResult& result);
// Everything but the per-element ratios.
std::string JsonReport(const CheckResult& result);

// "layer 7, attention, out[token 0, head 5, d 77]: r = 412, got 0.60, want
// 0.55 +- 3.1e-06"; empty when nothing failed.
std::string FirstDivergence(const CheckResult& result);

// What stands in every such file: text that cannot end an element, an
// attribute or a string.
std::string EscapeXml(std::string_view text);
std::string EscapeJson(std::string_view text);  // with its quotes

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_REPORT_H_
