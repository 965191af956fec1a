// usage: etalon_second_oracle
// Compares the reference, as it is linked here, with the second oracle on the
// smoke suite. Exit 1: they disagree; the first case is printed.
#include <cstdio>

#include "tests/golden/mutation.h"
#include "tests/golden/second_oracle.h"

int main() {
  const auto suite = etalon::test::EmulatedSuite("smoke");
  if (!suite) {
    std::printf("%s\n", suite.error().message.c_str());
    return 1;
  }
  for (const auto& [op, cases] : *suite) {
    for (const auto& c : cases) {
      const std::string where = etalon::test::Disagreement(c);
      if (where.empty()) continue;
      std::printf("%s\n", where.c_str());
      return 1;
    }
  }
  return 0;
}
