// The roofline: operations per second against operations per byte. Slanted
// lines are the bandwidths, level ones the peaks; every op is a point, and how
// far it is below the lines is what could be gained.
#include <fmt/format.h>

#include <algorithm>

#include "profile/chart.h"
#include "profile/profile.h"

namespace etalon::profile {
namespace {

// Peaks worth a line on this tier.
std::vector<simd::Peak> PeaksOf(const Roofs& roofs, SimdTier tier, int n) {
  std::vector<simd::Peak> peaks;
  for (int i = 0; i < simd::kNumPeaks; ++i) {
    const auto peak = static_cast<simd::Peak>(i);
    if (roofs.Peak(peak, tier, n) > 0) peaks.push_back(peak);
  }
  return peaks;
}

Chart Roofline(const ProfileReport& r, const Phase& phase) {
  Chart chart;
  chart.title = fmt::format("Roofline of {} {}", phase.name, phase.test);
  chart.x_label = "operations per byte";
  chart.y_label = "GOP/s";
  chart.log_x = chart.log_y = true;
  double least = 0.1, most = 10;
  ChartSeries points{"ops, numbered as in the table", 0, false, true, true, {}};
  for (size_t i = 0; i < phase.rows.size(); ++i) {
    const OpRow& row = phase.rows[i];
    if (row.cost.operations <= 0) continue;
    least = std::min(least, row.Intensity());
    most = std::max(most, row.Intensity());
    points.points.push_back(
        {row.Intensity(), row.OperationsPerSecond() * 1e-9,
         fmt::format("{}", i + 1),
         fmt::format("{}: {} {} {}, {:.1f} GOP/s, {:.1f} GB/s, {:.1f} % of the "
                     "time, {:.0f} % of {}",
                     i + 1, OpName(row.key.op), row.key.TypeText(),
                     row.key.ShapeText(), row.OperationsPerSecond() * 1e-9,
                     row.BytesPerSecond() * 1e-9, row.share * 100,
                     row.roof_share * 100, row.roof)});
  }
  const auto tier = ParseSimdTier(r.tier);
  double top = 0;
  if (tier) {
    for (const simd::Peak peak : PeaksOf(r.roofs, *tier, r.n_threads)) {
      const double gops = r.roofs.Peak(peak, *tier, r.n_threads) * 1e-9;
      top = std::max(top, gops);
      chart.series.push_back(
          {fmt::format("{}: {:.0f} GOP/s", simd::PeakName(peak), gops),
           5,
           true,
           false,
           true,
           {{least / 2, gops, simd::PeakName(peak), ""},
            {most * 2, gops, "", ""}}});
    }
  }
  for (int i = 0; i < kNumLevels && top > 0; ++i) {
    const auto level = static_cast<Level>(i);
    const double gbs = r.roofs.Bandwidth(level, r.n_threads) * 1e-9;
    if (gbs <= 0) continue;
    // Up to where it meets the highest peak.
    const double end = std::min(most * 2, top / gbs);
    chart.series.push_back(
        {fmt::format("read {}: {:.0f} GB/s", LevelName(level), gbs),
         1 + i,
         true,
         false,
         true,
         {{least / 2, least / 2 * gbs, "", ""},
          {end, end * gbs, LevelName(level), ""}}});
  }
  chart.series.push_back(std::move(points));
  return chart;
}

std::string Table(const Phase& p) {
  // The most telling columns first: a narrow screen shows no more without
  // scrolling.
  std::string out =
      "<div class=\"scroll\"><table>\n<tr><th>#</th><th class=\"t\">op</th>"
      "<th class=\"t\">type</th><th>share</th><th>ms</th><th>spread</th>"
      "<th>shape</th><th>calls</th><th>MB</th><th>GB/s</th><th>GOP/s</th>"
      "<th>op/byte</th><th class=\"t\">roof</th><th>of it</th><th>wait</th>"
      "<th>uneven</th></tr>\n";
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const OpRow& row = p.rows[i];
    out += fmt::format(
        "<tr><td>{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td>"
        "<td>{:.1f} %</td><td>{:.3f}</td><td>{:.1f} "
        "%</td><td>{}</td><td>{}</td>"
        "<td>{:.2f}</td><td>{:.1f}</td><td>{:.1f}</td><td>{:.1f}</td>"
        "<td class=\"t\">{}</td><td>{:.0f} %</td><td>{:.0f} %</td>"
        "<td>{:.0f} %</td></tr>\n",
        i + 1, OpName(row.key.op), row.key.TypeText(), row.share * 100,
        row.seconds * 1e3, row.spread * 100, row.key.ShapeText(), row.calls,
        row.cost.bytes() * 1e-6, row.BytesPerSecond() * 1e-9,
        row.OperationsPerSecond() * 1e-9, row.Intensity(),
        row.roof.empty() ? "-" : row.roof, row.roof_share * 100,
        row.wait_share * 100, row.imbalance * 100);
  }
  return out + "</table></div>\n";
}

}  // namespace

std::string ToHtml(const ProfileReport& r) {
  std::string body = fmt::format(
      "<p><b>{}</b>, {}<br>{}<br>{} kernels, {} threads, {}</p>\n"
      "<p{}>While measuring: {}.{}</p>\n",
      EscapeHtml(r.model.type), EscapeHtml(r.model_path), EscapeHtml(r.machine),
      r.tier, r.n_threads, r.time,
      r.disturbance.quiet() ? "" : " class=\"warn\"",
      EscapeHtml(DisturbanceText(r.disturbance)),
      r.roofs.time.empty() ? std::string(" No roofs were measured.")
                           : fmt::format(" Roofs of {}: {}.", r.roofs.time,
                                         EscapeHtml(r.roofs.state)));
  for (const Phase& p : r.phases) {
    body += fmt::format(
        "<h2>{}, {}</h2>\n<p><b>{:.2f} tokens/s</b>, {:.2f} ms, median of {} "
        "passes. Undisturbed {:.2f} ms, of which {:.1f} % inside ops; spread "
        "of ops with 1 % and more: {:.1f} %. {}</p>\n",
        p.name, EscapeHtml(p.test), p.TokensPerSecond(), p.measured_wall * 1e3,
        p.passes, p.wall * 1e3, 100 * p.accounted / p.wall, 100 * p.spread,
        EscapeHtml(p.counters.Text()));
    body += RenderChart(Roofline(r, p)) + Table(p);
  }
  body +=
      "<p>Bytes and operations are what the op must do, whatever the kernel: "
      "weights as stored and the cache once a call, activations in f32 once; a "
      "multiplication and an addition are two operations. The roof is the one "
      "that binds: the longest of the times that memory and arithmetic need. "
      "Wait is the share of the threads' time in parallel regions in which "
      "they had no work, uneven the longest busy thread over the mean. The "
      "time of an op is undisturbed: each of its calls at the lower quartile "
      "of the passes, summed. Spread is what the first half of the passes and "
      "the second differ by.</p>\n";
  return RenderPage("etalon profile", body);
}

}  // namespace etalon::profile
