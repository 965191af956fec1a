// Real vocabularies: every published case, and text of a book.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "tests/util/external_data.h"
#include "text/tokenizer.h"

namespace etalon::text {
namespace {

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> Cases(const std::string& text) {
  const std::string end = "\n__ggml_vocab_test__\n";
  std::vector<std::string> cases;
  for (size_t at = 0; at < text.size();) {
    const size_t found = text.find(end, at);
    if (found == std::string::npos) {
      cases.push_back(text.substr(at));
      break;
    }
    cases.push_back(text.substr(at, found - at));
    at = found + end.size();
  }
  return cases;
}

class ExternalTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(ExternalTokenizer, EncodesEveryPublishedCase) {
  const auto data = test::ExternalData();
  if (!data) GTEST_SKIP() << test::kNoExternalData;
  const std::string path =
      (*data / "tokenizers" / (std::string("ggml-vocab-") + GetParam()))
          .string() +
      ".gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto file = io::GgufFile::Open(path);
  ASSERT_TRUE(file) << file.error().message;
  const auto tokenizer = Tokenizer::FromGguf(*file);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;

  const std::vector<std::string> cases = Cases(ReadAll(path + ".inp"));
  std::istringstream lines(ReadAll(path + ".out"));
  ASSERT_GE(cases.size(), 40u);
  for (const std::string& text : cases) {
    std::string line;
    std::getline(lines, line);
    std::istringstream numbers(line);
    const std::vector<TokenId> expected{std::istream_iterator<TokenId>(numbers),
                                        {}};
    const std::vector<TokenId> ids =
        (*tokenizer)
            ->Encode(text, {.add_special = false, .parse_special = false});
    EXPECT_EQ(ids, expected) << testing::PrintToString(text);
    EXPECT_EQ((*tokenizer)->Decode(ids), text);
  }

  const std::string book = ReadAll(*data / "text" / "tinyshakespeare.txt");
  EXPECT_EQ((*tokenizer)->Decode((*tokenizer)->Encode(book, {})), book);
}

INSTANTIATE_TEST_SUITE_P(All, ExternalTokenizer,
                         testing::Values("deepseek-coder", "falcon", "gpt-2",
                                         "llama-spm", "phi-3", "qwen2"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace etalon::text
