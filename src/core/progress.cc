#include "core/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace etalon {
namespace {

constexpr auto kDrawInterval = std::chrono::milliseconds(100);
constexpr size_t kDefaultWidth = 80;
constexpr size_t kBarColumns = 20;

bool IsTerminal(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  const bool dumb = term != nullptr && std::string_view(term) == "dumb";
  return !dumb && isatty(fileno(stream)) == 1;
}

size_t TerminalWidth(std::FILE* stream) {
  winsize size = {};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return kDefaultWidth;
  }
  return size.ws_col;
}

std::string FormatSpeed(double per_second, ProgressUnit unit) {
  if (unit == ProgressUnit::kTokens) {
    return fmt::format("{:.1f} tok/s", per_second);
  }
  return fmt::format("{:.0f} MB/s", per_second / 1e6);
}

std::string FormatTime(double seconds) {
  const auto s = static_cast<long long>(std::ceil(seconds));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

}  // namespace

std::string FormatProgress(std::string_view label, size_t done, size_t total,
                           double seconds, ProgressUnit unit, size_t width) {
  const double share = total == 0
                           ? 1.0
                           : std::min(1.0, static_cast<double>(done) /
                                               static_cast<double>(total));
  const auto filled =
      static_cast<size_t>(share * static_cast<double>(kBarColumns));
  std::string line = fmt::format(
      "{}  [{}{}] {:3.0f}%", label, std::string(filled, '#'),
      std::string(kBarColumns - filled, '-'), std::floor(share * 100));
  // Too early to tell a speed before anything is done.
  if (done > 0 && seconds > 0) {
    const double speed = static_cast<double>(done) / seconds;
    line += "  " + FormatSpeed(speed, unit);
    if (done < total) {
      line += fmt::format(
          "  {} left", FormatTime(static_cast<double>(total - done) / speed));
    }
  }
  if (line.size() > width) line.resize(width);
  return line;
}

Progress::Progress(std::string label, size_t total, ProgressUnit unit,
                   const ProgressOptions& options)
    : label_(std::move(label)),
      total_(total),
      unit_(unit),
      stream_(options.stream != nullptr ? options.stream : stderr),
      visible_(!options.quiet && IsTerminal(stream_)) {}

void Progress::Update(size_t done) {
  if (!visible_) return;
  const auto now = Clock::now();
  if (now - last_draw_ < kDrawInterval) return;
  last_draw_ = now;
  Draw(done);
}

void Progress::Draw(size_t done) {
  const double seconds =
      std::chrono::duration<double>(Clock::now() - start_).count();
  const size_t width = TerminalWidth(stream_);
  // One column short: a full line would wrap on some terminals.
  const std::string line =
      FormatProgress(label_, done, total_, seconds, unit_, width - 1);
  fmt::print(stream_, "\r{}\x1b[K", line);
  std::fflush(stream_);
  drawn_ = true;
}

void Progress::Finish() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  drawn_ = false;
}

}  // namespace etalon
