// Who may include whom (docs/architecture.md), checked over the whole tree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace etalon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Rooms each room may include; its own and include/etalon go without saying.
// src -> simd -> quant -> include; inside src cli -> model -> layer -> ops ->
// core, and model -> text -> io.
const std::map<std::string, std::set<std::string>> kArrows = {
    {"include", {}},
    {"quant", {}},
    {"simd", {"quant"}},
    {"reference", {}},  // and quant's layouts, see below
    {"core", {"simd", "quant"}},
    {"ops", {"core", "simd", "quant"}},
    {"io", {"quant"}},
    {"text", {"io", "quant"}},
    {"quantize", {"io", "core", "simd", "quant"}},
    {"layer", {"ops", "core", "simd", "quant"}},
    {"model", {"layer", "ops", "core", "simd", "quant", "text", "io"}},
    {"train", {"model", "layer", "ops", "core", "simd", "quant", "text", "io"}},
    {"serve", {"model", "layer", "ops", "core", "simd", "quant", "text", "io"}},
    {"profile",
     {"model", "layer", "ops", "core", "simd", "quant", "text", "io"}},
    {"cli",
     {"model", "layer", "ops", "core", "simd", "quant", "text", "io", "train",
      "serve", "profile", "quantize", "reference"}},
    {"capi",
     {"model", "layer", "ops", "core", "simd", "quant", "text", "io",
      "reference"}},
};

// Packages that one place alone may see: pattern of the include, the paths
// that may have it, and why.
struct PackageRule {
  std::regex include;
  std::regex allowed_path;
  std::string why;
};
const std::vector<PackageRule>& PackageRules() {
  static const std::vector<PackageRule> rules = {
      {std::regex("^Eigen/.*"), std::regex("^reference/.*"),
       "Eigen belongs to the reference"},
      {std::regex("^omp\\.h$"), std::regex("^src/core/parallel\\.cc$"),
       "OpenMP lives behind core/parallel.h"},
      {std::regex("^hwy/.*"), std::regex("^simd/.*"),
       "Highway belongs to simd"},
      {std::regex("^([a-z0-9]+intrin|arm_neon|arm_sve)\\.h$"),
       std::regex("^simd/.*"), "intrinsics belong to simd"},
      {std::regex("^xsimd/.*"), std::regex("^$"),
       "xsimd is for tests and benches"},
      {std::regex("^(CLI/.*|httplib\\.h)$"), std::regex("^src/(cli|serve)/.*"),
       "front ends only"},
  };
  return rules;
}

// "simd/exp.cc" -> "simd", "src/core/log.h" -> "core".
std::string RoomOf(const std::string& path) {
  std::string rest = path;
  if (rest.rfind("src/", 0) == 0) rest = rest.substr(4);
  const size_t slash = rest.find('/');
  // src/main.cc is the program itself.
  return slash == std::string::npos ? "cli" : rest.substr(0, slash);
}

// The rules that a file of this path and text breaks, one line each.
std::vector<std::string> Violations(const std::string& path,
                                    const std::string& text) {
  std::vector<std::string> found;
  const std::string room = RoomOf(path);
  const auto arrows = kArrows.find(room);
  if (arrows == kArrows.end()) return {path + ": unknown room " + room};
  static const std::regex kInclude(
      "^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"].*");
  static const std::regex kPragmaOmp("^\\s*#\\s*pragma\\s+omp\\b.*");
  std::istringstream in(text);
  int number = 0;
  bool inside_target_guard = false;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const auto complain = [&](const std::string& what) {
      found.push_back(path + ":" + std::to_string(number) + ": " + what);
    };
    if (line.find("HWY_TARGET") != std::string::npos ||
        line.find("HWY_ARCH_X86") != std::string::npos) {
      inside_target_guard = true;
    }
    if (std::regex_match(line, kPragmaOmp) && path != "src/core/parallel.cc") {
      complain("OpenMP lives behind core/parallel.h");
    }
    std::smatch match;
    if (!std::regex_match(line, match, kInclude)) continue;
    const std::string include = match[1];
    for (const PackageRule& rule : PackageRules()) {
      if (std::regex_match(include, rule.include) &&
          !std::regex_match(path, rule.allowed_path)) {
        complain(include + ": " + rule.why);
      }
    }
    static const std::regex kIntrinsics("^[a-z0-9]+intrin\\.h$");
    if (std::regex_match(include, kIntrinsics) && !inside_target_guard) {
      complain(include + ": intrinsics need a HWY_TARGET guard");
    }
    if (include.find("..") != std::string::npos) {
      complain(include + ": includes are rooted, never relative");
    }
    const size_t slash = include.find('/');
    if (slash == std::string::npos) continue;
    const std::string target = include.substr(0, slash);
    if (target == "etalon" || target == room || !kArrows.contains(target)) {
      continue;
    }
    // The judge reads the layouts of the formats and nothing else of ours.
    const bool layout =
        room == "reference" && include.rfind("quant/block_", 0) == 0;
    if (!layout && !arrows->second.contains(target)) {
      complain(room + " may not include " + include);
    }
  }
  return found;
}

