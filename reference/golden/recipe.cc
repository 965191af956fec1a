#include "reference/golden/recipe.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>

#include "reference/formats.h"

namespace etalon::golden {

Words Philox4x32_10(Words counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;  // golden ratio
    key[1] += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

namespace {

class Draw {
 public:
  Draw(uint64_t seed, uint32_t stream, size_t n, size_t cols)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        stream_(stream),
        n_(n),
        cols_(cols) {}

  Words At(uint64_t i, uint32_t stream_offset = 0, uint32_t last = 0) const {
    return Philox4x32_10(
        {static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32),
         stream_ + stream_offset, last},
        key_);
  }
  static uint32_t Below(uint32_t w, uint64_t n) {
    return static_cast<uint32_t>((w * n) >> 32);
  }
  static float Normal(const Words& w) {
    int32_t sum = -262140;
    for (const uint32_t word : w) {
      sum += static_cast<int32_t>((word & 0xFFFFu) + (word >> 16));
    }
    return static_cast<float>(sum) * 0x1p-16f;
  }
  static float Uniform(const Words& w) {
    return static_cast<float>(static_cast<int32_t>(w[0] >> 8) - (1 << 23)) *
           0x1p-23f;
  }
  static float WithExponent(uint32_t w, int exponent) {
    return std::bit_cast<float>((w & 0x807FFFFFu) |
                                static_cast<uint32_t>(exponent + 127) << 23);
  }

  // nullopt: no such rule.
  std::optional<float> Float(const std::string& rule, size_t i) const;

 private:
  std::array<uint32_t, 2> key_;
  uint32_t stream_;
  size_t n_;
  size_t cols_;
};

std::optional<float> Draw::Float(const std::string& rule, size_t i) const {
  const size_t r = i / cols_;
  const Words w = At(i);
  if (rule == "normal") return Normal(w);
  if (rule == "uniform") return Uniform(w);
  if (rule == "wide") {
    return WithExponent(w[0], static_cast<int>(Below(w[1], 41)) - 20);
  }
  if (rule == "exact_int") {
    return static_cast<float>(static_cast<int>(Below(w[0], 17)) - 8);
  }
  if (rule == "large") return Normal(w) * 80.0f;
  if (rule == "outlier") return Normal(w) * (i % 61 == 7 ? 60.0f : 1.0f);
  if (rule == "offset") {
    return 50.0f +
           static_cast<float>(static_cast<int>(w[0] >> 22) - 512) * 0x1p-16f;
  }
  if (rule == "cancel") {
    if (i % 2 == 0) return Normal(w) + 8.0f;
    const float before = Normal(At(i - 1)) + 8.0f;
    return -std::bit_cast<float>(std::bit_cast<uint32_t>(before) ^ (w[0] & 7));
  }
  if (rule == "subnormal") return std::bit_cast<float>(w[0] & 0x807FFFFFu);
  if (rule == "tiny") {
    return WithExponent(w[0], static_cast<int>(Below(w[1], 31)) - 126);
  }
  if (rule == "huge") {
    return WithExponent(w[0], static_cast<int>(Below(w[1], 20)) + 100);
  }
  if (rule == "constant") return 0.3f;
  if (rule == "zero") return std::bit_cast<float>(w[0] & 0x80000000u);
  if (rule == "ones") return 1.0f;
  if (rule == "rising") return static_cast<float>(r + 1) / 16.0f;
  if (rule == "falling") return static_cast<float>(n_ / cols_ - r) / 16.0f;
  if (rule == "spike") {
    const size_t column = Below(At(r, 1)[0], cols_);
    return i % cols_ == column ? 64.0f : Normal(w) * 0x1p-8f;
  }
  if (rule == "half_ties") {
    if (i % 32 == 0) return 127.0f;
    return static_cast<float>(static_cast<int>(Below(w[0], 252)) - 126) + 0.5f;
  }
  if (rule == "opposite") {
    if (i % 32 == 3) return 2.0f;
    return i % 32 == 17 ? -2.0f : Uniform(w);
  }
  if (rule == "positive") {
    return 0.5f + static_cast<float>(w[0] >> 9) * 0x1p-23f;
  }
  return std::nullopt;
}

void PutFloat(DType dtype, float x, std::byte* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, &x, 4);
    return;
  }
  uint16_t half = 0;
  if (dtype == DType::kF16) {
    half = std::isnan(x) ? kPoisonF16
                         : reference::DoubleToF16(static_cast<double>(x));
  } else if (std::isnan(x)) {
    half = kPoisonBF16;
  } else {
    // To nearest, ties to even; a carry into the exponent is right.
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    half = static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
  }
  std::memcpy(to, &half, 2);
}

