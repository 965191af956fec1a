// `etalon train`: from a text file to a model file. One seed, one result: the
// vocabulary, the order of the data, the first weights and every gradient are
// functions of text and options alone, so the bits do not depend on threads,
// tier or interruptions.
#ifndef ETALON_TRAIN_TRAINER_H_
#define ETALON_TRAIN_TRAINER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/adamw.h"
#include "train/curve.h"
#include "train/net.h"

namespace etalon::train {

struct TrainOptions {
  std::vector<std::string> text_paths;
  std::string output;       // model; OUT.checkpoint, OUT.csv, OUT.svg beside it
  std::string name;         // general.name
  NetShape shape;           // n_vocab: wanted size
  size_t n_windows = 8;     // windows per forward and backward pass
  size_t n_accumulate = 1;  // passes per step
  size_t n_steps = 1000;
  AdamWOptions adamw;
  uint64_t seed = 1;
  size_t valid_every = 20;       // documents; 0: no validation
  size_t eval_every = 100;       // steps
  size_t eval_windows = 16;      // of the validation stream, while training
  size_t checkpoint_every = 50;  // steps
  std::string export_tokens;     // PREFIX of token files, or empty
  int n_threads = 1;
};

// What the run says as it goes. Any of them may be empty.
struct TrainReport {
  std::function<void(const std::string& line)> note;
  // After a step; `tokens` of this process so far. False stops the run after a
  // checkpoint.
  std::function<bool(const CurvePoint&, uint64_t tokens)> on_step;
};

struct TrainSummary {
  uint64_t steps = 0;
  bool finished = false;
  double valid_loss = -1;  // over the whole validation stream
  double bits_per_byte = -1;
  uint64_t valid_tokens = 0;
  uint64_t valid_bytes = 0;
};

Expected<TrainSummary> Train(const TrainOptions& options,
                             const TrainReport& report);

}  // namespace etalon::train

#endif  // ETALON_TRAIN_TRAINER_H_