TEST(IncludeArrows, TheTreeFollowsThem) {
  const fs::path root = ETALON_SOURCE_DIR;
  std::vector<std::string> found;
  int files = 0;
  for (const char* top : {"include", "quant", "simd", "reference", "src"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc") continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      const auto v = Violations(
          entry.path().lexically_relative(root).generic_string(), text.str());
      found.insert(found.end(), v.begin(), v.end());
      ++files;
    }
  }
  EXPECT_GT(files, 30);  // the check looked at something
  EXPECT_THAT(found, IsEmpty());
}

TEST(IncludeArrows, ForbiddenIncludesAreFound) {
  const struct {
    const char* path;
    const char* line;
    const char* complaint;
  } cases[] = {
      {"simd/dot.cc", "#include \"reference/gemm.h\"", "simd may not include"},
      {"reference/gemm.cc", "#include \"simd/exp.h\"",
       "reference may not include"},
      {"reference/gemm.cc", "#include \"quant/dequantize.h\"",
       "reference may not include"},
      {"quant/f16.cc", "#include \"simd/f16.h\"", "quant may not include"},
      {"simd/dot.cc", "#include \"core/parallel.h\"", "simd may not include"},
      {"src/core/log.cc", "#include \"ops/gemm.h\"", "core may not include"},
      {"src/io/gguf.cc", "#include \"text/tokenizer.h\"", "io may not include"},
      {"src/text/bpe.cc", "#include \"model/session.h\"",
       "text may not include"},
      {"src/layer/layer.cc", "  #  include \"model/session.h\"",
       "layer may not include"},
      {"src/model/session.cc", "#include \"reference/gemm.h\"",
       "model may not include"},
      {"include/etalon/gemm.h", "#include \"quant/block_formats.h\"",
       "include may not include"},
      {"src/ops/gemm.cc", "#include <Eigen/Core>", "Eigen belongs"},
      {"src/ops/gemm.cc", "#include <omp.h>", "OpenMP lives"},
      {"src/ops/gemm.cc", "#pragma omp parallel for", "OpenMP lives"},
      {"simd/dot.cc", "#pragma omp simd", "OpenMP lives"},
      {"src/ops/gemm.cc", "#include <hwy/highway.h>", "Highway belongs"},
      {"src/ops/gemm.cc", "#include <immintrin.h>", "intrinsics belong"},
      {"simd/dot.cc", "#include <immintrin.h>", "need a HWY_TARGET guard"},
      {"simd/dot.cc", "#include <xsimd/xsimd.hpp>", "xsimd is for tests"},
      {"src/model/x.cc", "#include \"CLI/CLI.hpp\"", "front ends only"},
      {"src/model/x.cc", "#include \"../core/log.h\"", "never relative"},
  };
  for (const auto& c : cases) {
    const auto found = Violations(c.path, std::string(c.line) + "\n");
    ASSERT_FALSE(found.empty()) << c.path << ": " << c.line;
    EXPECT_THAT(found.front(), HasSubstr(c.complaint));
  }
}

TEST(IncludeArrows, AllowedIncludesAreNot) {
  const struct {
    const char* path;
    const char* text;
  } cases[] = {
      {"simd/dot.cc", "#include \"quant/f16.h\"\n#include \"hwy/highway.h\""},
      {"simd/tiles.cc", "#if HWY_TARGET == HWY_AVX3\n#include <immintrin.h>"},
      {"reference/gemm.cc",
       "#include <Eigen/Core>\n#include \"quant/block_formats.h\""},
      {"src/core/parallel.cc", "#include <omp.h>\n#pragma omp parallel"},
      {"src/cli/run.cc", "#include \"reference/backend.h\""},
      {"src/main.cc", "#include \"cli/main.h\""},
      {"src/model/session.cc",
       "#include \"text/tokenizer.h\"\n#include \"etalon/backend.h\""},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(Violations(c.path, c.text), IsEmpty()) << c.path;
  }
}

}  // namespace
}  // namespace etalon
