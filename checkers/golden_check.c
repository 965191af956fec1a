/* usage: golden_check PACK GOT PROFILE.json [-v]
 * Judges GOT/ID.safetensors for every case of a pack; exit status 0 all pass,
 * 6 a check failed, 2 pack or profile unusable. cc -std=c99 -O2 golden_check.c
 * -lm */
#define GOLDEN_IMPLEMENTATION
#include "golden.h"

int main(int argc, char** argv) {
  static const char* const kNames[] = {"pass", "warn", "fail", "error", "skipped"};
  char error[256];
  size_t i, count[GOLDEN_N_STATUSES] = {0};
  golden_pack* pack;
  golden_profile* profile;
  if (argc < 4) return fprintf(stderr, "usage: golden_check PACK GOT PROFILE.json [-v]\n"), 1;
  pack = golden_open(argv[1], error, sizeof error);
  profile = pack != NULL ? golden_profile_read(argv[3], error, sizeof error) : NULL;
  if (profile == NULL) return fprintf(stderr, "error: %s\n", error), golden_close(pack), 2;
  for (i = 0; i < golden_n_cases(pack); ++i) {
    golden_case* c = golden_case_at(pack, i);
    golden_verdict v;
    golden_load(c);
    v = golden_judge_file(c, profile, argv[2]);
    count[v.status]++;
    if (argc > 4 || v.status == GOLDEN_FAIL || v.status == GOLDEN_ERROR) {
      printf("%-7s %s r=%.3g %s\n", kNames[v.status], golden_id(c), v.ratio, v.message);
    }
    golden_unload(c);
  }
  for (i = 0; i < GOLDEN_N_STATUSES; ++i) fprintf(stderr, "%s %lu  ", kNames[i], (unsigned long)count[i]);
  fprintf(stderr, "\n");
  golden_close(pack);
  golden_profile_free(profile);
  return count[GOLDEN_FAIL] + count[GOLDEN_ERROR] == 0 && count[GOLDEN_PASS] + count[GOLDEN_WARN] > 0 ? 0 : 6;
}
