#include "tests/golden/second_oracle_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

namespace etalon::test {

using golden::Case;
using golden::DType;
using golden::Input;
using golden::Shape;

namespace {

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

Real Half(unsigned bits) {
  const int e = static_cast<int>(bits >> 10 & 31);
  const Real m = static_cast<Real>(bits & 1023);
  Real v = e == 0    ? std::ldexp(m, -24)
           : e == 31 ? (bits & 1023 ? kNan : kInf)
                     : std::ldexp(m + 1024, e - 25);
  return bits >> 15 ? -v : v;
}

template <class T>
T Load(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// `count` bits from bit `at` of a little-endian bit string.
unsigned Bits(const uint8_t* p, size_t at, size_t count) {
  unsigned v = 0;
  for (size_t i = 0; i < count; ++i) {
    const unsigned bit = unsigned{p[(at + i) / 8]} >> ((at + i) % 8) & 1u;
    v |= bit << i;
  }
  return v;
}

// Scale and minimum of sub-block j of a Q4_K or Q5_K block: 4 * 6 bits in the
// low parts of bytes 0..3 and 4..7; the others share bytes 8..11 as nibbles,
// with their two high bits above those of the first.
void ScaleAndMin(const uint8_t* s, size_t j, Real& scale, Real& min) {
  if (j < 4) {
    scale = Bits(s, 8 * j, 6);
    min = Bits(s, 8 * (j + 4), 6);
    return;
  }
  const size_t i = j - 4;
  scale = Bits(s, 8 * (i + 8), 4) + 16 * Bits(s, 8 * i + 6, 2);
  min = Bits(s, 8 * (i + 8) + 4, 4) + 16 * Bits(s, 8 * (i + 4) + 6, 2);
}

void AppendBlock(const std::string& type, const uint8_t* b,
                 std::vector<Real>& w) {
  const auto half = [&](size_t at) {
    return Half(b[at] | unsigned{b[at + 1]} << 8);
  };
  if (type == "Q8_0") {
    for (size_t i = 0; i < 32; ++i) {
      w.push_back(half(0) *
                  (b[2 + i] < 128 ? Real(b[2 + i]) : Real(b[2 + i]) - 256));
    }
  } else if (type == "Q4_0" || type == "Q5_0") {
    const size_t qs = type == "Q4_0" ? 2 : 6;
    for (size_t i = 0; i < 32; ++i) {
      Real q = Bits(b + qs + i % 16, i < 16 ? 0 : 4, 4);
      if (type == "Q5_0") q += 16 * Bits(b + 2, i, 1);
      w.push_back(half(0) * (q - (type == "Q4_0" ? 8 : 16)));
    }
  } else if (type == "Q4_1" || type == "Q5_1") {
    const size_t qs = type == "Q4_1" ? 4 : 8;
    for (size_t i = 0; i < 32; ++i) {
      Real q = Bits(b + qs + i % 16, i < 16 ? 0 : 4, 4);
      if (type == "Q5_1") q += 16 * Bits(b + 4, i, 1);
      w.push_back(half(0) * q + half(2));
    }
  } else if (type == "Q4_K" || type == "Q5_K") {
    const size_t qs = type == "Q4_K" ? 16 : 48;
    for (size_t i = 0; i < 256; ++i) {
      Real scale, min;
      ScaleAndMin(b + 4, i / 32, scale, min);
      Real q = Bits(b + qs + i / 64 * 32 + i % 32, i / 32 % 2 * 4, 4);
      if (type == "Q5_K") q += 16 * Bits(b + 16 + i % 32, i / 32, 1);
      w.push_back(half(0) * scale * q - half(2) * min);
    }
  } else {  // Q6_K: runs of 32, four of them in 64 bytes of nibbles
    for (size_t i = 0; i < 256; ++i) {
      const size_t run = i / 32 % 4;
      const size_t low = i / 128 * 64 + run % 2 * 32 + i % 32;
      const size_t high = 128 + i / 128 * 32 + i % 32;
      const Real q = Real(Bits(b + low, run / 2 * 4, 4) +
                          16 * Bits(b + high, 2 * run, 2)) -
                     32;
      const Real scale = Real(b[192 + i / 16]);
      w.push_back(half(208) * (scale < 128 ? scale : scale - 256) * q);
    }
  }
}

}  // namespace

Real RoundToHalf(Real x) {
  if (!std::isfinite(x) || x == 0) return x;
  const Real unit = std::ldexp(Real{1}, std::max(std::ilogb(x), -14) - 10);
  const Real v = std::nearbyint(x / unit) * unit;
  return std::abs(v) >= 65520 ? std::copysign(kInf, x) : v;
}

uint16_t HalfBits(Real x) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const Real v = Half(bits);
    if (v == x && std::signbit(v) == std::signbit(x)) {
      return static_cast<uint16_t>(bits);
    }
  }
  return 0x7E00;
}