struct BlockLayout {
  size_t bytes;
  std::vector<size_t> scales;  // offsets of the f16 fields d, dmin or m
  size_t packed;               // packed sub-block scales: where, how many
  size_t n_packed;
};
std::optional<BlockLayout> LayoutOf(const std::string& type) {
  if (type == "Q4_0") return BlockLayout{18, {0}, 0, 0};
  if (type == "Q4_1") return BlockLayout{20, {0, 2}, 0, 0};
  if (type == "Q5_0") return BlockLayout{22, {0}, 0, 0};
  if (type == "Q5_1") return BlockLayout{24, {0, 2}, 0, 0};
  if (type == "Q8_0") return BlockLayout{34, {0}, 0, 0};
  if (type == "Q4_K") return BlockLayout{144, {0, 2}, 4, 12};
  if (type == "Q5_K") return BlockLayout{176, {0, 2}, 4, 12};
  if (type == "Q6_K") return BlockLayout{210, {208}, 192, 16};
  return std::nullopt;
}

Status FillBlocks(const Recipe& recipe, const Draw& draw, Tensor& t) {
  const auto layout = LayoutOf(recipe.type);
  if (!layout || t.dtype != DType::kU8 || t.bytes.size() % layout->bytes != 0) {
    return BadInput(fmt::format("recipe blocks: type \"{}\" for {} {}",
                                recipe.type, DTypeName(t.dtype),
                                ShapeText(t.shape)));
  }
  for (size_t b = 0; b < t.bytes.size(); b += 16) {
    const Words w = draw.At(b / 16);
    for (size_t j = 0; j < 16 && b + j < t.bytes.size(); ++j) {
      t.bytes[b + j] = static_cast<std::byte>(w[j / 4] >> (8 * (j % 4)));
    }
  }
  const std::string& v = recipe.variant;
  const bool known = v.empty() || v == "max_scales" || v == "d_zero" ||
                     v == "second_zero" || v == "d_subnormal" || v == "d_one";
  if (!known) {
    return BadInput(fmt::format("recipe blocks: unknown variant \"{}\"", v));
  }
  for (size_t j = 0; j < t.bytes.size() / layout->bytes; ++j) {
    std::byte* block = t.bytes.data() + j * layout->bytes;
    if (v == "max_scales") {
      const auto byte =
          static_cast<std::byte>(recipe.type == "Q6_K" ? 127 : 255);
      for (size_t i = 0; i < layout->n_packed; ++i) {
        block[layout->packed + i] = byte;
      }
    }
    for (size_t f = 0; f < layout->scales.size(); ++f) {
      const Words w = draw.At(j, 0, 1 + static_cast<uint32_t>(f));
      uint32_t bits = (w[0] & 0x83FFu) | (5 + Draw::Below(w[1], 8)) << 10;
      if (f == 0 && v == "d_zero") bits = 0;
      if (f == 1 && v == "second_zero") bits = 0;
      if (f == 0 && v == "d_subnormal") bits &= 0x83FFu;
      if (v == "d_one") bits = f == 0 ? 0x3C00 : 0;
      const auto half = static_cast<uint16_t>(bits);
      std::memcpy(block + layout->scales[f], &half, 2);
    }
  }
  return {};
}

