// A training run: one result for any number of threads and any interruption,
// a vocabulary and a model that our own reader takes.
#include "train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

#include "io/gguf.h"
#include "model/model.h"
#include "model/session.h"
#include "tests/util/process.h"
#include "tests/util/random.h"
#include "tests/util/temp_dir.h"
#include "train/byte_pairs.h"
#include "train/checkpoint.h"
#include "train/corpus.h"
#include "train/random.h"

namespace etalon::train {
namespace {

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Sentences of a small grammar: something to learn, in any number.
std::string Text(size_t n_sentences) {
  const char* subjects[] = {"The cat", "A dog", "My uncle", "The old king"};
  const char* verbs[] = {"sees", "follows", "does not like", "remembers"};
  const char* objects[] = {"the river.", "a caf\xC3\xA9.", "12 ships.",
                           "his brother's house."};
  std::string text;
  for (size_t i = 0; i < n_sentences; ++i) {
    const uint64_t r = RandomBits(5, 6, i);
    text += std::string(subjects[r % 4]) + " " + verbs[r / 4 % 4] + " " +
            objects[r / 16 % 4];
    text += i % 12 == 11 ? "\n\n\n" : "\n";
  }
  return text;
}

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(text_path_, std::ios::binary) << Text(900);
  }
  TrainOptions Options(const std::string& out) {
    TrainOptions o;
    o.text_paths = {text_path_};
    o.output = dir_.File(out);
    o.name = "tiny";
    o.shape = {.n_vocab = 300,
               .n_layers = 2,
               .model_dim = 32,
               .n_heads = 2,
               .n_kv_heads = 1,
               .head_dim = 16,
               .ffn_dim = 48,
               .seq_len = 24};
    o.n_windows = 4;
    o.n_accumulate = 2;
    o.n_steps = 24;
    o.adamw.learning_rate = 0.01f;
    o.adamw.warmup_steps = 4;
    o.eval_every = 8;
    o.checkpoint_every = 3;
    o.n_threads = 2;
    return o;
  }

  test::TempDir dir_;
  std::string text_path_ = dir_.File("text.txt");
};

TEST_F(TrainerTest, LearnsAndWritesAModelThatRuns) {
  TrainOptions o = Options("a.gguf");
  o.n_steps = 60;
  std::vector<CurvePoint> curve;
  TrainReport report;
  report.on_step = [&](const CurvePoint& p, uint64_t) {
    curve.push_back(p);
    return true;
  };
  const auto summary = Train(o, report);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->finished);
  ASSERT_EQ(curve.size(), 60u);
  EXPECT_GT(curve[0].train_loss, 5.0);  // about ln 300
  EXPECT_LT(summary->valid_loss, 3.0);
  EXPECT_GT(summary->bits_per_byte, 0.0);

  const auto model = model::Model::Load(o.output, {});
  ASSERT_TRUE(model) << model.error().message;
  model::SessionOptions options;
  options.n_ctx = 24;
  const auto session = model::Session::Create(**model, options);
  ASSERT_TRUE(session) << session.error().message;
  const auto ids = (*model)->tokenizer()->Encode("The cat sees", {});
  EXPECT_EQ(ids[0], kEndOfText);
  std::vector<float> logits((*model)->hyperparameters().n_vocab);
  ASSERT_TRUE(
      (*session)->Append(ids, Span2D<float>(logits.data(), 1, logits.size())));
  // What follows is a space and the start of an object.
  const auto best = std::max_element(logits.begin(), logits.end());
  const std::string piece =
      (*model)->tokenizer()->Piece(static_cast<int32_t>(best - logits.begin()));
  EXPECT_EQ(piece[0], ' ') << piece;
}

TEST_F(TrainerTest, ThreadsAndInterruptionsDoNotShow) {
  TrainOptions o = Options("whole.gguf");
  ASSERT_TRUE(Train(o, {}));
  const std::string model = Read(o.output), csv = Read(o.output + ".csv");
  ASSERT_FALSE(model.empty());
  for (const int n_threads : {1, 3}) {
    TrainOptions again = Options("again" + std::to_string(n_threads));
    again.n_threads = n_threads;
    // Stopped after step 5, then after 11, then to the end.
    for (const uint64_t stop : {5u, 11u, 1000u}) {
      TrainReport report;
      report.on_step = [&](const CurvePoint& p, uint64_t) {
        return p.step != stop;
      };
      const auto summary = Train(again, report);
      ASSERT_TRUE(summary) << summary.error().message;
      EXPECT_EQ(summary->finished, stop == 1000u);
      EXPECT_EQ(summary->steps, std::min<uint64_t>(stop, 24));
    }
    EXPECT_TRUE(Read(again.output) == model);
    EXPECT_EQ(Read(again.output + ".csv"), csv);
  }
}

