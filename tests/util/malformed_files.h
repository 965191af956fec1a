// The malformed GGUF files of the external data: each is a slice of
// prefixes.bin and the end of base.gguf, described by cases.json.
#ifndef ETALON_TESTS_UTIL_MALFORMED_FILES_H_
#define ETALON_TESTS_UTIL_MALFORMED_FILES_H_

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace etalon::test {

struct MalformedFile {
  std::string id;
  std::string what;
  std::string expected;
  std::string bytes;
};

inline std::vector<MalformedFile> MalformedFiles(
    const std::filesystem::path& folder) {
  const auto read = [&](const char* name) {
    std::ifstream in(folder / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string base = read("base.gguf"), prefixes = read("prefixes.bin");
  std::vector<MalformedFile> files;
  for (const auto& c : nlohmann::json::parse(read("cases.json"))) {
    const auto suffix = c["suffix"].get<size_t>();
    files.push_back(
        {c["id"], c["case"], c["expected"],
         prefixes.substr(c["offset"].get<size_t>(), c["prefix"].get<size_t>()) +
             base.substr(base.size() - suffix)});
  }
  return files;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_MALFORMED_FILES_H_
