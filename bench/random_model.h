// Models with random weights for benchmarks: real shapes and types (the Q4_K_M
// mix), random quants (hardware runs slower on real data than on zeros), scales
// chosen so that activations keep the size that trained weights give them.
// Blocks are drawn directly, nothing is quantised: speed of the disk.
#ifndef ETALON_BENCH_RANDOM_MODEL_H_
#define ETALON_BENCH_RANDOM_MODEL_H_

#include <cstdint>
#include <string>

#include "bench/model_shapes.h"
#include "etalon/status.h"

namespace etalon::bench {

// The same file for the same seed, on every machine.
Status WriteRandomModel(const ModelShape& shape, uint64_t seed,
                        const std::string& path);

}  // namespace etalon::bench

#endif  // ETALON_BENCH_RANDOM_MODEL_H_
