// OpenMP of the cross compiler, with the one function of libomp that is used
// beside the standard's.
#ifndef ETALON_TESTS_MACHINES_OMP_H_
#define ETALON_TESTS_MACHINES_OMP_H_

#include_next <omp.h>

inline void kmp_set_blocktime(int) {}

#endif  // ETALON_TESTS_MACHINES_OMP_H_
