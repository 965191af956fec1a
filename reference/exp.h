// exp in fp64 from additions, multiplications and powers of two only, so that
// the reference is the same on every machine, whatever its libm. Relative error
// below 2^-50 (tested against long double), far under the 2^-25 that an f32
// result can show.
#ifndef ETALON_REFERENCE_EXP_H_
#define ETALON_REFERENCE_EXP_H_

namespace etalon::reference {
double Exp(double x);
}

#endif  // ETALON_REFERENCE_EXP_H_
