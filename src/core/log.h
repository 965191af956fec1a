// Messages of the library. It prints nothing by itself: without a sink they go
// nowhere; programs install one.
#ifndef ETALON_CORE_LOG_H_
#define ETALON_CORE_LOG_H_

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace etalon {

enum class LogLevel { kError = 0, kWarning = 1, kInfo = 2, kDebug = 3 };

// May be called from any thread, one call at a time.
using LogSink = void (*)(LogLevel level, std::string_view message, void* user);

// Messages above `most_verbose` are dropped before they are formatted. A null
// sink is silence, which is also the state at start.
void SetLogSink(LogSink sink, void* user = nullptr,
                LogLevel most_verbose = LogLevel::kInfo);
bool LogEnabled(LogLevel level);
void LogMessage(LogLevel level, std::string_view message);

template <class... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (!LogEnabled(level)) return;
  LogMessage(level, fmt::format(format, std::forward<Args>(args)...));
}

// A sink for programs: "warning: ..." on stderr, one line per message.
void StderrSink(LogLevel level, std::string_view message, void* user);

}  // namespace etalon

#endif  // ETALON_CORE_LOG_H_
