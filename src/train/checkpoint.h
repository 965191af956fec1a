// The state of a run, whole and exact, in one file that is replaced atomically:
// after a kill at any moment the last complete checkpoint is there, and a run
// resumed from it ends with the bits of one that was never stopped.
// Layout, little-endian: magic, the run's identity (a hash of options and
// text), step, curve, then values, m, v; a hash of all that ends the file.
#ifndef ETALON_TRAIN_CHECKPOINT_H_
#define ETALON_TRAIN_CHECKPOINT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "etalon/status.h"
#include "train/adamw.h"
#include "train/curve.h"
#include "train/net.h"

namespace etalon::train {

struct RunState {
  uint64_t step = 0;  // steps done
  std::vector<CurvePoint> curve;
  AdamWState optimizer;
};

Status SaveCheckpoint(const std::string& path, uint64_t identity,
                      const RunState& state, Net& net);

// False if there is no file. Error: a file that is no checkpoint, is damaged,
// or belongs to another run; state and net are then unchanged.
Expected<bool> LoadCheckpoint(const std::string& path, uint64_t identity,
                              RunState* state, Net& net);

}  // namespace etalon::train

#endif  // ETALON_TRAIN_CHECKPOINT_H_
