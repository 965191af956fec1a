// Rewriting of arguments before the parser, and escapes in prompts.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/escapes.h"

namespace etalon::cli {
namespace {

using Args = std::vector<std::string>;

TEST(RewriteShortFlags, OfOtherEngines) {
  EXPECT_EQ(RewriteShortFlags({"run", "-ngl", "99", "-ctk", "f16", "-fa"}),
            (Args{"run", "--n-gpu-layers", "99", "--cache-type-k", "f16",
                  "--flash-attn"}));
  EXPECT_EQ(RewriteShortFlags({"-m", "x", "-t", "4", "--temp", "0"}),
            (Args{"-m", "x", "-t", "4", "--temp", "0"}));
  EXPECT_EQ(RewriteShortFlags({"-nglx", "-no-cnv"}),
            (Args{"-nglx", "--no-conversation"}));
  EXPECT_EQ(RewriteShortFlags({}), Args{});
}

TEST(RewriteShortFlags, APromptIsNobodysFlag) {
  EXPECT_EQ(RewriteShortFlags({"-p", "-ngl"}), (Args{"--prompt=-ngl"}));
  EXPECT_EQ(RewriteShortFlags({"--prompt", "--", "-fa"}),
            (Args{"--prompt=--", "--flash-attn"}));
  EXPECT_EQ(RewriteShortFlags({"-sys", "-5 degrees"}),
            (Args{"--system-prompt=-5 degrees"}));
  EXPECT_EQ(RewriteShortFlags({"-p", "", "-fa"}),
            (Args{"-p", "", "--flash-attn"}));
  EXPECT_EQ(RewriteShortFlags({"-p", "fa -fa"}), (Args{"-p", "fa -fa"}));
  EXPECT_EQ(RewriteShortFlags({"-p"}), (Args{"-p"}));
}

TEST(ProcessEscapes, KnownOnesBecomeBytesOthersStay) {
  EXPECT_EQ(ProcessEscapes(R"(a\nb\tc\r)"), "a\nb\tc\r");
  EXPECT_EQ(ProcessEscapes(R"(\\n \" \')"), "\\n \" '");
  EXPECT_EQ(ProcessEscapes(R"(\x41\xC3\xa9)"), "A\xC3\xA9");
  EXPECT_EQ(ProcessEscapes(R"(\x4)"), R"(\x4)");
  EXPECT_EQ(ProcessEscapes(R"(\xg1 \x)"), R"(\xg1 \x)");
  EXPECT_EQ(ProcessEscapes(R"(\x-1)"), R"(\x-1)");
  EXPECT_EQ(ProcessEscapes(R"(\q\)"), R"(\q\)");
  EXPECT_EQ(ProcessEscapes(""), "");
  EXPECT_EQ(ProcessEscapes(R"(\x00z)"), std::string("\0z", 2));
}

}  // namespace
}  // namespace etalon::cli
