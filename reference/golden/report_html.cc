// The page. Its style sheet is written for two colour schemes and two widths;
// there is no script: details open, tables scroll, titles say numbers.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <vector>

#include "reference/golden/report.h"
#include "reference/golden/report_figures.h"

namespace etalon::golden {
namespace {

// Blue means inside the bound (dark blue: near it), orange and red outside, in
// hues that the common colour blindnesses keep apart.
constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1c2430;
--soft:#5b6675;--line:#dde2e8;--edge:#b9c2cd;--good:#1a7f4b;--warn:#9a6700;--bad:#c2282d;
--c0:#e3edf7;--c1:#c3daf0;--c2:#96c0e6;--c3:#629fd6;--c4:#3579bd;--c5:#17528f;
--c6:#f08a3c;--c7:#c2282d;--bar:#4a8bc9}
@media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b2129;
--text:#e4e8ee;--soft:#98a3b1;--line:#303843;--edge:#4a5563;--good:#4cc38a;--warn:#e0b03c;
--bad:#ff6b6b;--c0:#1f2c3b;--c1:#23405c;--c2:#27567f;--c3:#2f71a8;--c4:#4b94d1;
--c5:#8cc4f2;--c6:#e8863a;--c7:#ff5a5a;--bar:#4b94d1}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);
font:15px/1.5 system-ui,sans-serif}
main{max-width:1160px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:0 0 10px}
p{margin:0 0 10px}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:16px;margin-top:16px;min-width:0}
.two{display:grid;grid-template-columns:1fr 1fr;gap:0 16px}
@media(max-width:760px){.two{grid-template-columns:1fr}section{padding:12px}}
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0 0;padding:0}
.chips li{list-style:none;border:1px solid var(--line);border-radius:6px;
padding:4px 12px;background:var(--card)}
.chips b{font-size:18px;font-variant-numeric:tabular-nums}
.pass{color:var(--good)}.warn{color:var(--warn)}.fail,.error{color:var(--bad)}
.verdict{border-left:5px solid var(--good)}
.verdict.no{border-left-color:var(--bad)}
code,pre,.num{font-family:ui-monospace,"DejaVu Sans Mono",monospace;
font-size:13px}
pre{background:var(--page);border:1px solid var(--line);border-radius:6px;
padding:8px 10px;margin:8px 0;overflow-x:auto}
.scroll{overflow-x:auto;background:linear-gradient(90deg,var(--card) 30%,
transparent) local,linear-gradient(270deg,var(--card) 30%,transparent) 100% 0
local,linear-gradient(90deg,var(--edge),transparent) scroll,linear-gradient(
270deg,var(--edge),transparent) 100% 0 scroll;background-repeat:no-repeat;
background-size:40px 100%,40px 100%,14px 100%,14px 100%}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid var(--line);
white-space:nowrap;vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:13px}
td.num,th.num{text-align:right}td.wide{white-space:normal;min-width:200px}
svg{display:block}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
svg.fits{width:100%;max-width:760px;height:auto}
@media(max-width:560px){svg.fits text{font-size:19px}}
svg .mark{fill:#fff;font-size:14px;font-weight:700}
.h0{fill:var(--c0)}.h1{fill:var(--c1)}.h2{fill:var(--c2)}.h3{fill:var(--c3)}
.h4{fill:var(--c4)}.h5{fill:var(--c5)}.h6{fill:var(--c6)}.h7{fill:var(--c7)}
.none{fill:none;stroke:var(--line)}
.bar{fill:var(--bar)}.bar.bad{fill:var(--c7)}.grid{stroke:var(--line)}
.limit{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:4 3}
svg .limit-text{fill:var(--bad)}
.legend{margin-top:10px;font-size:13px;color:var(--soft);display:flex;
flex-wrap:wrap;gap:2px 12px}.legend i{display:inline-block;width:12px;
height:12px;border-radius:2px;margin-right:4px;vertical-align:-1px}
.legend .h0{background:var(--c0)}.legend .h1{background:var(--c1)}
.legend .h2{background:var(--c2)}.legend .h3{background:var(--c3)}
.legend .h4{background:var(--c4)}.legend .h5{background:var(--c5)}
.legend .h6{background:var(--c6)}.legend .h7{background:var(--c7)}
.legend .none{border:1px solid var(--line)}
details{border-top:1px solid var(--line);padding:8px 0}
details:first-of-type{border-top:0}
summary{cursor:pointer;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:8px 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
)";

std::string Ratio(double r) {
  if (std::isnan(r) || std::isinf(r)) return "\u221e";
  return r == 0.0 ? "0" : fmt::format("{:.3g}", r);
}

// A number and, as kernels are debugged by them, its bits as f32.
std::string Value(double x) {
  return fmt::format("{:.9g} (0x{:08x})", x,
                     std::bit_cast<uint32_t>(static_cast<float>(x)));
}

std::string Coordinate(const OutputResult& o, const Element& e) {
  std::string text;
  for (size_t a = 0; a < e.coordinate.size(); ++a) {
    const std::string axis = a < o.axes.size() ? o.axes[a] : "i";
    text += fmt::format("{}{} {}", a == 0 ? "" : ", ", axis, e.coordinate[a]);
  }
  return text.empty() ? fmt::format("{}", e.index) : text;
}

// The output to show of a case: the first with bad elements, else the first.
const OutputResult* ShownOutput(const CaseResult& c) {
  for (const OutputResult& o : c.outputs) {
    if (o.n_bad > 0) return &o;
  }
  return c.outputs.empty() ? nullptr : &c.outputs.front();
}

std::string Where(const CaseResult& c) {
  std::string text;
  if (c.layer >= 0) text += fmt::format("layer {}, ", c.layer);
  return text + (c.module.empty() ? c.op : c.module);
}

std::string Definition(std::string_view term, std::string_view text) {
  if (text.empty()) return "";
  return fmt::format("<dt>{}</dt><dd>{}</dd>", EscapeXml(term),
                     EscapeXml(text));
}

std::string Repeat(const CheckResult& r, const CaseResult& c) {
  if (r.command.empty()) return "";
  return fmt::format("<pre>{} --case {}</pre>", EscapeXml(r.command),
                     EscapeXml(c.id));
}

std::string Details(const CheckResult& r, const CaseResult& c) {
  std::string text = "<dl>";
  text += Definition("where", Where(c));
  text += Definition("case", c.id);
  text += Definition("shape", c.params);
  text += Definition("data", c.family);
  if (c.status != CaseStatus::kFail) text += Definition("why", c.message);
  if (const OutputResult* o = ShownOutput(c)) {
    text += Definition("wrong", fmt::format("{} of {} elements of {}", o->n_bad,
                                            o->n, o->name));
    for (const auto& [name, e] :
         {std::pair{"first", &o->first_bad}, {"worst", &o->worst}}) {
      if (e->index == kNoIndex || o->n_bad == 0) continue;
      text += Definition(
          name, fmt::format("{}: got {}, want {} \u00b1 {:.3g}, r = {}",
                            Coordinate(*o, *e), Value(e->got), Value(e->want),
                            e->bound, Ratio(e->ratio)));
    }
    text += Definition("pattern", o->periodicity);
  }
  if (!c.fingerprints.empty()) {
    const Fingerprint& f = c.fingerprints.front();
    text += Definition(
        "looks like",
        fmt::format("{}: {} ({:.0f} % of the elements, r = {})", f.bug,
                    f.description, 100 * f.explained, Ratio(f.ratio)));
  }
  return text + "</dl>" + Repeat(r, c);
}

std::string Header(const CheckResult& r) {
  const auto chip = [](std::string_view cls, size_t n, std::string_view name) {
    return fmt::format("<li class=\"{}\"><b>{}</b> {}</li>",
                       n > 0 ? cls : "soft", n, name);
  };
  return fmt::format(
             "<h1>Golden check: <span class=\"{}\">{}</span></h1>"
             "<p class=\"soft\">{} against pack {} ({}), profile {}</p>",
             r.Passed() ? "pass" : "fail", r.Passed() ? "passed" : "FAILED",
             EscapeXml(r.subject), EscapeXml(r.pack), EscapeXml(r.suite),
             EscapeXml(r.profile)) +
         "<ul class=\"chips\">" + chip("pass", r.n_pass, "pass") +
         chip("warn", r.n_warn, "warn") + chip("fail", r.n_fail, "fail") +
         chip("error", r.n_error, "error") +
         chip("soft", r.n_skipped, "skipped") +
         fmt::format("<li><b>{}</b> elements</li></ul>", r.n_elements);
}

std::string Verdict(const CheckResult& r) {
  if (r.FirstFailure() == kNoIndex) {
    const std::string text =
        r.Passed() ? "No divergence: every element lies within its bound."
                   : "Nothing was judged, which is no pass.";
    return fmt::format(
        "<section class=\"verdict{}\"><h2>Verdict</h2><p>{}</p><pre>{}</pre>"
        "</section>",
        r.Passed() ? "" : " no", text, EscapeXml(r.command));
  }
  const CaseResult& c = r.cases[r.FirstFailure()];
  return fmt::format(
      "<section class=\"verdict no\"><h2>First divergence</h2>"
      "<p><b>{}</b></p>{}</section>",
      EscapeXml(FirstDivergence(r)), Details(r, c));
}

// The case whose elements are mapped: the first failure that kept them.
std::string MapSection(const CheckResult& r) {
  for (const CaseResult& c : r.cases) {
    if (!c.Failed()) continue;
    const OutputResult* o = ShownOutput(c);
    const std::string map = o != nullptr ? ElementMap(*o) : "";
    if (map.empty()) continue;
    return fmt::format(
        "<section><h2>Elements of {} of {}</h2><p>{}</p>{}{}</section>",
        EscapeXml(o->name), EscapeXml(c.id),
        o->periodicity.empty()
            ? "The wrong elements' indices have nothing in common."
            : "All failing: <b>" + EscapeXml(o->periodicity) + "</b>",
        map, HeatLegend());
  }
  return "";
}

std::string Fingerprints(const CheckResult& r) {
  std::string rows;
  size_t n = 0;
  for (const CaseResult& c : r.cases) {
    for (size_t i = 0; i < c.fingerprints.size() && i < 3 && n < 60; ++i, ++n) {
      const Fingerprint& f = c.fingerprints[i];
      rows += fmt::format(
          "<tr><td><code>{}</code></td><td>{}</td><td class=\"wide\">{}</td>"
          "<td class=\"num\">{}</td><td class=\"num\">{:.0f} %</td></tr>",
          EscapeXml(c.id), EscapeXml(f.bug), EscapeXml(f.description),
          Ratio(f.ratio), 100 * f.explained);
    }
  }
  if (rows.empty()) return "";
  return "<section><h2>Fingerprints: bugs that give just this output</h2>"
         "<div class=\"scroll\"><table><tr><th>case</th><th>bug</th>"
         "<th>description</th><th class=\"num\">r</th>"
         "<th class=\"num\">explains</th></tr>" +
         rows + "</table></div></section>";
}

std::string Fits(const CheckResult& r) {
  std::string rows;
  for (const Fit& f : r.fits) {
    rows += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=\"num {}\">{:+.3g}</td>"
        "<td class=\"num\">{:.3g}</td><td class=\"num\">{}</td></tr>",
        EscapeXml(f.op), EscapeXml(f.direction), f.warns ? "warn" : "", f.delta,
        f.threshold, f.n_elements);
  }
  if (rows.empty()) return "";
  return "<section><h2>Fits: a parameter's relative error</h2>"
         "<p class=\"soft\">Measured over all elements of an op; beyond the "
         "threshold it is no rounding.</p><div class=\"scroll\"><table><tr>"
         "<th>op</th><th>direction</th><th class=\"num\">error</th>"
         "<th class=\"num\">threshold</th><th "
         "class=\"num\">elements</th></tr>" +
         rows + "</table></div></section>";
}

