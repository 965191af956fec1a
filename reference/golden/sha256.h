// SHA-256 (FIPS 180-4): a pack names the digest of every file in it, so that a
// flipped bit is noticed before anything is judged.
#ifndef ETALON_REFERENCE_GOLDEN_SHA256_H_
#define ETALON_REFERENCE_GOLDEN_SHA256_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace etalon::golden {

std::array<uint8_t, 32> Sha256(std::span<const std::byte> bytes);
// 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::span<const std::byte> bytes);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_SHA256_H_
