// Activation rows as the quantised products see them. The rules are part of
// those products' definition, so they are stated in f32, not in fp64:
//   Q8_K, blocks of 256: x* = the first x of largest |x|; amax = |x*| < 2^-120
//     gives d = 0, q = 0; else iscale = fl(-127 / x*), q = rint(fl(iscale *
//     x)) with ties to even, at most 127 in magnitude, d = fl(1 / iscale).
//   Q8_0, blocks of 32: amax = max |x| < 2^-120 gives d = 0, q = 0; else
//     d = f16(fl(amax / 127)), q = rint(fl(x * fl(127 / amax))).
//   A NaN or an infinity in the block, or an amax that overflows the f16 scale
//     (amax / 127 >= 65520), gives d = NaN, q = 0.
#ifndef ETALON_REFERENCE_QUANTIZE_H_
#define ETALON_REFERENCE_QUANTIZE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace etalon::reference {

struct QuantizedRow {
  size_t block_size = 0;
  std::vector<float> d;    // [n / block_size]
  std::vector<int16_t> q;  // [n], |q| <= 127
  // Distance of fl(scale * x) to the nearest rounding boundary (k + 1/2), in
  // units of q: the decision margin of each element.
  std::vector<float> margin;
  // [n / block_size]: how far d moves where a relative error of 2^-20 in
  // amax / 127 may round it to another f16; 0 where it may not, and for Q8_K.
  std::vector<float> d_step;
};

// Precondition: x.size() is a multiple of the block.
QuantizedRow QuantizeQ8K(std::span<const float> x);
QuantizedRow QuantizeQ8_0(std::span<const float> x);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_QUANTIZE_H_
