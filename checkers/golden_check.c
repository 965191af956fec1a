/* usage: golden_check PACK GOT PROFILE.json [-v]
 * Judges GOT/ID.safetensors for every case of a pack; exit status 0 all pass,
 * 6 a check failed, 2 pack or profile unusable. cc -std=c99 -O2 golden_check.c
 * -lm */
#define GOLDEN_IMPLEMENTATION
#include "golden.h"

int main(int argc, char** argv) {
  static const char* const kNames[] = {"pass", "warn", "fail", "error", "skipped"};
  golden_pack pack;
  golden_profile profile;
  size_t count[GOLDEN_N_STATUSES] = {0};
  if (argc < 4) {
    fprintf(stderr, "usage: golden_check PACK GOT PROFILE.json [-v]\n");
    return 1;
  }
  const char *what = argv[1], *error = golden_open(&pack, what);
  if (error == NULL) error = golden_read_profile(&profile, what = argv[3]);
  if (error != NULL) fprintf(stderr, "error: %s: %s\n", what, error);
  for (size_t i = 0; error == NULL && i < pack.n_cases; ++i) {
    golden_case* c = &pack.cases[i];
    golden_load(c);
    const golden_verdict v = golden_judge_file(c, &profile, argv[2]);
    count[v.status]++;
    if (argc > 4 || v.status == GOLDEN_FAIL || v.status == GOLDEN_ERROR) {
      printf("%-7s %s r=%.3g %s\n", kNames[v.status], c->id, v.ratio, v.message);
    }
    golden_unload(c);
  }
  for (int k = 0; error == NULL && k < GOLDEN_N_STATUSES; ++k) {
    fprintf(stderr, "%s %lu%s", kNames[k], (unsigned long)count[k], k + 1 < GOLDEN_N_STATUSES ? "  " : "\n");
  }
  golden_close(&pack);
  if (error != NULL) return 2;
  const size_t right = count[GOLDEN_PASS] + count[GOLDEN_WARN];
  return count[GOLDEN_FAIL] + count[GOLDEN_ERROR] == 0 && right > 0 ? 0 : 6;
}
