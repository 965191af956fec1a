// Exit statuses of `etalon`, the same for every subcommand.
#ifndef ETALON_CLI_EXIT_CODE_H_
#define ETALON_CLI_EXIT_CODE_H_

#include "etalon/status.h"

namespace etalon::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 1;
inline constexpr int kExitBadInput = 2;  // a bad model or other input
inline constexpr int kExitIo = 3;
inline constexpr int kExitLimit = 4;  // memory or another limit
inline constexpr int kExitInternal = 5;
inline constexpr int kExitCheckFailed = 6;  // a golden check
inline constexpr int kExitInterrupted = 130;

inline int ExitCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported:
      return kExitUsage;
    case ErrorCode::kBadInput:
      return kExitBadInput;
    case ErrorCode::kIo:
      return kExitIo;
    case ErrorCode::kLimit:
      return kExitLimit;
    case ErrorCode::kInternal:
      break;
  }
  return kExitInternal;
}

}  // namespace etalon::cli

#endif  // ETALON_CLI_EXIT_CODE_H_
