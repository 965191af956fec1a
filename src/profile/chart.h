// Charts as SVG, and the page around them: one file that needs nothing else,
// light or dark as the reader's system asks, for wide and for narrow screens.
#ifndef ETALON_PROFILE_CHART_H_
#define ETALON_PROFILE_CHART_H_

#include <string>
#include <string_view>
#include <vector>

namespace etalon::profile {

struct ChartPoint {
  double x = 0;
  double y = 0;
  std::string label;    // beside the mark; may be empty
  std::string tooltip;  // shown by browsers on hovering
};

struct ChartSeries {
  std::string name;
  int color = 0;      // one of kChartColors, shared by kin
  bool line = true;   // joins the points
  bool marks = true;  // draws the points
  bool legend = true;
  std::vector<ChartPoint> points;
};
inline constexpr int kChartColors = 6;

struct Chart {
  std::string title;  // for those who cannot see it
  std::string x_label, y_label;
  bool log_x = false, log_y = false;  // then only positive values are drawn
  std::vector<ChartSeries> series;
};

// Two drawings, of which the page shows the one that fits the screen.
std::string RenderChart(const Chart& chart);

// &, <, >, " and control characters made harmless; for text from outside.
std::string EscapeHtml(std::string_view text);

std::string RenderPage(std::string_view title, std::string_view body);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_CHART_H_
