#include "quantize/importance.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "io/cursor.h"
#include "io/gguf.h"
#include "io/mapped_file.h"
#include "io/untrusted_text.h"

namespace etalon::quantize {
namespace {

Status CheckValues(const std::string& path, std::string_view name,
                   const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || values[i] < 0) {
      return BadInput(fmt::format(
          "{}: importance of '{}' column {} is {}, need a finite value >= 0",
          path, io::Printable(name), i, values[i]));
    }
  }
  return {};
}

std::vector<float> Floats(const std::byte* data, size_t n) {
  std::vector<float> values(n);
  if (n != 0) std::memcpy(values.data(), data, n * sizeof(float));
  return values;
}

constexpr std::string_view kSums = ".in_sum2";

Status AddGgufEntry(const std::string& path, const io::GgufFile& file,
                    const io::GgufTensor& sums, Importance& result) {
  const std::string name(sums.name.substr(0, sums.name.size() - kSums.size()));
  const io::GgufTensor* counts = file.FindTensor(name + ".counts");
  const uint64_t n_experts = sums.ne[1];
  if (counts == nullptr || sums.type() != TensorType::kF32 ||
      counts->type() != TensorType::kF32 || sums.ne[2] != 1 ||
      sums.ne[3] != 1 || n_experts == 0 ||
      counts->n_bytes != n_experts * sizeof(float)) {
    return BadInput(fmt::format(
        "{}: '{}' needs f32 sums [columns, experts] and one count per expert",
        path, io::Printable(name)));
  }
  std::vector<float> values = Floats(sums.data, sums.ne[0] * n_experts);
  const std::vector<float> count = Floats(counts->data, n_experts);
  for (uint64_t e = 0; e < n_experts; ++e) {
    for (uint64_t i = 0; i < sums.ne[0]; ++i) {
      float& v = values[e * sums.ne[0] + i];
      v = count[e] > 0 ? v / count[e] : 1.0f;
    }
  }
  ETALON_RETURN_IF_ERROR(CheckValues(path, name, values));
  result.columns.emplace(name, std::move(values));
  return {};
}

Expected<Importance> ReadGguf(const std::string& path,
                              std::span<const std::byte> bytes) {
  auto file = io::GgufFile::Parse(bytes);
  if (!file) {
    return Fail(file.error().code,
                fmt::format("{}: {}", path, file.error().message));
  }
  ETALON_ASSIGN_OR_RETURN(const std::string_view type,
                          file->GetStringOr("general.type", ""));
  if (type != "imatrix") {
    return BadInput(fmt::format("{}: general.type is '{}', need 'imatrix'",
                                path, io::Printable(type)));
  }
  Importance result;
  ETALON_ASSIGN_OR_RETURN(result.n_chunks,
                          file->GetUintOr("imatrix.chunk_count", 0));
  if (file->Find("imatrix.datasets") != nullptr) {
    ETALON_ASSIGN_OR_RETURN(const io::GgufArray* datasets,
                            file->GetArray("imatrix.datasets"));
    for (const std::string_view name : datasets->strings()) {
      result.datasets.emplace_back(name);
    }
  }
  for (const io::GgufTensor& tensor : file->tensors()) {
    if (tensor.name.size() <= kSums.size() ||
        tensor.name.substr(tensor.name.size() - kSums.size()) != kSums) {
      continue;
    }
    ETALON_RETURN_IF_ERROR(AddGgufEntry(path, *file, tensor, result));
  }
  return result;
}

// i32 n_entries; each: i32 name length, name, i32 n_calls, i32 n_values, f32
// values (sums over calls of mean squares); then, in later versions, i32
// n_chunks, i32 length, data set name.
class LegacyReader {
 public:
  LegacyReader(const std::string& path, std::span<const std::byte> bytes)
      : path_(path), cursor_(bytes) {}

  Expected<Importance> Read() {
    Importance result;
    ETALON_ASSIGN_OR_RETURN(const uint32_t n_entries,
                            ReadCount("number of entries"));
    if (n_entries == 0) return Bad("number of entries", "is 0");
    for (uint32_t i = 0; i < n_entries; ++i) {
      ETALON_RETURN_IF_ERROR(ReadEntry(result));
    }
    ETALON_RETURN_IF_ERROR(ReadTrailer(result));
    return result;
  }

 private:
  tl::unexpected<Error> Bad(std::string_view field, std::string_view why) {
    return BadInput(fmt::format("{}: importance file, {} @{}: {}", path_, field,
                                cursor_.pos(), why));
  }
  Expected<uint32_t> ReadCount(std::string_view field) {
    int32_t n = 0;
    if (!cursor_.Read(n)) return Bad(field, "file ends");
    if (n < 0) return Bad(field, fmt::format("{} < 0", n));
    return static_cast<uint32_t>(n);
  }
  Status ReadEntry(Importance& result) {
    ETALON_ASSIGN_OR_RETURN(const uint32_t length, ReadCount("name length"));
    std::string_view name;
    if (!cursor_.Take(length, name)) return Bad("name", "file ends");
    ETALON_ASSIGN_OR_RETURN(const uint32_t n_calls, ReadCount("calls"));
    ETALON_ASSIGN_OR_RETURN(const uint32_t n_values, ReadCount("values"));
    std::span<const std::byte> raw;
    if (!cursor_.Take(uint64_t{n_values} * sizeof(float), raw)) {
      return Bad("values", fmt::format("{} do not fit the file", n_values));
    }
    std::vector<float> values = Floats(raw.data(), n_values);
    if (n_calls > 0) {
      for (float& v : values) v /= static_cast<float>(n_calls);
    }
    ETALON_RETURN_IF_ERROR(CheckValues(path_, name, values));
    if (!result.columns.emplace(std::string(name), std::move(values)).second) {
      return Bad("name", "'" + io::Printable(name) + "' occurs twice");
    }
    return {};
  }
  Status ReadTrailer(Importance& result) {
    if (cursor_.remaining() == 0) return {};
    ETALON_ASSIGN_OR_RETURN(result.n_chunks, ReadCount("chunks"));
    if (cursor_.remaining() == 0) return {};
    ETALON_ASSIGN_OR_RETURN(const uint32_t length,
                            ReadCount("data set length"));
    std::string_view dataset;
    if (!cursor_.Take(length, dataset)) return Bad("data set", "file ends");
    result.datasets.emplace_back(dataset);
    return {};
  }

  const std::string& path_;
  io::Cursor cursor_;
};

}  // namespace

Expected<Importance> ReadImportance(const std::string& path) {
  ETALON_ASSIGN_OR_RETURN(const io::MappedFile file,
                          io::MappedFile::Open(path));
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    return ReadGguf(path, bytes);
  }
  return LegacyReader(path, bytes).Read();
}

}  // namespace etalon::quantize
