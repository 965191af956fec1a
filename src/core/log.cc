#include "core/log.h"

#include <cstdio>
#include <mutex>
#include <string>

namespace etalon {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink sink = nullptr;
  void* user = nullptr;
  LogLevel most_verbose = LogLevel::kInfo;
};
Sink& TheSink() {
  static Sink sink;
  return sink;
}

}  // namespace

void SetLogSink(LogSink sink, void* user, LogLevel most_verbose) {
  Sink& s = TheSink();
  const std::lock_guard lock(s.mutex);
  s.sink = sink;
  s.user = user;
  s.most_verbose = most_verbose;
}

bool LogEnabled(LogLevel level) {
  Sink& s = TheSink();
  const std::lock_guard lock(s.mutex);
  return s.sink != nullptr && level <= s.most_verbose;
}

void LogMessage(LogLevel level, std::string_view message) {
  Sink& s = TheSink();
  const std::lock_guard lock(s.mutex);
  if (s.sink == nullptr || level > s.most_verbose) return;
  s.sink(level, message, s.user);
}

void StderrSink(LogLevel level, std::string_view message, void* /*user*/) {
  static constexpr const char* kPrefix[] = {"error: ", "warning: ", "",
                                            "debug: "};
  std::string line = kPrefix[static_cast<int>(level)];
  // One message is one line, whatever text from a file it quotes.
  for (char c : message) line += (c == '\n' || c == '\r') ? ' ' : c;
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace etalon
