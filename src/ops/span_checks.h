// What every op checks of the views it is handed. Each failure is one line:
// op, field, the value found, the rule it breaks.
#ifndef ETALON_OPS_SPAN_CHECKS_H_
#define ETALON_OPS_SPAN_CHECKS_H_

#include <cstddef>
#include <string_view>

#include "etalon/tensor.h"

namespace etalon::ops {

struct NamedSpan {
  std::string_view name;
  Span2D<const float> span;
};

// Width <= stride, extent representable, data present unless empty.
Status CheckSpan(std::string_view op, const NamedSpan& s);
// The same rows and columns.
Status CheckSameShape(std::string_view op, const NamedSpan& a,
                      const NamedSpan& b);
// No element of one is an element of the other. Views of one buffer whose
// columns lie side by side are disjoint.
Status CheckDisjoint(std::string_view op, const NamedSpan& a,
                     const NamedSpan& b);
// Disjoint or the very same view: an op that reads an element before it writes
// it may work in place.
Status CheckSameOrDisjoint(std::string_view op, const NamedSpan& in,
                           const NamedSpan& out);

}  // namespace etalon::ops

#endif  // ETALON_OPS_SPAN_CHECKS_H_