Status FillIntegers(const Recipe& recipe, const Draw& draw, Tensor& t) {
  const std::span<int32_t> out = t.As<int32_t>();
  for (size_t i = 0; i < out.size(); ++i) {
    if (recipe.rule == "below") {
      out[i] = static_cast<int32_t>(Draw::Below(draw.At(i)[0], recipe.n));
    } else if (recipe.rule == "iota") {
      out[i] = static_cast<int32_t>(recipe.first + static_cast<int64_t>(i));
    } else {
      return BadInput(
          fmt::format("recipe: rule \"{}\" for integers", recipe.rule));
    }
  }
  return {};
}

Status FillFloats(const Recipe& recipe, const Draw& draw, Tensor& t) {
  const size_t size = DTypeSize(t.dtype);
  // A multiplication in double, rounded once: no double rounding, since the
  // product of an f32 and a power of two is exact there.
  const double factor = std::ldexp(1.0, recipe.times_log2);
  for (size_t i = 0; i < t.n(); ++i) {
    const auto x = draw.Float(recipe.rule, i);
    if (!x) {
      return BadInput(fmt::format("recipe: unknown rule \"{}\"", recipe.rule));
    }
    PutFloat(t.dtype, static_cast<float>(static_cast<double>(*x) * factor),
             t.bytes.data() + i * size);
  }
  for (const auto& [i, bits] : recipe.patch) {
    if (i >= t.n()) {
      return BadInput(
          fmt::format("recipe: patch of element {} of {}", i, t.n()));
    }
    PutFloat(t.dtype, std::bit_cast<float>(bits), t.bytes.data() + i * size);
  }
  if (!recipe.poison_axis) return {};
  if (*recipe.poison_axis >= t.shape.size()) {
    return BadInput(fmt::format("recipe: poison_axis {} of {}",
                                *recipe.poison_axis, ShapeText(t.shape)));
  }
  size_t inner = 1;
  for (size_t a = *recipe.poison_axis + 1; a < t.shape.size(); ++a) {
    inner *= t.shape[a];
  }
  for (size_t i = 0; i < t.n(); ++i) {
    if (i / inner % t.shape[*recipe.poison_axis] >= recipe.poison_from) {
      PutPoison(t.dtype, t.bytes.data() + i * size);
    }
  }
  return {};
}

}  // namespace

void PutPoison(DType dtype, std::byte* to) {
  PutFloat(dtype, std::bit_cast<float>(kPoison), to);
}

Expected<Tensor> Generate(const Recipe& recipe, DType dtype, const Shape& shape,
                          uint64_t seed) {
  constexpr size_t kMaxElements = size_t{1} << 28;
  size_t n = 1;
  for (const size_t extent : shape) {
    if (__builtin_mul_overflow(n, extent, &n)) n = kMaxElements + 1;
  }
  if (n > kMaxElements) {
    return BadInput(fmt::format("recipe: {} is too large", ShapeText(shape)));
  }
  Tensor t(dtype, shape);
  if (n == 0) return t;
  const Draw draw(seed, recipe.stream, n, shape.empty() ? 1 : shape.back());
  const bool is_float =
      dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
  if (recipe.rule == "values") {
    if (DTypeSize(dtype) != 4 || recipe.bits.size() != n) {
      return BadInput(fmt::format("recipe values: {} for {} {}",
                                  recipe.bits.size(), DTypeName(dtype),
                                  ShapeText(shape)));
    }
    std::memcpy(t.bytes.data(), recipe.bits.data(), 4 * n);
  } else if (recipe.rule == "blocks") {
    ETALON_RETURN_IF_ERROR(FillBlocks(recipe, draw, t));
  } else if (dtype == DType::kI32) {
    ETALON_RETURN_IF_ERROR(FillIntegers(recipe, draw, t));
  } else if (is_float) {
    ETALON_RETURN_IF_ERROR(FillFloats(recipe, draw, t));
  } else {
    return BadInput(fmt::format("recipe: rule \"{}\" for {}", recipe.rule,
                                DTypeName(dtype)));
  }
  return t;
}

}  // namespace etalon::golden
