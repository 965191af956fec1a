// Importance of each input column of each weight matrix: the mean square of the
// activations that meet it, collected by another tool over some text.
#ifndef ETALON_QUANTIZE_IMPORTANCE_H_
#define ETALON_QUANTIZE_IMPORTANCE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "etalon/status.h"

namespace etalon::quantize {

struct Importance {
  // By tensor name, [n_experts, ne0] (n_experts 1 for a dense matrix); finite
  // and >= 0.
  std::map<std::string, std::vector<float>, std::less<>> columns;
  std::vector<std::string> datasets;
  uint64_t n_chunks = 0;

  const std::vector<float>* Find(std::string_view tensor) const {
    const auto it = columns.find(tensor);
    return it == columns.end() ? nullptr : &it->second;
  }
};

// llama.cpp's imatrix files: GGUF (general.type imatrix, tensors NAME.in_sum2
// and NAME.counts) or the older binary layout. An expert that saw no token
// counts each column as 1. Errors name the file and the entry.
Expected<Importance> ReadImportance(const std::string& path);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_IMPORTANCE_H_