std::string OpTable(const CheckResult& r) {
  struct Row {
    size_t n = 0, n_fail = 0, n_warn = 0, n_skipped = 0, n_elements = 0;
    size_t n_bits = 0;
    double worst = 0.0, sum = 0.0, nmse = 0.0, cosine = 1.0, ulp = 0.0;
    bool allclose = true;
  };
  std::map<std::string, Row> ops;
  for (const CaseResult& c : r.cases) {
    Row& row = ops[c.op];
    ++row.n;
    row.n_fail += c.Failed() ? 1 : 0;
    row.n_warn += c.status == CaseStatus::kWarn ? 1 : 0;
    row.n_skipped += c.status == CaseStatus::kSkipped ? 1 : 0;
    for (const OutputResult& o : c.outputs) {
      row.n_elements += o.n;
      row.n_bits += o.n_bits_differing;
      row.worst = o.worst.ratio <= row.worst ? row.worst : o.worst.ratio;
      row.sum += o.mean_ratio * static_cast<double>(o.n);
      row.nmse = std::fmax(row.nmse, o.nmse);
      row.cosine = std::fmin(row.cosine, o.cosine);
      row.ulp = std::fmax(row.ulp, o.max_ulp);
      row.allclose = row.allclose && o.allclose;
    }
  }
  std::string rows;
  for (const auto& [op, row] : ops) {
    rows += fmt::format(
        "<tr><td>{}</td><td class=\"num\">{}</td><td class=\"num {}\">{}</td>"
        "<td class=\"num {}\">{}</td><td class=\"num\">{}</td>"
        "<td class=\"num\">{}</td><td class=\"num\">{}</td>"
        "<td class=\"num\">{:.2g}</td><td class=\"num\">{}</td>"
        "<td class=\"num\">{:.3g}</td><td class=\"num\">{:.2g}</td>"
        "<td class=\"num\">{:.7f}</td><td>{}</td></tr>",
        EscapeXml(op), row.n, row.n_fail > 0 ? "fail" : "", row.n_fail,
        row.n_warn > 0 ? "warn" : "", row.n_warn, row.n_skipped, row.n_elements,
        Ratio(row.worst),
        row.n_elements > 0 ? row.sum / static_cast<double>(row.n_elements)
                           : 0.0,
        row.n_bits, row.ulp, row.nmse, row.cosine, row.allclose ? "yes" : "no");
  }
  return "<section><h2>Ops</h2><p class=\"soft\">r is err / bound and decides; "
         "the columns from ULP on are for comparison with others.</p>"
         "<div class=\"scroll\"><table><tr><th>op</th><th class=\"num\">cases"
         "</th><th class=\"num\">fail</th><th class=\"num\">warn</th>"
         "<th class=\"num\">skipped</th><th class=\"num\">elements</th>"
         "<th class=\"num\">worst r</th><th class=\"num\">mean r</th>"
         "<th class=\"num\">bits off</th><th class=\"num\">max ULP</th>"
         "<th class=\"num\">NMSE</th><th class=\"num\">cosine</th>"
         "<th>allclose</th></tr>" +
         rows + "</table></div></section>";
}

