// What judging gives: one record per case, and what holds for the whole run.
// Reports (HTML, JUnit, JSON) are made of a CheckResult and nothing else.
#ifndef ETALON_REFERENCE_GOLDEN_RESULT_H_
#define ETALON_REFERENCE_GOLDEN_RESULT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace etalon::golden {

enum class CaseStatus {
  kPass,
  kWarn,     // within the rigorous bound, beyond the statistical one
  kFail,     // an element, a special value or a decision is wrong
  kError,    // case or output cannot be read: missing, wrong dtype or shape
  kSkipped,  // the profile says nothing about it; `message` has the reason
};
std::string_view StatusName(CaseStatus status);  // "pass", "warn", ...

inline constexpr size_t kNoIndex = std::numeric_limits<size_t>::max();

// One element: where, and how far off.
struct Element {
  size_t index = kNoIndex;         // row-major in the output
  std::vector<size_t> coordinate;  // one per axis of the output
  double got = 0.0;
  double want = 0.0;
  double bound = 0.0;
  double ratio = 0.0;  // |got - want| / bound; +Inf for a wrong special value
};

struct OutputResult {
  std::string name;
  std::vector<size_t> shape;
  std::vector<std::string> axes;  // names of the axes: "token", "head", "d"
  size_t n = 0;
  size_t n_bad = 0;
  size_t n_beyond_statistical = 0;
  size_t n_flips = 0;           // legal decision flips
  size_t n_bits_differing = 0;  // from the bits of cpu-strict, where known
  Element first_bad;            // index kNoIndex: none
  Element worst;                // of largest ratio
  double mean_ratio = 0.0;
  double median_ratio = 0.0;
  double max_ulp = 0.0;  // raw, for information only
  double nmse = 0.0;     // the metrics of others, for comparison
  double cosine = 1.0;
  bool allclose = true;  // rtol 1e-3, atol 1e-5
  // log10(ratio): bin 0 is ratio 0 or below 1e-8, bin 1 + k is [1e-8 10^(k/2),
  // 1e-8 10^((k+1)/2)), the last takes all from 1e4, and +Inf.
  std::array<size_t, 26> histogram{};
  // Ratio of each element, kept only of failing cases and at most 65,536.
  std::vector<float> ratios;
  // What the indices of the bad elements have in common, in words: "d = 13..15
  // mod 16", "head >= 8"; empty when nothing stands out.
  std::string periodicity;
};

// "Your output is what you get with this bug."
struct Fingerprint {
  std::string bug;          // id in the catalogue: "gqa_modulo"
  std::string description;  // one line for people
  double ratio = 0.0;       // worst err / bound against the value with the bug
  double explained = 0.0;   // share of elements within the bound of it
};

// A parameter's error, measured over all cases of an op.
struct Fit {
  std::string op;
  std::string direction;   // "gain", "scale", "angle"
  double delta = 0.0;      // relative error of the parameter
  double threshold = 0.0;  // what rounding alone may show
  size_t n_elements = 0;
  bool warns = false;  // |delta| > threshold
};

struct CaseResult {
  std::string id;
  std::string op;
  std::string kind;
  std::string family;
  std::string params;  // for people: "kv_len=257 causal=1 q [1, 8, 64]"
  CaseStatus status = CaseStatus::kPass;
  std::string message;  // one line; empty when all is well
  std::vector<OutputResult> outputs;
  std::vector<Fingerprint> fingerprints;  // best first, of failing cases
  // Packs of a whole model: which call of the run this was.
  int layer = -1;      // -1: no layer (embedding, output)
  int call = -1;       // order of execution
  std::string module;  // "attn_norm", "qkv", "attention", ...

  bool Failed() const {
    return status == CaseStatus::kFail || status == CaseStatus::kError;
  }
  double MaxRatio() const {
    double max = 0.0;
    for (const OutputResult& o : outputs) {
      // A NaN would hide: it counts as wrong.
      max = o.worst.ratio <= max ? max : o.worst.ratio;
    }
    return max;
  }
};

struct CheckResult {
  std::string pack;     // where it was read from
  std::string suite;    // "smoke", "full", "model"
  std::string subject;  // "cpu (avx512-vnni, 2 threads)" or the got folder
  std::string profile;
  std::string profile_source;
  std::string command;            // what repeats this run
  std::vector<CaseResult> cases;  // in the order of the manifest
  std::vector<Fit> fits;
  size_t n_pass = 0;
  size_t n_warn = 0;
  size_t n_fail = 0;
  size_t n_error = 0;
  size_t n_skipped = 0;
  size_t n_elements = 0;  // compared
  double seconds = 0.0;

  // The first case of the run order that failed; kNoIndex: none.
  size_t FirstFailure() const;
  // Nothing failed and something was judged.
  bool Passed() const {
    return n_fail == 0 && n_error == 0 && n_pass + n_warn > 0;
  }
};

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_RESULT_H_
