// Errors are values: they cross OpenMP regions and the C ABI, exceptions do
// not.
#ifndef ETALON_STATUS_H_
#define ETALON_STATUS_H_

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace etalon {

// Each code maps to one exit status of the `etalon` program (cli/exit_code.h).
enum class ErrorCode {
  kInvalidArgument,  // the caller broke an op's contract (shape, alias, range)
  kBadInput,         // a file or text from outside is not what it must be
  kIo,               // the operating system refused or failed
  kLimit,            // memory or another resource does not suffice
  kUnsupported,      // a backend does not have this op or shape
  kInternal,         // our own bug
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  // One line: what, where, the value found and the rule it breaks.
  std::string message;
};

template <class T>
using Expected = tl::expected<T, Error>;
using Status = Expected<void>;

[[nodiscard]] inline tl::unexpected<Error> Fail(ErrorCode code,
                                                std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> InvalidArgument(
    std::string message) {
  return Fail(ErrorCode::kInvalidArgument, std::move(message));
}
[[nodiscard]] inline tl::unexpected<Error> BadInput(std::string message) {
  return Fail(ErrorCode::kBadInput, std::move(message));
}

}  // namespace etalon

#define ETALON_CONCAT_INNER(a, b) a##b
#define ETALON_CONCAT(a, b) ETALON_CONCAT_INNER(a, b)

// The one control-flow macro pair: forwards the error, else binds the value.
#define ETALON_ASSIGN_OR_RETURN(lhs, expr) \
  ETALON_ASSIGN_OR_RETURN_IMPL(ETALON_CONCAT(expected_, __LINE__), lhs, expr)
#define ETALON_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr)       \
  auto tmp = (expr);                                       \
  if (!tmp) return tl::unexpected(std::move(tmp).error()); \
  lhs = std::move(*tmp)

#define ETALON_RETURN_IF_ERROR(expr)                           \
  do {                                                         \
    if (auto failed_or_not = (expr); !failed_or_not)           \
      return tl::unexpected(std::move(failed_or_not).error()); \
  } while (false)

// Contract check at a public entry: returns the typed error in every build.
#define ETALON_ENSURE(cond, message)                        \
  do {                                                      \
    if (!(cond)) return ::etalon::InvalidArgument(message); \
  } while (false)

// Our own bug, inside kernels: shapes were validated at the op's entry.
#ifdef NDEBUG
#define ETALON_DCHECK(cond) static_cast<void>(0)
#else
#include <cassert>
#define ETALON_DCHECK(cond) assert(cond)
#endif

#endif  // ETALON_STATUS_H_
