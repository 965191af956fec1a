// What the subcommands print, and that only results go to stdout.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <regex>
#include <sstream>

#include "model/sampler.h"
#include "model/session.h"
#include "tests/cli/program_fixture.h"
#include "text/tokenizer.h"

namespace etalon::cli {
namespace {

using Args = std::vector<std::string>;

class Commands : public Program {
 protected:
  // What greedy generation must print, from the library.
  std::string Greedy(const std::string& prompt, size_t n) {
    const auto model = model::Model::Load(model_, {});
    EXPECT_TRUE(model);
    model::SessionOptions options;
    const auto session = model::Session::Create(**model, options);
    std::vector<float> logits((*model)->hyperparameters().n_vocab);
    const Span2D<float> row(logits.data(), 1, logits.size());
    const text::Tokenizer& tokenizer = *(*model)->tokenizer();
    EXPECT_TRUE((*session)->Append(tokenizer.Encode(prompt, {}), row));
    text::StreamDecoder decoder;
    std::string out;
    for (size_t i = 0; i < n; ++i) {
      const int32_t token = *model::Argmax(logits);
      out += decoder.Push(tokenizer.Piece(token, false));
      EXPECT_TRUE((*session)->Append({&token, 1}, row));
    }
    return out + decoder.Finish();
  }
  Args Run(const std::string& prompt, const std::string& n) {
    return {"run", "-m",     model_, "-p", prompt, "-n",
            n,     "--temp", "0",    "-c", "512",  "--ignore-eos"};
  }
};

TEST_F(Commands, VersionAndHelp) {
  const auto version = test::Etalon({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_TRUE(std::regex_match(version.out,
                               std::regex("etalon [0-9]+\\.[0-9]+\\.[0-9]+\n")))
      << version.out;
  EXPECT_EQ(version.err, "");
  const auto all = test::Etalon({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  for (const char* command :
       {"run", "logits", "perplexity", "tokenize", "info", "quantize"}) {
    EXPECT_NE(all.out.find(std::string("  ") + command), std::string::npos);
    const auto help = test::Etalon({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_NE(help.out.find("--help"), std::string::npos) << command;
    EXPECT_NE(help.out.find(std::string(command) == "quantize" ? "--threads"
                                                               : "--model"),
              std::string::npos)
        << help.out;
    EXPECT_NE(help.out, all.out) << command;
    EXPECT_EQ(help.err, "") << command;
  }
}

TEST_F(Commands, RunPrintsTheContinuationOnly) {
  for (const std::string prompt : {"", "abc", "a\nb", "-5 degrees", "--"}) {
    const auto r = test::Etalon(Run(prompt, "24"));
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_EQ(r.out, Greedy(prompt, 24)) << prompt;
    EXPECT_NE(r.err.find("eval time"), std::string::npos) << r.err;
  }
  const auto none = test::Etalon(Run("abc", "0"));
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_EQ(none.out, "");
}

TEST_F(Commands, PromptsFromFilesAndEscapes) {
  const std::string want = Greedy("a\nb", 16);
  EXPECT_EQ(test::Etalon(Run("a\\nb", "16")).out, want);
  Args raw = Run("a\\nb", "16");
  raw.push_back("--no-escape");
  EXPECT_EQ(test::Etalon(raw).out, Greedy("a\\nb", 16));
  const std::string file = dir_.File("prompt.txt");
  WriteFile(file, "a\nb");
  Args from_file = Run("", "16");
  from_file[3] = "-f";
  from_file[4] = file;
  EXPECT_EQ(test::Etalon(from_file).out, want);
  from_file[4] = "-";
  test::ProcessOptions in;
  in.stdin_path = file;
  EXPECT_EQ(test::Etalon(from_file, in).out, want);
}

TEST_F(Commands, TheSameSeedTheSameText) {
  const auto run = [&](const std::string& seed, const std::string& threads) {
    const auto r = test::Etalon({"run", "-m", model_, "-p", "a", "-n", "24",
                                 "-s", seed, "-t", threads, "-c", "64", "-q",
                                 "--temp", "1.5", "--ignore-eos"});
    EXPECT_EQ(r.err, "");
    return r.out;
  };
  const std::string want = run("7", "1");
  EXPECT_EQ(run("7", "2"), want);
  EXPECT_NE(run("8", "1"), want);
}

TEST_F(Commands, FlagsOfOtherEnginesAreAccepted) {
  Args args = Run("abc", "8");
  for (const char* a : {"-ngl", "99", "-fa", "-ctk", "f32", "--no-mmap", "-ub",
                        "64", "-no-cnv", "--no-warmup"}) {
    args.emplace_back(a);
  }
  const auto r = test::Etalon(args);
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.out, Greedy("abc", 8));
}

TEST_F(Commands, LogitsAreTheSameBytesHoweverComputed) {
  const std::string tokens = "1,5,9,260,33,270,271,2,0,100,101,102";
  const auto logits = [&](const Args& more) {
    Args args = {"logits", "-m", model_, "--tokens", tokens, "-o", out_};
    args.insert(args.end(), more.begin(), more.end());
    const auto r = test::Etalon(args);
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_EQ(r.out + r.err, "");
    return ReadFile(out_);
  };
  const std::string want = logits({});
  ASSERT_GT(want.size(), 12 * test::kTinyVocab * 4);
  EXPECT_EQ(want.substr(1, 5), "NUMPY");
  EXPECT_NE(want.find("(12, 288)"), std::string::npos);
  for (const char* t : {"1", "2", "4"}) EXPECT_EQ(logits({"-t", t}), want) << t;
  for (const char* b : {"1", "7", "64"})
    EXPECT_EQ(logits({"-b", b}), want) << b;

  const std::string info = test::Etalon({"info"}).out;
  const size_t at = info.find("tiers: ");
  ASSERT_NE(at, std::string::npos) << info;
  std::istringstream tiers(info.substr(at + 7, info.find('\n', at) - at - 7));
  int n_tiers = 0;
  for (std::string tier; tiers >> tier; ++n_tiers) {
    EXPECT_EQ(logits({"--isa", tier}), want) << tier;
  }
  EXPECT_GE(n_tiers, 1);
  EXPECT_NE(logits({"--backend", "reference"}), want);
}

TEST_F(Commands, TokenizeGivesTheLibrarysIds) {
  const auto gguf = io::GgufFile::Open(model_);
  ASSERT_TRUE(gguf);
  const auto tokenizer = text::Tokenizer::FromGguf(*gguf);
  ASSERT_TRUE(tokenizer);
  const std::string text = "an ant \xC3\xA9 </s>\n";
  const std::string file = dir_.File("text.txt");
  WriteFile(file, text);
  const auto line = [&](bool bos, bool special) {
    return fmt::format(
        "{}\n", fmt::join((*tokenizer)->Encode(text, {bos, special}), " "));
  };
  EXPECT_EQ(test::Etalon({"tokenize", "-m", model_, "-f", file}).out,
            line(true, true));
  EXPECT_EQ(
      test::Etalon({"tokenize", "-m", model_, "-f", file, "--no-bos"}).out,
      line(false, true));
  EXPECT_EQ(test::Etalon({"tokenize", "-m", model_, "-f", file, "--no-bos",
                          "--no-special"})
                .out,
            line(false, false));
  EXPECT_NE(line(false, false), line(false, true));
  // Back to the bytes.
  std::istringstream ids(line(false, false));
  std::string back;
  for (int32_t id; ids >> id;) back += (*tokenizer)->Piece(id, true);
  EXPECT_EQ(back, " " + text);
}

TEST_F(Commands, PerplexityPrintsChunksAndTheEstimate) {
  const std::string file = dir_.File("text.txt");
  std::string text;
  for (int i = 0; i < 140; ++i) text += static_cast<char>('b' + i % 23);
  WriteFile(file, text);
  const Args args = {"perplexity", "-m", model_, "-f", file, "-c", "32"};
  const auto r = test::Etalon(args);
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_TRUE(std::regex_match(
      r.out, std::regex("(\\[[1-4]\\][0-9]+\\.[0-9]{4},){4}\nFinal estimate: "
                        "PPL = [0-9]+\\.[0-9]{4} \\+/- [0-9]+\\.[0-9]{5}\n")))
      << r.out;
  Args two = args;
  two.insert(two.end(), {"--chunks", "2", "-t", "2", "-b", "5"});
  const auto part = test::Etalon(two);
  EXPECT_TRUE(r.out.starts_with(part.out.substr(0, part.out.find('\n'))))
      << part.out << r.out;
  ExpectRefused({"perplexity", "-m", model_, "-f", file, "-c", "128"}, 2,
                "tokens");
}

TEST_F(Commands, InfoTellsMachineAndModel) {
  const auto machine = test::Etalon({"info"});
  EXPECT_EQ(machine.exit_code, 0);
  for (const char* line : {"cpu: ", "threads: ", "tiers: scalar"}) {
    EXPECT_NE(machine.out.find(line), std::string::npos) << machine.out;
  }
  const auto model = test::Etalon({"info", "-m", model_});
  EXPECT_EQ(model.exit_code, 0);
  for (const char* part : {"blk.1.ffn_down.weight", "general.architecture",
                           "Q4_K x Q8_K", "version 3"}) {
    EXPECT_NE(model.out.find(part), std::string::npos) << model.out;
  }
}

// Generation that would go on for very long.
Args Endless(const std::string& model) {
  return {"run", "-m",     model, "-p", "abc",    "-n",
          "-1",  "--temp", "0",   "-c", "100000", "--ignore-eos"};
}

TEST_F(Commands, InterruptStopsCleanly) {
  test::ProcessOptions options;
  bool sent = false;
  options.on_stdout = [&](pid_t pid, const std::string& out) {
    if (sent || out.size() < 20) return;
    kill(pid, SIGINT);
    sent = true;
  };
  const auto r = test::Etalon(Endless(model_), options);
  EXPECT_EQ(r.exit_code, 130) << r.err;
  // A greedy text, cut: the tail may be what the decoder held back.
  ASSERT_GE(r.out.size(), 20u);
  const std::string want = Greedy("abc", 20);
  const size_t n = std::min(want.size(), r.out.size()) - 8;
  EXPECT_EQ(r.out.substr(0, n), want.substr(0, n));
}

TEST_F(Commands, AModelCutWhileMappedIsAnIoError) {
  test::ProcessOptions options;
  bool cut = false;
  options.on_stdout = [&](pid_t, const std::string&) {
    if (!cut) {
      EXPECT_EQ(truncate(model_.c_str(), 4096), 0);
    }
    cut = true;
  };
  const auto r = test::Etalon(Endless(model_), options);
  EXPECT_EQ(r.exit_code, 3) << r.err;
  EXPECT_EQ(r.ErrLines(), 1) << r.err;
  EXPECT_NE(r.err.find(model_), std::string::npos) << r.err;
}

}  // namespace
}  // namespace etalon::cli
