// safetensors in memory. The bytes are untrusted: every length, offset and
// shape is checked, and nothing is returned of a file with one fault.
#ifndef ETALON_REFERENCE_GOLDEN_SAFETENSORS_H_
#define ETALON_REFERENCE_GOLDEN_SAFETENSORS_H_

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "etalon/status.h"
#include "reference/golden/tensor.h"

namespace etalon::golden {

// In the order of the file.
struct TensorFile {
  std::vector<std::pair<std::string, Tensor>> tensors;

  const Tensor* Find(std::string_view name) const {
    for (const auto& [n, t] : tensors) {
      if (n == name) return &t;
    }
    return nullptr;
  }
  void Add(std::string name, Tensor tensor) {
    tensors.emplace_back(std::move(name), std::move(tensor));
  }
};

std::vector<std::byte> WriteSafetensors(const TensorFile& file);

// `name` is what errors call the file.
Expected<TensorFile> ReadSafetensors(std::span<const std::byte> bytes,
                                     const std::string& name);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_SAFETENSORS_H_
