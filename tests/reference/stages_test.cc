// Chains: whatever inputs lie within the errors of a stage, the next stage's
// values stay within its own.
#include "reference/stages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "reference/formats.h"
#include "reference/quantize.h"

namespace etalon::reference {
namespace {

class Chains : public ::testing::TestWithParam<double> {
 protected:
  // Values of about 1 with errors of about `GetParam()`, some of them 0.
  Stage Random(size_t n) {
    Stage s;
    for (size_t i = 0; i < n; ++i) {
      s.value.push_back(static_cast<float>(normal_(random_)));
      s.error.push_back(i % 5 == 0 ? 0.0 : GetParam() * uniform_(random_));
    }
    return s;
  }
  // Somewhere within the errors, mostly at their ends.
  Stage Within(const Stage& s) {
    Stage moved = s;
    for (size_t i = 0; i < s.value.size(); ++i) {
      const double side = uniform_(random_) * 3 - 1.5;
      const double x = static_cast<double>(s.value[i]);
      double to = x + std::clamp(side, -1.0, 1.0) * s.error[i];
      float f = static_cast<float>(to);
      // Rounding may not leave the range.
      if (std::abs(static_cast<double>(f) - x) > s.error[i]) {
        f = std::nextafter(f, s.value[i]);
      }
      moved.value[i] = f;
      moved.error[i] = 0.0;
    }
    return moved;
  }
  static void ExpectWithin(const Stage& a, const Stage& b,
                           std::string_view what) {
    ASSERT_EQ(a.value.size(), b.value.size());
    for (size_t i = 0; i < a.value.size(); ++i) {
      const double off = std::abs(static_cast<double>(a.value[i]) -
                                  static_cast<double>(b.value[i]));
      ASSERT_TRUE(off <= a.error[i])
          << what << " " << i << ": " << off << " > " << a.error[i];
    }
  }

  const Profile* p_ = &CpuStrictProfile();
  std::mt19937 random_{20261121};
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
};

TEST_P(Chains, Normalize) {
  for (int round = 0; round < 20; ++round) {
    const Stage x = Random(3 * 16);
    const std::vector<float> weight = Random(16).value;
    const Stage a = *Normalize(x, 16, weight, 1e-5f, p_);
    for (int k = 0; k < 20; ++k) {
      ExpectWithin(a, *Normalize(Within(x), 16, weight, 1e-5f, nullptr),
                   "rms_norm");
    }
  }
}

TEST_P(Chains, RotateSumActivateAppend) {
  const std::vector<int32_t> positions = {1, 0};
  const std::vector<float> cos = {0.6f, -0.8f, 1.0f, 0.1f};
  const std::vector<float> sin = {0.8f, 0.6f, 0.0f, -0.9f};
  for (int round = 0; round < 20; ++round) {
    const Stage x = Random(2 * 3 * 6);
    const Stage y = Random(2 * 3 * 6);
    for (const RopeStyle style :
         {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
      const Rotation r{
          positions, {cos.data(), 2, 2}, {sin.data(), 2, 2}, style};
      const Stage a = *Rotate(x, 3, 6, r, p_);
      for (int k = 0; k < 20; ++k) {
        ExpectWithin(a, *Rotate(Within(x), 3, 6, r, nullptr), "rope");
      }
    }
    const Stage sum = *Sum(x, y, 6, p_);
    const Stage gated = *Activate(x, y, 6, 6, p_);
    std::vector<std::byte> none(1024);
    for (const TensorType type : {TensorType::kF32, TensorType::kF16}) {
      const KvView cache{type, none.data(), 3, 4, 6, 24, 6};
      const Stage kept = Append(cache, 2, x, p_);
      for (int k = 0; k < 20; ++k) {
        ExpectWithin(kept, Append(cache, 2, Within(x), nullptr), "cache");
      }
    }
    for (int k = 0; k < 20; ++k) {
      const Stage x1 = Within(x), y1 = Within(y);
      ExpectWithin(sum, *Sum(x1, y1, 6, nullptr), "add");
      ExpectWithin(gated, *Activate(x1, y1, 6, 6, nullptr), "swiglu");
    }
  }
}

TEST_P(Chains, Attend) {
  for (int round = 0; round < 10; ++round) {
    const Stage q = Random(2 * 4 * 8);
    const Stage k = Random(2 * 9 * 8);
    const Stage v = Random(2 * 9 * 8);
    for (const float scale : {0.35f, 4.0f}) {
      const Stage a = *Attend(q, k, v, 4, 2, 8, 9, scale, p_);
      for (int i = 0; i < 20; ++i) {
        ExpectWithin(a,
                     *Attend(Within(q), Within(k), Within(v), 4, 2, 8, 9, scale,
                             nullptr),
                     "attention");
      }
    }
  }
}

// Quantised rows too: flips of activations and of the f16 scale.
TEST_P(Chains, Multiply) {
  for (const TensorType type :
       {TensorType::kF32, TensorType::kQ8_0, TensorType::kQ4_1,
        TensorType::kQ4_K, TensorType::kQ6_K}) {
    const size_t cols = type == TensorType::kF32 ? 33 : 512;
    const Format format = *WeightFormat(type);
    std::vector<std::byte> rows(5 * cols / format.block_size *
                                format.block_bytes);
    for (std::byte& b : rows) b = static_cast<std::byte>(random_() & 0x3b);
    if (type == TensorType::kF32) {
      for (size_t i = 0; i < rows.size(); i += 4) {
        const float w = static_cast<float>(normal_(random_));
        std::memcpy(rows.data() + i, &w, 4);
      }
    }
    const WeightMatrix w{type, rows.data(), 5, cols, rows.size() / 5};
    for (int round = 0; round < 4; ++round) {
      const Stage x = Random(2 * cols);
      const Stage a =
          *reference::Multiply(x, 2, w, -0.7, Activations::kAuto, p_);
      for (int k = 0; k < 10; ++k) {
        ExpectWithin(a,
                     *reference::Multiply(Within(x), 2, w, -0.7,
                                          Activations::kAuto, nullptr),
                     "gemm");
      }
    }
  }
}

TEST_P(Chains, QuantizedRows) {
  size_t n_flips = 0;
  for (const size_t block : {size_t{32}, size_t{256}}) {
    for (int round = 0; round < 100; ++round) {
      const Stage x = Random(256);
      const std::vector<double> error = QuantizedError(x.value, x.error, block);
      const auto quantize = [&](const Stage& s) {
        return block == 256 ? QuantizeQ8K(s.value) : QuantizeQ8_0(s.value);
      };
      const QuantizedRow a = quantize(x);
      for (int k = 0; k < 20; ++k) {
        const QuantizedRow b = quantize(Within(x));
        for (size_t i = 0; i < error.size(); ++i) {
          const double from = static_cast<double>(a.d[i / block]) * a.q[i];
          const double to = static_cast<double>(b.d[i / block]) * b.q[i];
          ASSERT_TRUE(std::abs(to - from) <= error[i]) << i;
          n_flips += a.q[i] != b.q[i];
        }
      }
    }
  }
  EXPECT_GT(n_flips, 0u);
}

INSTANTIATE_TEST_SUITE_P(Errors, Chains,
                         ::testing::Values(1e-5, 1e-3, 0.05, 0.5, 3.0));

}  // namespace
}  // namespace etalon::reference
