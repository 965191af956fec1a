// make_model SHAPE OUT.gguf [SEED]: a random Q4_K_M model for benchmarks.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "bench/random_model.h"

namespace {

int Usage() {
  fmt::print(stderr, "usage: make_model SHAPE OUT.gguf [SEED]\nshapes:\n");
  for (const etalon::bench::ModelShape& shape : etalon::bench::kModelShapes) {
    fmt::print(stderr, "  {:<14} {}\n", shape.name, shape.comes_from);
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) return Usage();
  const uint64_t seed = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : 1;
  for (const etalon::bench::ModelShape& shape : etalon::bench::kModelShapes) {
    if (shape.name != argv[1]) continue;
    const etalon::Status status =
        etalon::bench::WriteRandomModel(shape, seed, argv[2]);
    if (status) return 0;
    fmt::print(stderr, "error: {}\n", status.error().message);
    return 3;
  }
  fmt::print(stderr, "error: unknown shape '{}'\n", argv[1]);
  return Usage();
}
