// Real files of several writers, and the hostile ones kept beside them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "gguf_bytes.h"
#include "io/gguf.h"
#include "tests/util/external_data.h"

namespace etalon::io {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> ReadBytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string s((std::istreambuf_iterator<char>(in)), {});
  const auto bytes = std::as_bytes(std::span(s));
  return {bytes.begin(), bytes.end()};
}

TEST(ExternalGguf, EveryGoodFileParses) {
  const auto data = test::ExternalData();
  if (!data) GTEST_SKIP() << test::kNoExternalData;
  size_t n = 0;
  for (const auto& entry : fs::recursive_directory_iterator(*data)) {
    if (entry.path().extension() != ".gguf") continue;
    const auto file = GgufFile::Open(entry.path());
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_TRUE(file->warnings().empty()) << entry.path();
    EXPECT_TRUE(file->GetString("general.architecture")) << entry.path();
    ++n;
  }
  EXPECT_GT(n, 0u);
}

// The cases of the parser; those of hyperparameters, shapes, vocabulary and
// values load here and are refused by the layers above.
TEST(ExternalGguf, MalformedFilesAreRefusedByTheField) {
  const auto data = test::ExternalData();
  if (!data) GTEST_SKIP() << test::kNoExternalData;
  const fs::path dir = *data / "malformed";
  if (!fs::exists(dir / "cases.json")) GTEST_SKIP() << "no malformed files";
  const auto base = ReadBytes(dir / "base.gguf");
  const auto prefixes = ReadBytes(dir / "prefixes.bin");
  std::ifstream json(dir / "cases.json");
  const std::set<std::string> above{"K30", "T28", "T29", "T34", "T35"};
  GuardedBytes guarded(32 << 20);
  for (const auto& c : nlohmann::json::parse(json)) {
    const std::string id = c["id"];
    Bytes b;
    const auto prefix =
        std::span(prefixes).subspan(c["offset"], c["prefix"].get<size_t>());
    const auto suffix = std::span(base).last(c["suffix"].get<size_t>());
    b.data().assign(prefix.begin(), prefix.end());
    b.data().insert(b.data().end(), suffix.begin(), suffix.end());
    const auto bytes = guarded.Place(b.span());
    const bool ours =
        (id[0] == 'H' || id[0] == 'K' || id[0] == 'T') && above.count(id) == 0;
    const std::string message = Refusal(bytes);
    EXPECT_EQ(message.empty(), !ours) << id << ": " << message;
    if (id == "C01") {
      EXPECT_EQ(GgufFile::Parse(bytes)->warnings().size(), 1u);
    }
  }
}

}  // namespace
}  // namespace etalon::io
