// One line on a terminal that says how far a long step is: share done, speed,
// time left. Writes nothing when stderr is not a terminal.
#ifndef ETALON_CORE_PROGRESS_H_
#define ETALON_CORE_PROGRESS_H_

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace etalon {

enum class ProgressUnit { kTokens, kBytes };

struct ProgressOptions {
  bool quiet = false;
  std::FILE* stream = nullptr;  // null: stderr
};

class Progress {
 public:
  Progress(std::string label, size_t total, ProgressUnit unit,
           const ProgressOptions& options = {});
  ~Progress() { Finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total`. Draws at most ten times a second.
  void Update(size_t done);
  // What stands before the bar from the next Update on.
  void SetLabel(std::string label) { label_ = std::move(label); }
  // Wipes the line, so that what follows starts on a clean one.
  void Finish();

  bool visible() const { return visible_; }

 private:
  using Clock = std::chrono::steady_clock;
  void Draw(size_t done);

  std::string label_;
  size_t total_;
  ProgressUnit unit_;
  std::FILE* stream_;
  bool visible_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_ = start_;
};

// "Loading  [#####---------------]  25%  512 MB/s  3 s left", at most `width`
// columns wide.
std::string FormatProgress(std::string_view label, size_t done, size_t total,
                           double seconds, ProgressUnit unit, size_t width);

}  // namespace etalon

#endif  // ETALON_CORE_PROGRESS_H_
