#include "train/checkpoint.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "io/atomic_file.h"
#include "io/mapped_file.h"

namespace etalon::train {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checkpoints hold numbers as they lie in memory");

constexpr uint64_t kMagic = 0x31306b63'746c7465;  // "etltck01"
constexpr size_t kHeaderWords = 5;  // magic, identity, step, points, floats

struct HashDeleter {
  void operator()(XXH3_state_t* s) const { XXH3_freeState(s); }
};

uint64_t HashOf(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace

Status SaveCheckpoint(const std::string& path, uint64_t identity,
                      const RunState& state, Net& net) {
  ETALON_ASSIGN_OR_RETURN(io::AtomicFile file, io::AtomicFile::Create(path));
  const std::unique_ptr<XXH3_state_t, HashDeleter> hash(XXH3_createState());
  if (hash == nullptr) return Fail(ErrorCode::kLimit, "out of memory");
  XXH3_64bits_reset(hash.get());
  const auto write = [&](std::span<const std::byte> bytes) {
    XXH3_64bits_update(hash.get(), bytes.data(), bytes.size());
    return file.Write(bytes);
  };
  const uint64_t header[kHeaderWords] = {
      kMagic, identity, state.step, state.curve.size(), net.values().size()};
  ETALON_RETURN_IF_ERROR(write(std::as_bytes(std::span(header))));
  ETALON_RETURN_IF_ERROR(write(std::as_bytes(std::span(state.curve))));
  for (const std::span<const float> part :
       {std::span<const float>(net.values()),
        std::span<const float>(state.optimizer.m),
        std::span<const float>(state.optimizer.v)}) {
    ETALON_RETURN_IF_ERROR(write(std::as_bytes(part)));
  }
  const uint64_t digest = XXH3_64bits_digest(hash.get());
  ETALON_RETURN_IF_ERROR(
      file.Write(std::as_bytes(std::span<const uint64_t>(&digest, 1))));
  return file.Commit();
}

Expected<bool> LoadCheckpoint(const std::string& path, uint64_t identity,
                              RunState* state, Net& net) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  ETALON_ASSIGN_OR_RETURN(const io::MappedFile file,
                          io::MappedFile::Open(path));
  std::span<const std::byte> bytes = file.bytes();
  const auto bad = [&](const std::string& what) {
    return BadInput(fmt::format("{}: {}", path, what));
  };
  uint64_t header[kHeaderWords];
  if (bytes.size() < sizeof(header) + 8) {
    return bad(
        fmt::format("{} bytes, too short for a checkpoint", bytes.size()));
  }
  std::memcpy(header, bytes.data(), sizeof(header));
  if (header[0] != kMagic) return bad("no checkpoint of a training run");
  const size_t n = net.values().size();
  if (header[1] != identity || header[4] != n) {
    return bad(
        "checkpoint of a run with other options or text; remove it to start "
        "anew");
  }
  const uint64_t rest = bytes.size() - sizeof(header) - 8;
  if (header[3] > rest / sizeof(CurvePoint) ||
      rest != header[3] * sizeof(CurvePoint) + 3 * n * sizeof(float)) {
    return bad(fmt::format("damaged checkpoint: {} bytes for {} parameters",
                           bytes.size(), n));
  }
  uint64_t digest;
  std::memcpy(&digest, bytes.data() + bytes.size() - 8, 8);
  if (digest != HashOf(bytes.first(bytes.size() - 8))) {
    return bad("damaged checkpoint: its hash does not fit");
  }
  const std::byte* at = bytes.data() + sizeof(header);
  const auto read = [&](void* to, size_t size) {
    if (size > 0) std::memcpy(to, at, size);
    at += size;
  };
  state->step = header[2];
  state->curve.resize(header[3]);
  read(state->curve.data(), header[3] * sizeof(CurvePoint));
  state->optimizer.m.resize(n);
  state->optimizer.v.resize(n);
  read(net.values().data(), n * sizeof(float));
  read(state->optimizer.m.data(), n * sizeof(float));
  read(state->optimizer.v.data(), n * sizeof(float));
  return true;
}

}  // namespace etalon::train
