// A baseline function that uses AVX: what check_baseline.sh must find.
namespace etalon_test {
__attribute__((target("avx"))) void AddEight(const float* a, float* b) {
  typedef float Vec __attribute__((vector_size(32), aligned(4)));
  *reinterpret_cast<Vec*>(b) += *reinterpret_cast<const Vec*>(a);
}
}  // namespace etalon_test
