// The reports for machines: JUnit XML and JSON.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "reference/golden/report.h"

namespace etalon::golden {
namespace {

// JSON has no infinity and no NaN: strings say so.
std::string Number(double x) {
  if (std::isnan(x)) return "\"nan\"";
  if (std::isinf(x)) return x > 0 ? "\"inf\"" : "\"-inf\"";
  return fmt::format("{}", x);
}

std::string ElementJson(const Element& e) {
  if (e.index == kNoIndex) return "null";
  return fmt::format(
      R"({{"index":{},"coordinate":[{}],"got":{},"want":{},"bound":{},"ratio":{}}})",
      e.index, fmt::join(e.coordinate, ","), Number(e.got), Number(e.want),
      Number(e.bound), Number(e.ratio));
}

std::string OutputJson(const OutputResult& o) {
  return fmt::format(
      R"({{"name":{},"shape":[{}],"n":{},"n_bad":{},"n_beyond_statistical":{},)"
      R"("n_flips":{},"n_bits_differing":{},"first_bad":{},"worst":{},)"
      R"("mean_ratio":{},"median_ratio":{},"max_ulp":{},"nmse":{},"cosine":{},)"
      R"("allclose":{},"periodicity":{}}})",
      EscapeJson(o.name), fmt::join(o.shape, ","), o.n, o.n_bad,
      o.n_beyond_statistical, o.n_flips, o.n_bits_differing,
      ElementJson(o.first_bad), ElementJson(o.worst), Number(o.mean_ratio),
      Number(o.median_ratio), Number(o.max_ulp), Number(o.nmse),
      Number(o.cosine), o.allclose, EscapeJson(o.periodicity));
}

std::string FingerprintJson(const Fingerprint& f) {
  return fmt::format(
      R"({{"bug":{},"description":{},"ratio":{},"explained":{}}})",
      EscapeJson(f.bug), EscapeJson(f.description), Number(f.ratio),
      Number(f.explained));
}

std::string CaseJson(const CaseResult& c) {
  std::string outputs, fingerprints;
  for (const OutputResult& o : c.outputs) {
    outputs += (outputs.empty() ? "" : ",") + OutputJson(o);
  }
  for (const Fingerprint& f : c.fingerprints) {
    fingerprints += (fingerprints.empty() ? "" : ",") + FingerprintJson(f);
  }
  return fmt::format(
      R"({{"id":{},"op":{},"kind":{},"family":{},"params":{},"status":{},)"
      R"("message":{},"layer":{},"call":{},"module":{},"outputs":[{}],)"
      R"("fingerprints":[{}]}})",
      EscapeJson(c.id), EscapeJson(c.op), EscapeJson(c.kind),
      EscapeJson(c.family), EscapeJson(c.params),
      EscapeJson(StatusName(c.status)), EscapeJson(c.message), c.layer, c.call,
      EscapeJson(c.module), outputs, fingerprints);
}

std::string JUnitCase(const CaseResult& c) {
  const std::string head =
      fmt::format("    <testcase classname=\"{}\" name=\"{}\"", EscapeXml(c.op),
                  EscapeXml(c.id));
  const std::string message = EscapeXml(c.message);
  switch (c.status) {
    case CaseStatus::kFail:
      return fmt::format(
          "{}>\n      <failure message=\"{}\"/>\n    </testcase>\n", head,
          message);
    case CaseStatus::kError:
      return fmt::format(
          "{}>\n      <error message=\"{}\"/>\n    </testcase>\n", head,
          message);
    case CaseStatus::kSkipped:
      return fmt::format(
          "{}>\n      <skipped message=\"{}\"/>\n    </testcase>\n", head,
          message);
    case CaseStatus::kWarn:
      return fmt::format(
          "{}>\n      <system-out>warning: {}</system-out>\n"
          "    </testcase>\n",
          head, message);
    case CaseStatus::kPass:
      break;
  }
  return head + "/>\n";
}

}  // namespace

std::string EscapeXml(std::string_view text) {
  std::string to;
  for (const char c : text) {
    switch (c) {
      case '&':
        to += "&amp;";
        break;
      case '<':
        to += "&lt;";
        break;
      case '>':
        to += "&gt;";
        break;
      case '"':
        to += "&quot;";
        break;
      case '\'':
        to += "&#39;";
        break;
      default:
        // XML 1.0 has no control characters, not even escaped ones.
        to += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return to;
}

std::string EscapeJson(std::string_view text) {
  std::string to = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      to += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      to += c;
    }
  }
  return to + '"';
}

std::string JsonReport(const CheckResult& r) {
  std::string cases, fits;
  for (const CaseResult& c : r.cases) {
    cases += (cases.empty() ? "\n  " : ",\n  ") + CaseJson(c);
  }
  for (const Fit& f : r.fits) {
    fits +=
        fmt::format(R"({}{{"op":{},"direction":{},"delta":{},"threshold":{},)"
                    R"("n_elements":{},"warns":{}}})",
                    fits.empty() ? "\n  " : ",\n  ", EscapeJson(f.op),
                    EscapeJson(f.direction), Number(f.delta),
                    Number(f.threshold), f.n_elements, f.warns);
  }
  return fmt::format(
      "{{\n\"etalon_check\":1,\n\"passed\":{},\n\"pack\":{},\n\"suite\":{},\n"
      "\"subject\":{},\n\"profile\":{},\n\"profile_source\":{},\n"
      "\"command\":{},\n\"first_divergence\":{},\n\"n_pass\":{},\n"
      "\"n_warn\":{},\n\"n_fail\":{},\n\"n_error\":{},\n\"n_skipped\":{},\n"
      "\"n_elements\":{},\n\"fits\":[{}],\n\"cases\":[{}]\n}}\n",
      r.Passed(), EscapeJson(r.pack), EscapeJson(r.suite),
      EscapeJson(r.subject), EscapeJson(r.profile),
      EscapeJson(r.profile_source), EscapeJson(r.command),
      EscapeJson(FirstDivergence(r)), r.n_pass, r.n_warn, r.n_fail, r.n_error,
      r.n_skipped, r.n_elements, fits, cases);
}

std::string JUnitReport(const CheckResult& r) {
  struct Suite {
    std::string cases;
    size_t n = 0, n_fail = 0, n_error = 0, n_skipped = 0;
  };
  std::map<std::string, Suite> suites;
  for (const CaseResult& c : r.cases) {
    Suite& s = suites[c.op];
    s.cases += JUnitCase(c);
    ++s.n;
    s.n_fail += c.status == CaseStatus::kFail ? 1 : 0;
    s.n_error += c.status == CaseStatus::kError ? 1 : 0;
    s.n_skipped += c.status == CaseStatus::kSkipped ? 1 : 0;
  }
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuites name=\"etalon golden check\" tests=\"{}\" failures=\"{}\" "
      "errors=\"{}\">\n",
      r.cases.size(), r.n_fail, r.n_error);
  for (const auto& [op, s] : suites) {
    text += fmt::format(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" "
        "skipped=\"{}\">\n{}  </testsuite>\n",
        EscapeXml(op), s.n, s.n_fail, s.n_error, s.n_skipped, s.cases);
  }
  return text + "</testsuites>\n";
}

}  // namespace etalon::golden
