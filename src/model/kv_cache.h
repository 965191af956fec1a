// Keys and values of one sequence: per layer [n_kv_heads, kv_capacity,
// head_dim], head-major, so that one head's positions are adjacent in memory.
#ifndef ETALON_MODEL_KV_CACHE_H_
#define ETALON_MODEL_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "etalon/tensor.h"
#include "model/hyperparameters.h"

namespace etalon::model {

class KvCache {
 public:
  // Bytes of K and V for `capacity` positions; nullopt when the product does
  // not fit 64 bits.
  static std::optional<uint64_t> Bytes(const Hyperparameters& hp,
                                       uint64_t capacity, TensorType k_type,
                                       TensorType v_type);

  // Reserves the whole cache once (pages are touched as positions are
  // written). Error kLimit, before anything is reserved, when it does not fit
  // the memory that is available: names the bytes needed, the bytes there and
  // the largest context that fits.
  static Expected<KvCache> Create(const Hyperparameters& hp, size_t capacity,
                                  TensorType k_type, TensorType v_type);

  size_t capacity() const { return capacity_; }
  uint64_t bytes() const { return bytes_; }
  MutableKvView k(size_t layer) { return layers_[layer].k; }
  MutableKvView v(size_t layer) { return layers_[layer].v; }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* p) const;
  };
  struct Layer {
    MutableKvView k, v;
  };

  KvCache() = default;

  size_t capacity_ = 0;
  uint64_t bytes_ = 0;
  std::unique_ptr<std::byte, Unmap> memory_;
  std::vector<Layer> layers_;
};

}  // namespace etalon::model

#endif  // ETALON_MODEL_KV_CACHE_H_
