// Packs as a whole: made, read, judged. Files are somebody else's business: a
// pack is written and read through functions.
#ifndef ETALON_REFERENCE_GOLDEN_PACK_H_
#define ETALON_REFERENCE_GOLDEN_PACK_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "reference/golden/judge.h"
#include "reference/golden/manifest.h"
#include "reference/golden/ops.h"

namespace etalon::golden {

using WriteFile = std::function<Status(const std::string& path,
                                       std::span<const std::byte> bytes)>;
using ReadFile =
    std::function<Expected<std::vector<std::byte>>(const std::string& path)>;
// Cases done of all; false stops.
using Progress = std::function<bool(size_t done, size_t n)>;

// Completes a description: inputs, expected values, digests, the strict bits
// by `strict`. Procedural cases stay descriptions.
Status CompleteCase(Case& c, const Subject& strict);

// SHA-256 of the bytes, every NaN of an f32 being 0x7FC00000.
std::string StrictDigest(const Tensor& t);

// The file of a case: inputs without a recipe (all of a stored case), expected
// values.
std::vector<std::byte> CaseFile(const Case& c);

// A pack written case by case, one in memory at a time.
class PackWriter {
 public:
  PackWriter(std::string_view suite, WriteFile write);
  // Writes the file of a complete case, keeps its description.
  Status Add(Case c);
  // Profiles, manifest, digests: the pack is complete.
  Status Finish();

 private:
  Manifest manifest_;
  WriteFile write_;
};

// Writes manifest, profiles, digests and case files. Byte for byte the same
// wherever it runs.
Status MakePack(std::string_view suite, const Subject& strict,
                const WriteFile& write, const Progress& progress = {});

// Manifest, its digest verified.
Expected<Manifest> ReadPack(const ReadFile& read);
// Reads or makes what a case of the manifest lacks; every digest is verified.
Status LoadCase(const ReadFile& read, Case& c);

struct CheckOptions {
  PortProfile profile;
  // Who is judged: `subject` is run, else the files that `got` reads.
  const Subject* subject = nullptr;
  ReadFile got;
  // Fail where bits differ from those of profile cpu-strict.
  bool strict_bits = false;
  bool fingerprints = true;
  std::string only;  // the one case to judge; empty: all
  Progress progress;
};
Expected<CheckResult> CheckPack(const ReadFile& read, CheckOptions options);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_PACK_H_
