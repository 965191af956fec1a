#include "profile/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace etalon::profile {
namespace {

// "0", "0.5", "8k", "2.5M": short enough for an axis.
std::string Tick(double v) {
  const double a = std::fabs(v);
  if (a >= 1e6) return fmt::format("{:g}M", v * 1e-6);
  if (a >= 1e4) return fmt::format("{:g}k", v * 1e-3);
  return fmt::format("{:g}", v);
}

// One axis: from values to pixels.
class Axis {
 public:
  Axis(double least, double most, bool log, double begin, double end)
      : log_(log), begin_(begin), end_(end) {
    if (log_) {
      low_ = std::log10(least) - 0.05;
      high_ = std::log10(most) + 0.05;
      // At least one decade, so that two ticks say what the scale is.
      if (high_ - low_ < 1.5) {
        low_ = std::floor(low_);
        high_ = std::max(std::ceil(high_), low_ + 1);
      }
      for (double e = std::ceil(low_ - 1e-9); e <= high_ + 1e-9; e += 1) {
        ticks_.push_back(std::pow(10.0, e));
      }
    } else {
      low_ = 0;
      // 1, 2 or 5 times a power of ten, four to eight steps.
      const double raw = std::max(most, 1e-9) / 6;
      const double power = std::pow(10.0, std::floor(std::log10(raw)));
      const double m = raw / power;
      const double step = power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
      high_ = step * std::ceil(most / step - 1e-9);
      if (high_ <= 0) high_ = 1;
      for (double t = 0; t <= high_ + step / 2; t += step) ticks_.push_back(t);
    }
  }
  double At(double v) const {
    const double x = log_ ? std::log10(v) : v;
    return begin_ + (x - low_) / (high_ - low_) * (end_ - begin_);
  }
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  bool log_;
  double begin_, end_, low_ = 0, high_ = 1;
  std::vector<double> ticks_;
};

struct Extent {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  void Add(double v) {
    least = std::min(least, v);
    most = std::max(most, v);
  }
};

// Puts each label beside its point where it covers no mark and no other label;
// one without such a place is left out (its mark still has a tooltip).
class LabelPlacer {
 public:
  explicit LabelPlacer(double right) : right_(right) {}
  void AddMark(double x, double y) {
    taken_.push_back({x - 5, y - 5, x + 5, y + 5});
  }
  std::string Label(double x, double y, std::string_view text) {
    if (text.empty()) return "";
    constexpr double kCharacter = 7.5, kHeight = 12, kGap = 7;
    const double w = kCharacter * static_cast<double>(text.size());
    for (const bool left : {false, true}) {
      for (const double baseline : {y - 4, y + 14}) {
        const double x0 = left ? x - kGap - w : x + kGap;
        const Box box{x0, baseline - kHeight + 2, x0 + w, baseline + 2};
        if (box.x1 > right_ || Collides(box)) continue;
        taken_.push_back(box);
        return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x0,
                           baseline, EscapeHtml(text));
      }
    }
    return "";
  }

 private:
  struct Box {
    double x0, y0, x1, y1;
  };
  bool Collides(const Box& b) const {
    return std::any_of(taken_.begin(), taken_.end(), [&](const Box& o) {
      return b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1;
    });
  }
  double right_;
  std::vector<Box> taken_;
};

bool Drawable(const Chart& c, const ChartPoint& p) {
  return std::isfinite(p.x) && std::isfinite(p.y) && (!c.log_x || p.x > 0) &&
         (!c.log_y || p.y > 0);
}

