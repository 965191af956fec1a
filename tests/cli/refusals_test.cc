// Bad input on the command line: one line on stderr, the right exit status,
// nothing written.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/program_fixture.h"

namespace etalon::cli {
namespace {

using Args = std::vector<std::string>;

class Refusals : public Program {};

TEST_F(Refusals, CommandsAndFlags) {
  ExpectRefused({}, 1);
  ExpectRefused({"frobnicate"}, 1, "frobnicate");
  ExpectRefused({"frobnicate", "-m", model_}, 1, "frobnicate");
  ExpectRefused({"--bogus"}, 1, "--bogus");
  ExpectRefused({"run", "-m", model_, "--bogus", "1"}, 1, "--bogus");
  ExpectRefused({"run", "-m"}, 1);
  ExpectRefused({"perplexity", "-f", model_}, 1, "no model");
  ExpectRefused({"logits", "--tokens", "1", "-o", out_}, 1, "no model");
  ExpectRefused({"logits", "-m", model_, "--tokens", "1"}, 1, "--output");
  ExpectRefused({"logits", "-m", model_, "-o", out_}, 1, "--tokens");
  ExpectRefused({"tokenize", "-m", model_}, 1);
  ExpectRefused({"tokenize", "-m", model_, "-p", "x", "-f", model_}, 1);
  ExpectRefused({"tokenize", "-p", "x"}, 1, "--model");
  ExpectRefused({"run", "-m", model_, "-p", "x", "-f", model_}, 1);
}

// Not the exit status of a port that failed.
TEST_F(Refusals, OutputsThatAreNotThere) {
  const std::string missing = dir_.File("outputs");
  ExpectRefused({"golden", "check", dir_.File(""), "--got", missing}, 2,
                missing);
  ExpectRefused({"golden", "check", dir_.File(""), "--got", model_}, 2, model_);
}

TEST_F(Refusals, NumbersAndNames) {
  for (const Args& bad : {Args{"-t", "0"},
                          Args{"-t", "-1"},
                          Args{"-t", "two"},
                          Args{"-t", "4097"},
                          Args{"-c", "-1"},
                          Args{"-c", "many"},
                          Args{"-c", "99999999999999999999"},
                          Args{"-n", "x"},
                          Args{"-n", "-3"},
                          Args{"-b", "0"},
                          Args{"-b", "65537"},
                          Args{"--temp", "hot"},
                          Args{"--temp", "-1"},
                          Args{"--temp", "nan"},
                          Args{"--temp", "inf"},
                          Args{"--top-p", "2"},
                          Args{"--top-p", "nan"},
                          Args{"--min-p", "-1"},
                          Args{"--top-k", "x"},
                          Args{"--repeat-penalty", "0"},
                          Args{"--presence-penalty", "1e9"},
                          Args{"--repeat-last-n", "-2"},
                          Args{"--isa", "sse9"},
                          Args{"--isa", ""},
                          Args{"--backend", "gpu"},
                          Args{"-ctk", "q4_0"},
                          Args{"-ctv", "bf16"},
                          Args{"-s", "x"}}) {
    Args args = {"run", "-m", model_, "-p", "x", "-n", "1"};
    if (bad[0] == "-n") args.resize(5);
    args.insert(args.end(), bad.begin(), bad.end());
    ExpectRefused(args, 1);
  }
}

TEST_F(Refusals, Environment) {
  for (const char* bad : {"ETALON_ISA=sse9", "ETALON_NUM_THREADS=0",
                          "ETALON_NUM_THREADS=many", "LLAMA_ARG_THREADS=-1"}) {
    test::ProcessOptions options;
    options.env = {bad};
    ExpectRefused({"run", "-m", model_, "-p", "x"}, 1, "", options);
  }
}

TEST_F(Refusals, ModelFiles) {
  const std::string empty = dir_.File("empty.gguf");
  const std::string text = dir_.File("text.gguf");
  const std::string fifo = dir_.File("fifo");
  const std::string loop = dir_.File("loop");
  WriteFile(empty, "");
  WriteFile(text, "Once upon a time there was a file that is no model.\n");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  ASSERT_EQ(symlink(loop.c_str(), loop.c_str()), 0);
  struct Case {
    std::string path, part;
  };
  for (const Case& c :
       {Case{dir_.File("missing.gguf"), "No such file"},
        Case{dir_.File("."), "directory"}, Case{empty, "magic"},
        Case{text, "magic"}, Case{fifo, "FIFO"}, Case{"/dev/zero", "device"},
        Case{loop, "loop"}, Case{dir_.File("new\nline"), "No such file"}}) {
    ExpectRefused({"run", "-m", c.path, "-p", "x"}, 2, c.part);
    ExpectRefused({"logits", "-m", c.path, "--tokens", "1", "-o", out_}, 2,
                  c.part);
    ExpectRefused({"tokenize", "-m", c.path, "-p", "x"}, 2, c.part);
    ExpectRefused({"info", "-m", c.path}, 2, c.part);
    ExpectRefused({"perplexity", "-m", c.path, "-f", model_}, 2, c.part);
  }
  ExpectRefused({"run", "-m", model_, "-f", dir_.File("missing.txt")}, 2,
                "missing.txt");
  ExpectRefused({"tokenize", "-m", model_, "-f", dir_.File("missing.txt")}, 2,
                "missing.txt");
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(Refusals, ModelsWithoutAVocabularyHaveNoText) {
  test::ModelSpec spec;
  spec.n_vocab = 40;
  const std::string path = dir_.File("bare.gguf");
  test::MakeModel(spec).Write(path);
  ExpectRefused({"run", "-m", path, "-p", "x"}, 2, "no_vocab");
  ExpectRefused({"perplexity", "-m", path, "-f", model_}, 2, "no vocabulary");
  ExpectRefused({"tokenize", "-m", path, "-p", "x"}, 2);
  EXPECT_EQ(test::Etalon({"logits", "-m", path, "--tokens", "1", "-o", out_})
                .exit_code,
            0);
}

TEST_F(Refusals, TokenIdsAndOutputStaysAsItWas) {
  WriteFile(out_, "precious");
  struct Case {
    std::string tokens;
    int exit_code;
  };
  for (const Case& c :
       {Case{"1,288", 2}, Case{"-1", 2}, Case{"1,99999999999999999999", 2},
        Case{"", 1}, Case{"1,,2", 1}, Case{"1,2,", 1}, Case{"1;2", 1},
        Case{"one", 1}, Case{"1.5", 1}, Case{"0x1", 1}}) {
    ExpectRefused({"logits", "-m", model_, "--tokens", c.tokens, "-o", out_},
                  c.exit_code, "tokens");
  }
  EXPECT_EQ(ReadFile(out_), "precious");
}

TEST_F(Refusals, OutputThatCannotBeWritten) {
  for (const std::string& path :
       {dir_.File("no/such/folder.npy"), std::string("/dev/full/x")}) {
    ExpectRefused({"logits", "-m", model_, "--tokens", "1", "-o", path}, 3);
  }
}

TEST_F(Refusals, ContextBeyondMemoryIsALimit) {
  for (const char* n_ctx : {"2147483647", "4294967295"}) {
    const auto r = test::Etalon({"run", "-m", model_, "-p", "x", "-c", n_ctx});
    EXPECT_EQ(r.exit_code, 4) << r.err;
    EXPECT_EQ(r.ErrLines(), 1) << r.err;
    EXPECT_LT(r.seconds, 2.0);
  }
  ExpectRefused({"run", "-m", model_, "-p", "abcdefgh", "-c", "4"}, 2, "(-c)");
}

TEST_F(Refusals, FullDiskOnStdout) {
  test::ProcessOptions full;
  full.stdout_path = "/dev/full";
  ExpectRefused({"run", "-m", model_, "-p", "x", "-n", "4", "-c", "64"}, 3,
                "stdout", full);
  ExpectRefused({"tokenize", "-m", model_, "-p", "x"}, 3, "stdout", full);
  ExpectRefused({"info"}, 3, "stdout", full);
  ExpectRefused({"--help"}, 3, "stdout", full);
  ExpectRefused({"--version"}, 3, "stdout", full);
}

TEST_F(Refusals, AReaderThatWentAwayIsNoError) {
  const std::string text = dir_.File("text.txt");
  WriteFile(text, std::string(400, 'a'));
  test::ProcessOptions closed;
  closed.stdout_path = "-";
  for (const Args& args :
       {Args{"run", "-m", model_, "-p", "x", "-n", "4", "-c", "64", "-q"},
        Args{"tokenize", "-m", model_, "-p", "x"}, Args{"info"}, Args{"--help"},
        Args{"--version"}}) {
    const auto r = test::Etalon(args, closed);
    EXPECT_EQ(r.exit_code, 0) << args[0] << r.err;
    EXPECT_EQ(r.err, "") << args[0];
  }
  const auto r = test::Etalon(
      {"perplexity", "-m", model_, "-f", text, "-c", "32"}, closed);
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.err.find("error"), std::string::npos) << r.err;
}

}  // namespace
}  // namespace etalon::cli
