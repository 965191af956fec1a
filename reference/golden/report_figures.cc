#include "reference/golden/report_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>

#include "reference/golden/report.h"

namespace etalon::golden {
namespace {

constexpr int kClasses = 8;
constexpr const char* kClassNames[kClasses] = {
    "< 1e-4", "1e-4", "1e-3", "0.01", "0.1", "0.3", "> 1", "> 10"};

std::string Text(double x, double y, std::string_view anchor,
                 std::string_view text, std::string_view more = "") {
  return fmt::format(R"(<text x="{:g}" y="{:g}" text-anchor="{}"{}>{}</text>)",
                     x, y, anchor, more, EscapeXml(text));
}

std::string Rect(double x, double y, double w, double h, std::string_view cls,
                 std::string_view title) {
  return fmt::format(
      R"(<rect x="{:g}" y="{:g}" width="{:g}" height="{:g}" class="{}"><title>{}</title></rect>)",
      x, y, w, h, cls, EscapeXml(title));
}

std::string Svg(double width, double height, std::string_view label,
                const std::string& body, bool fits) {
  // What fits shrinks with the window (and its letters grow, in the style
  // sheet); the rest keeps its size and scrolls.
  return fmt::format(
      R"(<div class="scroll"><svg viewBox="0 0 {0:g} {1:g}" {2} role="img" aria-label="{3}">{4}</svg></div>)",
      width, height,
      fits ? std::string("class=\"fits\"")
           : fmt::format("width=\"{:g}\" height=\"{:g}\"", width, height),
      EscapeXml(label), body);
}

struct Cell {
  double ratio = -1.0;  // nothing was compared
  bool failed = false;
  size_t n_cases = 0, n_failed = 0, n_skipped = 0;
};

struct Grid {
  std::vector<std::string> rows, columns;
  std::map<std::pair<size_t, size_t>, Cell> cells;
};

void AddCase(const CaseResult& c, Cell* cell) {
  ++cell->n_cases;
  if (c.status == CaseStatus::kSkipped) {
    ++cell->n_skipped;
    return;
  }
  // fmax would drop a NaN ratio: MaxRatio keeps it, and it is no pass.
  const double ratio = c.MaxRatio();
  cell->ratio = ratio <= cell->ratio ? cell->ratio : ratio;
  if (c.Failed()) {
    ++cell->n_failed;
    cell->failed = true;
  }
}

Grid MakeGrid(const CheckResult& r) {
  const bool model = r.suite == "model";
  Grid grid;
  std::map<std::string, size_t> rows, columns;
  // Layers ascend; everything else keeps the order of the run.
  if (model) {
    std::set<int> layers;
    for (const CaseResult& c : r.cases) layers.insert(c.layer);
    for (const int layer : layers) {
      const std::string name =
          layer < 0 ? "outside" : fmt::format("layer {}", layer);
      rows.emplace(name, grid.rows.size());
      grid.rows.push_back(name);
    }
  }
  const auto index = [](std::map<std::string, size_t>* of,
                        std::vector<std::string>* names,
                        const std::string& name) {
    const auto [at, is_new] = of->emplace(name, names->size());
    if (is_new) names->push_back(name);
    return at->second;
  };
  for (const CaseResult& c : r.cases) {
    const std::string row =
        !model ? c.op
               : (c.layer < 0 ? "outside" : fmt::format("layer {}", c.layer));
    const std::string column =
        !model ? c.family : (c.module.empty() ? c.op : c.module);
    const size_t i = index(&rows, &grid.rows, row);
    const size_t j = index(&columns, &grid.columns, column);
    AddCase(c, &grid.cells[{i, j}]);
  }
  return grid;
}

std::string CellTitle(const std::string& row, const std::string& column,
                      const Cell& cell) {
  std::string text =
      fmt::format("{} / {}: {} cases", row, column, cell.n_cases);
  if (cell.ratio >= 0 || std::isnan(cell.ratio)) {
    text += fmt::format(", worst r = {:.3g}", cell.ratio);
  }
  if (cell.n_failed > 0) text += fmt::format(", {} FAILED", cell.n_failed);
  if (cell.n_skipped > 0) text += fmt::format(", {} skipped", cell.n_skipped);
  return text;
}

}  // namespace

int HeatClass(double ratio) {
  if (!(ratio <= 10.0)) return 7;
  if (ratio > 1.0) return 6;
  int c = 0;
  for (const double edge : {1e-4, 1e-3, 1e-2, 0.1, 0.3}) c += ratio >= edge;
  return c;
}

std::string HeatLegend() {
  std::string text = R"(<p class="legend">err / bound: )";
  for (int c = 0; c < kClasses; ++c) {
    text += fmt::format(R"(<span><i class="h{}"></i>{}</span> )", c,
                        EscapeXml(kClassNames[c]));
  }
  return text + R"(<span><i class="none"></i>skipped</span></p>)";
}

std::string Heatmap(const CheckResult& r) {
  const Grid grid = MakeGrid(r);
  size_t longest = 0, tallest = 0;
  for (const std::string& s : grid.rows) longest = std::max(longest, s.size());
  for (const std::string& s : grid.columns) {
    tallest = std::max(tallest, s.size());
  }
  constexpr double kCell = 24.0, kGap = 2.0, kLetter = 6.7;
  constexpr double kPage = 1090.0;  // inside a card at full width
  const double left = kLetter * static_cast<double>(longest) + 10.0;
  // Column names stand at 60 degrees.
  const double name = kLetter * static_cast<double>(tallest);
  const double top = 0.87 * name + 14.0, right = 0.5 * name + 8.0;
  // Columns get narrower before the figure gets wider than the page, but not
  // so narrow that slanted names run into each other.
  const double room = kPage - left - right;
  const double column = std::clamp(
      std::floor(room / static_cast<double>(grid.columns.size())), 13.0, kCell);
  std::string body;
  for (size_t j = 0; j < grid.columns.size(); ++j) {
    const double x = left + column * (static_cast<double>(j) + 0.5);
    body +=
        Text(x, top - 6.0, "start", grid.columns[j],
             fmt::format(" transform=\"rotate(-60 {:g} {:g})\"", x, top - 6.0));
  }
  for (size_t i = 0; i < grid.rows.size(); ++i) {
    const double y = top + kCell * static_cast<double>(i);
    body += Text(left - 8.0, y + 16.0, "end", grid.rows[i]);
    for (size_t j = 0; j < grid.columns.size(); ++j) {
      const auto at = grid.cells.find({i, j});
      if (at == grid.cells.end()) continue;
      const Cell& cell = at->second;
      const double x = left + column * static_cast<double>(j);
      const bool judged = cell.n_skipped < cell.n_cases;
      const int heat = cell.failed ? std::max(6, HeatClass(cell.ratio))
                                   : std::min(5, HeatClass(cell.ratio));
      body += Rect(x, y, column - kGap, kCell - kGap,
                   judged ? fmt::format("h{}", heat) : "none",
                   CellTitle(grid.rows[i], grid.columns[j], cell));
      if (cell.failed) {
        body += Text(x + (column - kGap) / 2, y + 16.0, "middle", "\u00d7",
                     " class=\"mark\"");
      }
    }
  }
  const double width =
      left + column * static_cast<double>(grid.columns.size()) + right;
  return Svg(width, top + kCell * static_cast<double>(grid.rows.size()),
             "worst err / bound", body, /*fits=*/false);
}

std::string Histogram(const CheckResult& r) {
  std::array<double, 26> good{}, bad{};
  for (const CaseResult& c : r.cases) {
    for (const OutputResult& o : c.outputs) {
      for (size_t b = 0; b < o.histogram.size(); ++b) {
        // Bin 17 is the first beyond 1: 1e-8 10^(16 / 2) = 1.
        (b >= 17 ? bad : good)[b] += static_cast<double>(o.histogram[b]);
      }
    }
  }
  double most = 1.0;
  for (size_t b = 0; b < good.size(); ++b) {
    most = std::max(most, good[b] + bad[b]);
  }
  constexpr double kLeft = 46.0, kBar = 24.0, kHeight = 150.0, kTop = 14.0;
  const double base = kTop + kHeight;
  const double decades = std::max(1.0, std::ceil(std::log10(most)));
  std::string body;
  // A logarithmic axis of counts: one failing element must be visible.
  for (double d = 0; d <= decades; d += decades > 6 ? 2 : 1) {
    const double y = base - kHeight * d / decades;
    body += fmt::format(
        R"(<line x1="{:g}" x2="{:g}" y1="{:g}" y2="{:g}" class="grid"/>)",
        kLeft, kLeft + 26 * kBar, y, y);
    body += Text(kLeft - 6.0, y + 4.0, "end", fmt::format("1e{:g}", d));
  }
  for (size_t b = 0; b < good.size(); ++b) {
    const double n = good[b] + bad[b];
    if (n == 0) continue;
    // A count of 1 still gets a bar.
    const double h =
        std::max(3.0, kHeight * std::log10(std::max(n, 1.0)) / decades);
    const double log_low = -8.0 + (static_cast<double>(b) - 1.0) / 2.0;
    const std::string range =
        b == 0 ? "below 1e-8"
               : fmt::format("{:.2g} .. {:.2g}", std::pow(10.0, log_low),
                             std::pow(10.0, log_low + 0.5));
    body += Rect(kLeft + kBar * static_cast<double>(b) + 1.0, base - h,
                 kBar - 2.0, h, bad[b] > 0 ? "bar bad" : "bar",
                 fmt::format("r {}: {:.0f} elements",
                             b == 25 ? "from 1e4, infinite" : range, n));
  }
  for (int d = -8; d <= 4; d += 2) {
    body += Text(kLeft + kBar * (1 + 2.0 * (d + 8)), base + 18.0, "middle",
                 d == 0 ? std::string("1") : fmt::format("1e{}", d));
  }
  const double limit = kLeft + kBar * 17.0;
  body += fmt::format(
      R"(<line x1="{0:g}" x2="{0:g}" y1="4" y2="{1:g}" class="limit"/>)", limit,
      base);
  body += Text(limit + 5.0, 14.0, "start", "bound", " class=\"limit-text\"");
  return Svg(kLeft + 26 * kBar + 8.0, base + 28.0, "histogram of err / bound",
             body, /*fits=*/true);
}

std::string ElementMap(const OutputResult& o) {
  if (o.ratios.empty() || o.shape.empty() || o.shape.back() == 0) return "";
  const size_t cols = o.shape.back();
  const size_t rows = (o.ratios.size() + cols - 1) / cols;
  constexpr size_t kMaxColumns = 128, kMaxRows = 64;
  const size_t across = (cols + kMaxColumns - 1) / kMaxColumns;
  const size_t down = (rows + kMaxRows - 1) / kMaxRows;
  const size_t w = (cols + across - 1) / across, h = (rows + down - 1) / down;
  std::vector<double> worst(w * h, 0.0);
  for (size_t i = 0; i < o.ratios.size(); ++i) {
    double& cell = worst[i / cols / down * w + i % cols / across];
    const double ratio = static_cast<double>(o.ratios[i]);
    cell = ratio <= cell ? cell : ratio;
  }
  const double size = std::clamp(640.0 / static_cast<double>(w), 5.0, 16.0);
  constexpr double kLeft = 52.0, kTop = 20.0;
  // Neighbours of one class are one rectangle: large maps stay small files.
  std::string body;
  for (size_t y = 0; y < h; ++y) {
    for (size_t x = 0; x < w;) {
      const int heat = HeatClass(worst[y * w + x]);
      size_t end = x + 1;
      while (heat < 6 && end < w && HeatClass(worst[y * w + end]) == heat) {
        ++end;
      }
      body += Rect(kLeft + size * static_cast<double>(x),
                   kTop + size * static_cast<double>(y),
                   size * static_cast<double>(end - x), size,
                   fmt::format("h{}", heat),
                   fmt::format("row {}, {} {}: r = {:.3g}", y * down,
                               o.axes.empty() ? "column" : o.axes.back(),
                               x * across, worst[y * w + x]));
      x = end;
    }
  }
  for (size_t x = 0; x < w; x += std::max<size_t>(16, w / 8 / 16 * 16)) {
    body += Text(kLeft + size * static_cast<double>(x), kTop - 6.0, "start",
                 fmt::format("{}", x * across));
  }
  for (size_t y = 0; y < h; y += std::max<size_t>(1, h / 8)) {
    body += Text(kLeft - 6.0, kTop + size * static_cast<double>(y) + 9.0, "end",
                 fmt::format("{}", y * down));
  }
  return Svg(kLeft + size * static_cast<double>(w) + 4.0,
             kTop + size * static_cast<double>(h) + 4.0,
             "elements by err / bound", body, /*fits=*/false);
}

}  // namespace etalon::golden