std::string Draw(const Chart& chart, const char* css_class, double width,
                 double height) {
  constexpr double kLeft = 62, kRight = 16, kTop = 14, kBottom = 46;
  Extent ex, ey;
  for (const ChartSeries& s : chart.series) {
    for (const ChartPoint& p : s.points) {
      if (!Drawable(chart, p)) continue;
      ex.Add(p.x);
      ey.Add(p.y);
    }
  }
  if (ex.most <= 0 && ey.most <= 0) return "";
  const Axis ax(ex.least, ex.most, chart.log_x, kLeft, width - kRight);
  const Axis ay(ey.least, ey.most, chart.log_y, height - kBottom, kTop);
  std::string svg = fmt::format(
      "<svg class=\"chart {}\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\">\n",
      css_class, width, height, EscapeHtml(chart.title));
  for (const double t : ax.ticks()) {
    const double x = ax.At(t);
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>"
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" "
        "text-anchor=\"middle\">{}</text>\n",
        x, kTop, height - kBottom, x, height - kBottom + 16, Tick(t));
  }
  for (const double t : ay.ticks()) {
    const double y = ay.At(t);
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>"
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>\n",
        kLeft, y, width - kRight, kLeft - 6, y + 4, Tick(t));
  }
  svg += fmt::format(
      "<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" "
      "text-anchor=\"middle\">{}</text>\n"
      "<text class=\"axis\" transform=\"translate(14 {:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      (kLeft + width - kRight) / 2, height - 8, EscapeHtml(chart.x_label),
      (kTop + height - kBottom) / 2, EscapeHtml(chart.y_label));
  LabelPlacer placer(width - kRight);
  for (const ChartSeries& s : chart.series) {
    if (!s.marks) continue;
    for (const ChartPoint& p : s.points) {
      if (Drawable(chart, p)) placer.AddMark(ax.At(p.x), ay.At(p.y));
    }
  }
  // Labels last, on top of every line.
  std::string labels;
  for (const ChartSeries& s : chart.series) {
    std::string path, marks;
    for (const ChartPoint& p : s.points) {
      if (!Drawable(chart, p)) continue;
      const double x = ax.At(p.x), y = ay.At(p.y);
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x, y);
      marks += s.marks ? fmt::format(
                             "<g><title>{}</title><circle cx=\"{:.1f}\" "
                             "cy=\"{:.1f}\" r=\"5\"/></g>",
                             EscapeHtml(p.tooltip), x, y)
                       : "";
      labels += placer.Label(x, y, p.label);
    }
    svg += fmt::format("<g class=\"c{}\">", s.color % kChartColors);
    if (s.line) svg += fmt::format("<path class=\"line\" d=\"{}\"/>", path);
    svg += marks + "</g>\n";
  }
  return svg + labels + "</svg>\n";
}

}  // namespace

std::string RenderChart(const Chart& chart) {
  std::string legend;
  for (const ChartSeries& s : chart.series) {
    if (!s.legend || s.points.empty()) continue;
    legend += fmt::format("<span class=\"c{}\"><i></i>{}</span>\n",
                          s.color % kChartColors, EscapeHtml(s.name));
  }
  return "<figure>\n" + Draw(chart, "wide", 1080, 520) +
         Draw(chart, "narrow", 370, 400) + "<figcaption>" + legend +
         "</figcaption>\n</figure>\n";
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string RenderPage(std::string_view title, std::string_view body) {
  // Colours: six that people with any colour vision tell apart, each dark
  // enough on white or light enough on black.
  constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--bg:#fff;--fg:#1c1e21;--dim:#5b6168;
--grid:#e3e5e8;--card:#f6f7f8;--c0:#1f6feb;--c1:#b35900;--c2:#1a7f37;
--c3:#a0378c;--c4:#c2242e;--c5:#5b6168}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e6e8ea;
--dim:#9aa2ab;--grid:#2c3036;--card:#1d2024;--c0:#6cb0ff;--c1:#ffab57;
--c2:#56d37a;--c3:#e58bd3;--c4:#ff8a8a;--c5:#9aa2ab}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1160px;padding:16px;background:var(--bg);
color:var(--fg);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.2em 0}h2{font-size:1.1rem;margin:1.6em 0 .4em}
p,li{color:var(--dim)}p b,li b{color:var(--fg)}
figure{margin:12px 0}figcaption{margin-top:6px;display:flex;flex-wrap:wrap;gap:4px 18px;
font-size:13px;color:var(--dim)}
figcaption i{display:inline-block;width:12px;height:12px;border-radius:6px;
background:var(--c);margin-right:6px;vertical-align:-1px}
.chart{width:100%;height:auto;display:block;background:var(--card);
border-radius:8px}
.chart text{fill:var(--fg);font-size:13px;stroke:var(--card);stroke-width:4;
stroke-linejoin:round;paint-order:stroke}.chart .tick,.chart .axis{
fill:var(--dim)}.grid{stroke:var(--grid)}.line{fill:none;stroke:var(--c);
stroke-width:2}circle{fill:var(--c);stroke:var(--card);stroke-width:1.5}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}
.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.narrow{display:none}
@media(max-width:640px){.wide{display:none}.narrow{display:block}}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%;
font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--grid)}
th{color:var(--dim);font-weight:600}
th.t,td.t{text-align:left}
.warn{color:var(--c4)}
@media(max-width:640px){th,td{padding:4px 5px;font-size:12px}}
)";
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,"
      "initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n"
      "<body>\n<h1>{0}</h1>\n{2}</body>\n</html>\n",
      EscapeHtml(title), kStyle, body);
}

}  // namespace etalon::profile