// kill -9 at 20 random moments, then to the end: the same bytes.
TEST_F(TrainerTest, KilledAtAnyMomentItResumesToTheSameBits) {
  const auto arguments = [&](const std::string& out) {
    return std::vector<std::string>{ETALON_PROGRAM,
                                    "train",
                                    "--text",
                                    text_path_,
                                    "--out",
                                    out,
                                    "--vocab",
                                    "300",
                                    "--layers",
                                    "1",
                                    "--dim",
                                    "32",
                                    "--heads",
                                    "2",
                                    "--kv-heads",
                                    "1",
                                    "--head-dim",
                                    "16",
                                    "--ffn-dim",
                                    "48",
                                    "--context",
                                    "24",
                                    "--batch",
                                    "4",
                                    "--steps",
                                    "60",
                                    "--warmup",
                                    "4",
                                    "--eval-every",
                                    "10",
                                    "--checkpoint-every",
                                    "1",
                                    "--name",
                                    "x",
                                    "-t",
                                    "2"};
  };
  const std::string whole = dir_.File("whole"), killed = dir_.File("killed");
  const auto reference = test::RunProcess(arguments(whole));
  ASSERT_EQ(reference.exit_code, 0) << reference.err;
  const double moment = reference.seconds * 1e6 / 6;
  size_t n_killed = 0;
  for (uint64_t i = 0; i < 20; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      std::vector<std::string> args = arguments(killed);
      std::vector<char*> argv;
      for (std::string& a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      close(STDERR_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    usleep(static_cast<useconds_t>(
        static_cast<double>(RandomBits(test::TestSeed(), 1, i) % 1000) *
        moment / 1000));
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    n_killed += WIFSIGNALED(status) ? 1 : 0;
  }
  EXPECT_GT(n_killed, 0u);
  const auto last = test::RunProcess(arguments(killed));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_TRUE(Read(whole) == Read(killed)) << test::SeedNote();
  EXPECT_EQ(Read(whole + ".csv"), Read(killed + ".csv"));
  EXPECT_TRUE(Read(whole + ".checkpoint") == Read(killed + ".checkpoint"));
}

TEST_F(TrainerTest, CheckpointsOfAnotherRunOrDamagedAreRefused) {
  TrainOptions o = Options("a");
  o.n_steps = 3;
  ASSERT_TRUE(Train(o, {}));
  TrainOptions other = o;
  other.adamw.learning_rate = 0.02f;
  auto summary = Train(other, {});
  ASSERT_FALSE(summary);
  EXPECT_NE(summary.error().message.find("other options or text"),
            std::string::npos);
  const std::string path = o.output + ".checkpoint";
  const std::string good = Read(path);
  for (const size_t at :
       {size_t{0}, size_t{16}, good.size() / 2, good.size() - 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    std::ofstream(path, std::ios::binary) << bad;
    EXPECT_FALSE(Train(o, {})) << at;
  }
  for (const size_t size : {size_t{0}, size_t{7}, good.size() - 1}) {
    std::ofstream(path, std::ios::binary) << good.substr(0, size);
    EXPECT_FALSE(Train(o, {})) << size;
  }
}

TEST_F(TrainerTest, BadTextsAreRefused) {
  TrainOptions o = Options("a");
  o.text_paths = {dir_.File("none")};
  EXPECT_FALSE(Train(o, {}));
  std::ofstream(dir_.File("short")) << "Too short.\n";
  o.text_paths = {dir_.File("short")};
  const auto summary = Train(o, {});
  ASSERT_FALSE(summary);
  EXPECT_NE(summary.error().message.find("tokens of training text"),
            std::string::npos);
}

TEST(BytePairs, MergeTheMostFrequentPairFirst) {
  // "ab" 6 times, "abc" 4 of them; ties go to smaller ids.
  const auto v = LearnBytePairs("abc abc abc abc ab ab", 260);
  ASSERT_TRUE(v) << v.error().message;
  ASSERT_EQ(v->merges.size(), 3u);
  EXPECT_EQ(v->merges[0], "a b");
  EXPECT_EQ(v->tokens.size(), 260u);
  EXPECT_EQ(v->tokens[257], "ab");
  EXPECT_FALSE(LearnBytePairs("x", 256));
}

TEST(BytePairs, TheTokenizerReadsThemAndLosesNothing) {
  const std::string text = Text(300);
  const auto v = LearnBytePairs(text, 400);
  ASSERT_TRUE(v);
  io::GgufWriter writer;
  ASSERT_TRUE(AddVocabulary(*v, writer));
  const auto bytes = writer.ToBytes();
  const auto file = io::GgufFile::Parse(*bytes);
  ASSERT_TRUE(file);
  const auto tokenizer = text::Tokenizer::FromGguf(*file);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->size(), v->tokens.size());
  for (const std::string& sample :
       {text, std::string("\x01\xff\x80 odd \xE2\x82 bytes\t\r\n")}) {
    const auto ids = (*tokenizer)->Encode(sample, {.add_special = false});
    EXPECT_EQ((*tokenizer)->Decode(ids), sample);
  }
  const auto ids = (*tokenizer)->Encode(text, {.add_special = false});
  EXPECT_LT(ids.size() * 3, text.size());  // it does compress
}

TEST(Corpus, SplitsDocumentsAndTakesEveryNth) {
  const SplitText split =
      SplitDocuments("a\n\nb\n\n\n\nc\n\n\nd\n\n\n \n\n\n", 3);
  ASSERT_EQ(split.train.size(), 2u);
  EXPECT_EQ(split.train[0], "a\n\nb");
  EXPECT_EQ(split.train[1], "c");
  ASSERT_EQ(split.valid.size(), 1u);
  EXPECT_EQ(split.valid[0], "d");
}

TEST(Corpus, EveryEpochCoversItsWindowsOnce) {
  constexpr size_t kTokens = 1003, kWindow = 10;
  WindowOrder order(kTokens, kWindow, 9);
  const size_t n = order.windows_per_epoch();
  EXPECT_EQ(n, 99u);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<size_t> starts;
    for (uint64_t i = 0; i < n; ++i) {
      starts.push_back(order.Start(epoch * n + i));
      EXPECT_LE(starts.back() + kWindow + 1, kTokens);
    }
    EXPECT_FALSE(std::is_sorted(starts.begin(), starts.end()));
    std::sort(starts.begin(), starts.end());
    for (size_t i = 1; i < n; ++i) {
      EXPECT_EQ(starts[i] - starts[i - 1], kWindow);
    }
  }
}

TEST(AdamW, ScheduleWarmsUpAndFallsToATenth) {
  AdamWOptions o;
  o.learning_rate = 0.01f;
  o.warmup_steps = 10;
  EXPECT_FLOAT_EQ(LearningRate(o, 0, 100), 0.001f);
  EXPECT_FLOAT_EQ(LearningRate(o, 9, 100), 0.01f);
  EXPECT_FLOAT_EQ(LearningRate(o, 10, 100), 0.01f);
  EXPECT_NEAR(LearningRate(o, 55, 100), 0.0055f, 1e-5f);
  EXPECT_NEAR(LearningRate(o, 99, 100), 0.001f, 1e-5f);
}

// One step against the formula in fp64.
TEST(AdamW, StepFollowsTheFormula) {
  NetShape shape = {.n_vocab = 5,
                    .n_layers = 1,
                    .model_dim = 4,
                    .n_heads = 1,
                    .n_kv_heads = 1,
                    .head_dim = 2,
                    .ffn_dim = 3,
                    .seq_len = 4};
  auto net = Net::Create(shape, 1, 1);
  ASSERT_TRUE(net);
  (*net)->Initialise(3);
  const std::vector<float> before((*net)->values().begin(),
                                  (*net)->values().end());
  AdamWState state;
  state.m.assign(before.size(), 0.0f);
  state.v.assign(before.size(), 0.0f);
  double norm2 = 0;
  for (const Parameter& p : (*net)->parameters()) {
    for (size_t i = 0; i < p.size(); ++i) {
      const float g = RandomNormal(1, 2, p.offset + i);
      (*net)->gradients()[p.offset + i] = g;
      norm2 += static_cast<double>(g) * static_cast<double>(g);
    }
  }
  AdamWOptions o;
  const double norm = AdamWUpdate(o, 0, 0.01f, **net, state, 2);
  EXPECT_NEAR(norm, std::sqrt(norm2), 1e-9 * norm);
  for (const Parameter& p : (*net)->parameters()) {
    for (size_t i = p.offset; i < p.offset + p.size(); ++i) {
      const double g =
          static_cast<double>((*net)->gradients()[i]) / norm;  // clip = 1
      // After one step m / c1 = g and v / c2 = g^2.
      const double decay = p.rows > 0 ? 1 - 0.01 * 0.1 : 1.0;
      const double want = static_cast<double>(before[i]) * decay -
                          0.01 * g / (std::abs(g) + 1e-8);
      EXPECT_NEAR(static_cast<double>((*net)->values()[i]), want, 1e-6)
          << p.name;
    }
  }
}

TEST(Curve, CsvAndSvgHoldThePoints) {
  const CurvePoint points[] = {{1, 8.0, -1, 2.5, 0.001},
                               {2, 7.5, 7.7, 2.0, 0.002}};
  EXPECT_EQ(CurveCsv(points, 100),
            "step,tokens,train_loss,valid_loss,gradient_norm,learning_rate\n"
            "1,100,8.000000,,2.500000,0.00100000\n"
            "2,200,7.500000,7.700000,2.000000,0.00200000\n");
  const std::string svg = CurveSvg(points, "title");
  EXPECT_TRUE(svg.starts_with("<svg"));
  EXPECT_NE(svg.find("title"), std::string::npos);
  EXPECT_EQ(CurveSvg({}, "none").find("nan"), std::string::npos);
}

}  // namespace
}  // namespace etalon::train