std::string CaseList(const CheckResult& r) {
  constexpr size_t kMaxListed = 200;
  std::string text;
  size_t n = 0, listed = 0;
  for (const CaseResult& c : r.cases) {
    if (!c.Failed() && c.status != CaseStatus::kWarn) continue;
    if (n++ >= kMaxListed) continue;
    ++listed;
    const std::string status(StatusName(c.status));
    text += fmt::format(
        "<details><summary><b class=\"{0}\">{0}</b> <code>{1}</code> r = {2}"
        "</summary>{3}</details>",
        status, EscapeXml(c.id), Ratio(c.MaxRatio()), Details(r, c));
  }
  if (text.empty()) return "";
  if (n > listed) {
    text += fmt::format("<p class=\"soft\">and {} more, in the JSON report</p>",
                        n - listed);
  }
  return fmt::format(
      "<section><h2>Failed and doubtful cases: {}</h2>{}"
      "</section>",
      n, text);
}

}  // namespace

std::string FirstDivergence(const CheckResult& r) {
  if (r.FirstFailure() == kNoIndex) return "";
  const CaseResult& c = r.cases[r.FirstFailure()];
  const OutputResult* o = ShownOutput(c);
  if (o == nullptr || o->first_bad.index == kNoIndex) {
    return fmt::format("{}: {}", Where(c), c.message);
  }
  const Element& e = o->first_bad;
  return fmt::format(
      "{}, {}[{}]: r = {}, got {:.9g}, want {:.9g} \u00b1 {:.3g}", Where(c),
      o->name, Coordinate(*o, e), Ratio(e.ratio), e.got, e.want, e.bound);
}

std::string HtmlReport(const CheckResult& r) {
  const std::string grid =
      r.suite == "model" ? "Layer by module" : "Op by data";
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<title>Golden check {}</title><style>{}</style></head><body><main>"
      "{}{}"
      "<section><h2>{}: worst err / bound</h2>{}{}</section>"
      "{}"
      "<section><h2>All elements by err / bound</h2>{}"
      "<p class=\"soft\">Counts and ratios are logarithmic; right of the "
      "dashed "
      "line nothing may be.</p></section>"
      "{}{}{}{}"
      "<p class=\"soft\" style=\"margin-top:16px\">Profile {}: {}</p>"
      "</main></body></html>\n",
      r.Passed() ? "passed" : "failed", kStyle, Header(r), Verdict(r), grid,
      Heatmap(r), HeatLegend(), MapSection(r), Histogram(r), Fingerprints(r),
      Fits(r), OpTable(r), CaseList(r), EscapeXml(r.profile),
      EscapeXml(r.profile_source));
}

}  // namespace etalon::golden
