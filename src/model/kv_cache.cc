#include "model/kv_cache.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>

#include "core/memory.h"

namespace etalon::model {
namespace {

// Rows start on cache lines: the same bits either way, but fewer loads.
constexpr uint64_t kAlign = 64;

size_t ElementBytes(TensorType type) { return GetTypeTraits(type).block_bytes; }

uint64_t RoundUp(uint64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// Bytes of K or V of one layer, padded to whole cache lines.
std::optional<uint64_t> LayerBytes(const Hyperparameters& hp, size_t layer,
                                   uint64_t capacity, TensorType type) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(capacity, hp.n_kv_heads[layer], &bytes) ||
      __builtin_mul_overflow(bytes, hp.head_dim, &bytes) ||
      __builtin_mul_overflow(bytes, ElementBytes(type), &bytes) ||
      bytes > UINT64_MAX - kAlign) {
    return std::nullopt;
  }
  return RoundUp(bytes);
}

}  // namespace

void KvCache::Unmap::operator()(std::byte* p) const { munmap(p, bytes); }

std::optional<uint64_t> KvCache::Bytes(const Hyperparameters& hp,
                                       uint64_t capacity, TensorType k_type,
                                       TensorType v_type) {
  uint64_t total = 0;
  for (size_t i = 0; i < hp.n_layers; ++i) {
    for (TensorType type : {k_type, v_type}) {
      const auto bytes = LayerBytes(hp, i, capacity, type);
      if (!bytes || __builtin_add_overflow(total, *bytes, &total)) {
        return std::nullopt;
      }
    }
  }
  return total;
}

Expected<KvCache> KvCache::Create(const Hyperparameters& hp, size_t capacity,
                                  TensorType k_type, TensorType v_type) {
  const uint64_t available = AvailableMemoryBytes();
  const auto bytes = Bytes(hp, capacity, k_type, v_type);
  if (!bytes || *bytes > available) {
    const uint64_t per_position = *Bytes(hp, kAlign, k_type, v_type) / kAlign;
    return Fail(
        ErrorCode::kLimit,
        fmt::format(
            "context {}: KV cache needs {} bytes, {} available; largest "
            "context that fits: {}",
            capacity, bytes ? fmt::format("{}", *bytes) : "over 2^64",
            available, available / per_position));
  }
  KvCache cache;
  cache.capacity_ = capacity;
  cache.bytes_ = *bytes;
  void* p = mmap(nullptr, *bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    return Fail(ErrorCode::kLimit,
                fmt::format("context {}: KV cache of {} bytes: {}", capacity,
                            *bytes, std::strerror(errno)));
  }
  // Fewer page-table walks when attention streams the cache; only a hint.
  madvise(p, *bytes, MADV_HUGEPAGE);
  cache.memory_ = {static_cast<std::byte*>(p), Unmap{*bytes}};
  std::byte* next = cache.memory_.get();
  for (size_t i = 0; i < hp.n_layers; ++i) {
    const auto view = [&](TensorType type) {
      MutableKvView v;
      v.type = type;
      v.data = next;
      v.n_kv_heads = hp.n_kv_heads[i];
      v.kv_capacity = capacity;
      v.head_dim = hp.head_dim;
      v.head_stride = capacity * hp.head_dim;
      v.pos_stride = hp.head_dim;
      next += *LayerBytes(hp, i, capacity, type);
      return v;
    };
    const MutableKvView k = view(k_type);
    cache.layers_.push_back({k, view(v_type)});
  }
  return cache;
}

}  // namespace etalon::model
