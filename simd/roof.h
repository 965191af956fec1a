// What the machine can do at most: kernels that do nothing but read memory, or
// nothing but arithmetic in registers, on the active tier.
#ifndef ETALON_SIMD_ROOF_H_
#define ETALON_SIMD_ROOF_H_

#include <cstddef>
#include <cstdint>

namespace etalon::simd {

// Reads n_streams runs of stream_bytes each, stream s starting at data + s *
// stream_bytes, in turns of one cache line: the way the product kernels read
// weights. Each line is asked for `ahead` bytes before it is read (0: not at
// all). stream_bytes is a multiple of 64. Returns a mix of what was read, so
// that nothing is optimised away.
uint64_t ReadStreams(const std::byte* data, size_t n_streams,
                     size_t stream_bytes, size_t ahead);

enum class Peak {
  kMulAddF32,   // a multiplication and an addition, two instructions
  kFmaF32,      // fused
  kVnniInt8,    // u8 x i8 quads into i32 lanes
  kAmxInt8,     // tiles of int8
  kAmxBf16,     // tiles of bf16
  kVectorBf16,  // pairs of bf16 into f32 lanes
};
inline constexpr int kNumPeaks = 6;
// "mul+add f32", "fma f32", "vnni int8", "amx int8", "amx bf16",
// "avx512 bf16".
const char* PeakName(Peak peak);

// Whether the active tier has the instruction.
bool HasPeak(Peak peak);
// Runs `steps` rounds of independent operations and returns how many operations
// that were: a multiplication and an addition are two. 0 without the
// instruction. Tiles hold pseudo-random numbers: zeros run at a higher clock
// and would flatter the roof.
double RunPeak(Peak peak, size_t steps);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_ROOF_H_