std::vector<Real> Read(const Case& c, std::string_view name) {
  const Input* in = c.FindInput(name);
  std::vector<Real> v;
  if (in == nullptr) return v;
  const std::byte* p = in->data.bytes.data();
  for (size_t i = 0; i < in->data.n(); ++i) {
    switch (in->data.dtype) {
      case DType::kF32:
        v.push_back(static_cast<Real>(Load<float>(p + 4 * i)));
        break;
      case DType::kF16:
        v.push_back(Half(Load<uint16_t>(p + 2 * i)));
        break;
      case DType::kBF16: {
        const uint32_t bits = uint32_t{Load<uint16_t>(p + 2 * i)} << 16;
        float f;
        std::memcpy(&f, &bits, 4);
        v.push_back(static_cast<Real>(f));
        break;
      }
      case DType::kI32:
        v.push_back(static_cast<Real>(Load<int32_t>(p + 4 * i)));
        break;
      default:
        break;
    }
  }
  return v;
}

Shape ShapeOf(const Case& c, std::string_view name) {
  const Input* in = c.FindInput(name);
  return in == nullptr ? Shape{0, 0, 0} : in->shape;
}
Real Scalar(const Case& c, const std::string& name) {
  return static_cast<Real>(c.Float(name).value_or(0.0f));
}

Matrix ReadMatrix(const Case& c, std::string_view name) {
  const Input& in = *c.FindInput(name);
  Matrix m;
  m.rows = in.shape[0];
  if (in.dtype != DType::kU8) {
    m.cols = in.shape[1];
    m.w = Read(c, name);
    return m;
  }
  const std::string type = c.Text("type").value_or("");
  const std::map<std::string, size_t> kBytes = {
      {"Q4_0", 18}, {"Q4_1", 20},  {"Q5_0", 22},  {"Q5_1", 24},
      {"Q8_0", 34}, {"Q4_K", 144}, {"Q5_K", 176}, {"Q6_K", 210}};
  const size_t bytes = kBytes.at(type);
  m.block = bytes > 100 ? 256 : 32;
  const auto* p = reinterpret_cast<const uint8_t*>(in.data.bytes.data());
  for (size_t at = 0; at < in.data.bytes.size(); at += bytes) {
    AppendBlock(type, p + at, m.w);
  }
  m.cols = m.w.size() / m.rows;
  return m;
}

Quants QuantizeRows(const std::vector<Real>& x, size_t block) {
  Quants out;
  for (size_t at = 0; at < x.size(); at += block) {
    float max = 0.0f;
    bool finite = true;
    for (size_t i = at; i < at + block; ++i) {
      const float v = static_cast<float>(x[i]);
      finite &= std::isfinite(v);
      if (std::fabs(v) > std::fabs(max)) max = v;
    }
    float inverse = 0.0f;
    Real d = 0;
    if (!finite) {
      d = kNan;
    } else if (std::fabs(max) >= 0x1p-120f) {
      if (block == 256) {
        inverse = -127.0f / max;
        d = 1.0f / inverse;
      } else {
        inverse = 127.0f / std::fabs(max);
        d = RoundToHalf(std::fabs(max) / 127.0f);
        if (std::isinf(d)) {
          d = kNan;
          inverse = 0.0f;
        }
      }
    }
    out.d.push_back(d);
    for (size_t i = at; i < at + block; ++i) {
      const float v = inverse == 0.0f
                          ? 0.0f
                          : std::nearbyint(inverse * static_cast<float>(x[i]));
      out.q.push_back(std::min(127.0f, std::max(-127.0f, v)));
      out.x.push_back(d * out.q.back());
    }
  }
  return out;
}

}  // namespace etalon::test
