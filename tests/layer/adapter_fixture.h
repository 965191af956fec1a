// Padded buffers for the tests of the layer's adapters.
#ifndef ETALON_TESTS_LAYER_ADAPTER_FIXTURE_H_
#define ETALON_TESTS_LAYER_ADAPTER_FIXTURE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "etalon/config.h"
#include "etalon/layer_adapters.h"
#include "reference/backward.h"
#include "reference/backward_layer.h"
#include "tests/util/random.h"

namespace etalon::adapters::cke {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Rows of `width` lanes, `pitch` apart, what lies between them `pad`.
struct Padded {
  Padded(size_t n_rows, size_t w, size_t p, float pad = kNan)
      : rows(n_rows), width(w), pitch(p), v(n_rows * p, pad) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < width; ++c) at(r, c) = 0;
    }
  }
  static Padded Random(test::Random& rng, size_t rows, size_t width,
                       size_t pitch, float mean = 0, float spread = 1,
                       float pad = kNan) {
    Padded p(rows, width, pitch, pad);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < width; ++c) {
        p.at(r, c) = mean + spread * rng.Uniform();
      }
    }
    return p;
  }
  float& at(size_t r, size_t c) { return v[r * pitch + c]; }
  const float& at(size_t r, size_t c) const { return v[r * pitch + c]; }
  float* data() { return v.data(); }
  const float* data() const { return v.data(); }
  bool PadsAre0() const {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = width; c < pitch; ++c) {
        if (!(at(r, c) == 0)) return false;
      }
    }
    return true;
  }
  reference::Matrix matrix() const {
    reference::Matrix m(rows, width);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < width; ++c) {
        m(r, c) = static_cast<double>(at(r, c));
      }
    }
    return m;
  }
  // [heads][tokens][pitch] as [tokens, heads * width].
  reference::Matrix TokenMajor(size_t heads) const {
    const size_t tokens = rows / heads;
    reference::Matrix m(tokens, heads * width);
    for (size_t h = 0; h < heads; ++h) {
      for (size_t t = 0; t < tokens; ++t) {
        for (size_t c = 0; c < width; ++c) {
          m(t, h * width + c) = static_cast<double>(at(h * tokens + t, c));
        }
      }
    }
    return m;
  }

  size_t rows, width, pitch;
  std::vector<float> v;
};

inline double Largest(const reference::Matrix& m) {
  double largest = 0;
  for (const double x : m.v) largest = std::max(largest, std::abs(x));
  return largest;
}
// |got - want| <= n_roundings u scale, element by element; NaN fails.
inline void ExpectNear(const reference::Matrix& got,
                       const reference::Matrix& want, double n_roundings,
                       const std::string& what, double scale = 0) {
  ASSERT_EQ(got.v.size(), want.v.size()) << what;
  scale = std::max(scale, Largest(want));
  for (size_t i = 0; i < got.v.size(); ++i) {
    ASSERT_TRUE(std::abs(got.v[i] - want.v[i]) <= n_roundings * 0x1p-24 * scale)
        << what << "[" << i << "]: got " << got.v[i] << ", want " << want.v[i];
  }
}
inline bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}
inline void ExpectError(const Status& status, const std::string& text) {
  ASSERT_FALSE(status) << "wanted: " << text;
  EXPECT_NE(status.error().message.find(text), std::string::npos)
      << status.error().message;
}

class LayerAdapters : public testing::Test {
 protected:
  test::Random rng_{11, /*stream=*/77};
  Config config_;
  Workspace workspace_;
  ExecContext ctx_{&workspace_, &config_, 2};
};

}  // namespace etalon::adapters::cke

#endif  // ETALON_TESTS_LAYER_ADAPTER_FIXTURE_H_
