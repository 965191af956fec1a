#include "train/curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

namespace etalon::train {
namespace {

constexpr double kWidth = 720, kHeight = 400;
constexpr double kLeft = 56, kRight = 16, kTop = 36, kBottom = 44;

struct Point {
  double x, y;
};

struct Axes {
  double x_max, y_min, y_max;
  double X(double step) const {
    return kLeft + step / x_max * (kWidth - kLeft - kRight);
  }
  double Y(double loss) const {
    const double up = (loss - y_min) / (y_max - y_min);
    return kHeight - kBottom - up * (kHeight - kTop - kBottom);
  }
};

std::string Line(const Axes& axes, std::span<const Point> points,
                 const char* colour, double width) {
  std::string out = "<polyline fill=\"none\" stroke=\"";
  fmt::format_to(std::back_inserter(out), "{}\" stroke-width=\"{}\" points=\"",
                 colour, width);
  for (const Point& p : points) {
    fmt::format_to(std::back_inserter(out), "{:.1f},{:.1f} ", axes.X(p.x),
                   axes.Y(p.y));
  }
  return out + "\"/>\n";
}

std::string Text(double x, double y, const char* anchor,
                 const std::string& text) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}"
      "</text>\n",
      x, y, anchor, text);
}

std::string Grid(const Axes& axes) {
  std::string out;
  for (int i = 0; i <= 5; ++i) {
    const double part = i / 5.0;
    const double loss = axes.y_min + part * (axes.y_max - axes.y_min);
    const double step = part * axes.x_max;
    fmt::format_to(std::back_inserter(out),
                   "<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" "
                   "stroke=\"#ddd\"/>\n",
                   kLeft, kWidth - kRight, axes.Y(loss), axes.Y(loss));
    out +=
        Text(kLeft - 6, axes.Y(loss) + 4, "end", fmt::format("{:.1f}", loss));
    out += Text(axes.X(step), kHeight - kBottom + 18, "middle",
                fmt::format("{:.0f}", step));
  }
  return out;
}

}  // namespace

std::string CurveCsv(std::span<const CurvePoint> curve,
                     uint64_t tokens_per_step) {
  std::string out =
      "step,tokens,train_loss,valid_loss,gradient_norm,learning_rate\n";
  for (const CurvePoint& p : curve) {
    const std::string valid =
        p.valid_loss < 0 ? "" : fmt::format("{:.6f}", p.valid_loss);
    fmt::format_to(std::back_inserter(out), "{},{},{:.6f},{},{:.6f},{:.8f}\n",
                   p.step, p.step * tokens_per_step, p.train_loss, valid,
                   p.gradient_norm, p.learning_rate);
  }
  return out;
}

std::string CurveSvg(std::span<const CurvePoint> curve,
                     const std::string& title) {
  std::vector<Point> raw, smooth, valid;
  double low = INFINITY, high = -INFINITY, average = 0;
  for (const CurvePoint& p : curve) {
    if (!std::isfinite(p.train_loss)) continue;
    const double x = static_cast<double>(p.step);
    average = raw.empty() ? p.train_loss : 0.95 * average + 0.05 * p.train_loss;
    raw.push_back({x, p.train_loss});
    smooth.push_back({x, average});
    if (p.valid_loss >= 0) valid.push_back({x, p.valid_loss});
    low = std::min({low, p.train_loss, p.valid_loss < 0 ? low : p.valid_loss});
    high = std::max(high, p.train_loss);
  }
  if (raw.empty()) low = 0, high = 1;
  const Axes axes = {
      std::max(1.0, raw.empty() ? 1.0 : raw.back().x), std::floor(low),
      std::floor(low) + std::ceil(std::max(1.0, high - std::floor(low)))};
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kWidth, kHeight);
  out += Grid(axes);
  out += Line(axes, raw, "#c6d7ec", 1);
  out += Line(axes, smooth, "#1f5fa8", 2);
  out += Line(axes, valid, "#c8501e", 2);
  out += Text(kLeft, 22, "start", title);
  out += "<g fill=\"#1f5fa8\">" +
         Text(kWidth - kRight - 110, 22, "end", "training") + "</g>\n";
  out += "<g fill=\"#c8501e\">" +
         Text(kWidth - kRight, 22, "end", "validation") + "</g>\n";
  out +=
      Text(kWidth / 2, kHeight - 8, "middle", "steps (loss in nats per token)");
  return out + "</svg>\n";
}

}  // namespace etalon::train
