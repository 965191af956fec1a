// Real models and golden data are too large for the repository. Tests that
// want them ask here and skip, with a reason, when there is nothing.
#ifndef ETALON_TESTS_UTIL_EXTERNAL_DATA_H_
#define ETALON_TESTS_UTIL_EXTERNAL_DATA_H_

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

namespace etalon::test {

// The directory named by ETALON_DATA, else one beside the checkout; nullopt
// when it does not exist. Use:
//   const auto data = ExternalData();
//   if (!data) GTEST_SKIP() << kNoExternalData;
inline std::optional<std::filesystem::path> ExternalData() {
  std::filesystem::path dir;
  if (const char* env = std::getenv("ETALON_DATA"); env != nullptr && *env) {
    dir = env;
  } else {
    dir = std::filesystem::path(ETALON_SOURCE_DIR) / ".." / "shared" / "data";
  }
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error)) return std::nullopt;
  return dir;
}
inline constexpr char kNoExternalData[] =
    "no external test data: set ETALON_DATA to its directory";

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_EXTERNAL_DATA_H_
