// What the machine can do, measured in the process that measures the kernels:
// clocks and memory share drift by the second, so roof and kernel are
// interleaved. Rates are per second over all threads.
#ifndef ETALON_BENCH_ROOF_H_
#define ETALON_BENCH_ROOF_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "core/parallel.h"
#include "simd/target.h"

namespace etalon::bench {

inline double Seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Bytes per second of reading all of `memory` once, every thread in n_streams
// sequential streams with prefetch.
inline double ReadRate(std::span<const std::byte> memory, int n_threads,
                       size_t n_streams, size_t ahead) {
  using Line = uint64_t __attribute__((vector_size(16), aligned(1)));
  constexpr size_t kLine = 64;
  const size_t n_tasks = 4 * static_cast<size_t>(n_threads);
  const size_t stream = memory.size() / n_tasks / n_streams / kLine * kLine;
  const double start = Seconds();
  ParallelFor(n_tasks, n_threads, [&](size_t task, int) {
    const std::byte* p = memory.data() + task * n_streams * stream;
    Line sum = {};
    for (size_t i = 0; i < stream; i += kLine) {
      for (size_t s = 0; s < n_streams; ++s) {
        const std::byte* at = p + s * stream + i;
        __builtin_prefetch(at + ahead);
        for (size_t j = 0; j < kLine; j += sizeof(Line)) {
          Line v;
          std::memcpy(&v, at + j, sizeof(v));
          sum ^= v;
        }
      }
    }
    asm volatile("" ::"x"(sum));
  });
  const double bytes = static_cast<double>(n_tasks * n_streams * stream);
  return bytes / (Seconds() - start);
}

// The better of two ways to read: 16 streams, as the kernels read weights, and
// one stream asked for far ahead. Which one it is differs between machines.
inline double DramReadRoof(std::span<const std::byte> memory, int n_threads) {
  const size_t half = memory.size() / 2;
  return std::max(ReadRate(memory.first(half), n_threads, 16, 320),
                  ReadRate(memory.subspan(half), n_threads, 1, 8192));
}

// Operations per second of `step`, which does ops_per_step of them.
template <class Step>
double Throughput(int n_threads, double ops_per_step, Step step) {
  constexpr int kSteps = 400000;  // a millisecond: waking threads must not show
  const double start = Seconds();
  ParallelFor(static_cast<size_t>(n_threads), n_threads, [&](size_t, int) {
    for (int i = 0; i < kSteps; ++i) step();
  });
  return n_threads * kSteps * ops_per_step / (Seconds() - start);
}

#if defined(__x86_64__)
// Twelve independent accumulators cover latency times throughput. As asm: the
// baseline of this file is plain x86-64, and the registers are caller-saved.
#define ETALON_ROOF_12(op)                                                \
  asm volatile(op "0\n" op "1\n" op "2\n" op "3\n" op "4\n" op "5\n" op   \
                  "6\n" op "7\n" op "8\n" op "9\n" op "10\n" op "11\n" :: \
                      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",   \
                        "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
                        "xmm12", "xmm13")
#endif

// f32 fused multiply-add from registers, 2 operations each. 0: cannot.
inline double FmaRoof([[maybe_unused]] int n_threads) {
#if defined(__x86_64__)
  if (simd::GetCpuFeatures().avx512) {
    return Throughput(n_threads, 12 * 32.0, [] {
      asm volatile("vpxord %%zmm12, %%zmm12, %%zmm12" ::: "xmm12");
      ETALON_ROOF_12("vfmadd231ps %%zmm12, %%zmm12, %%zmm");
    });
  }
  if (simd::GetCpuFeatures().avx2) {
    return Throughput(n_threads, 12 * 16.0, [] {
      asm volatile("vpxor %%ymm12, %%ymm12, %%ymm12" ::: "xmm12");
      ETALON_ROOF_12("vfmadd231ps %%ymm12, %%ymm12, %%ymm");
    });
  }
#endif
  return 0.0;
}

// vpdpbusd from registers, 128 operations each. 0: cannot.
inline double VnniRoof([[maybe_unused]] int n_threads) {
#if defined(__x86_64__)
  if (simd::GetCpuFeatures().avx512_vnni) {
    return Throughput(n_threads, 12 * 128.0, [] {
      ETALON_ROOF_12("vpdpbusd %%zmm12, %%zmm13, %%zmm");
    });
  }
#endif
  return 0.0;
}

// int8 tile products on random data (zeros run at a higher clock and would
// flatter the roof), 32768 operations each. 0: cannot.
inline double AmxRoof([[maybe_unused]] int n_threads) {
#if defined(__x86_64__)
  if (!simd::GetCpuFeatures().amx_int8) return 0.0;
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
  constexpr int kSteps = 20000;
  const double start = Seconds();
  ParallelFor(static_cast<size_t>(n_threads), n_threads, [&](size_t, int) {
    Config config;
    alignas(64) uint8_t data[4][1024];
    uint32_t state = 1;
    for (auto& tile : data) {
      for (uint8_t& b : tile) {
        state = state * 1664525u + 1013904223u;
        b = static_cast<uint8_t>(state >> 24);
      }
    }
    for (int t = 0; t < 8; ++t) config.row_bytes[t] = 64, config.rows[t] = 16;
    const int64_t stride = 64;
    asm volatile("ldtilecfg %0" ::"m"(config));
    asm volatile(
        "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n"
        "tilezero %%tmm3\n"
        "tileloadd (%0,%4,1), %%tmm4\n tileloadd (%1,%4,1), %%tmm5\n"
        "tileloadd (%2,%4,1), %%tmm6\n tileloadd (%3,%4,1), %%tmm7\n" ::"r"(
            data[0]),
        "r"(data[1]), "r"(data[2]), "r"(data[3]), "r"(stride)
        : "memory");
    for (int i = 0; i < kSteps; ++i) {
      asm volatile(
          "tdpbssd %%tmm6, %%tmm4, %%tmm0\n tdpbssd %%tmm7, %%tmm4, %%tmm1\n"
          "tdpbssd %%tmm6, %%tmm5, %%tmm2\n tdpbssd %%tmm7, %%tmm5, "
          "%%tmm3\n" ::);
    }
    asm volatile("tilerelease" ::);
  });
  return n_threads * kSteps * 4 * 32768.0 / (Seconds() - start);
#else
  return 0.0;
#endif
}

}  // namespace etalon::bench

#endif  // ETALON_BENCH_ROOF_H_
