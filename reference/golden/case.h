// One case of a pack: an op, its parameters and inputs, what comes out.
#ifndef ETALON_REFERENCE_GOLDEN_CASE_H_
#define ETALON_REFERENCE_GOLDEN_CASE_H_

#include <bit>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "etalon/status.h"
#include "reference/golden/recipe.h"
#include "reference/golden/safetensors.h"
#include "reference/golden/tensor.h"

namespace etalon::golden {

// In elements; stands for a dense tensor when absent.
struct Layout {
  size_t offset = 0;
  std::vector<size_t> strides;  // one per axis
};

struct Input {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::optional<Layout> layout;
  std::optional<Recipe> recipe;
  std::string sha256;
  Tensor data;  // empty until it is made or read
};

enum class Judge { kBound, kExact, kQuants, kScales, kTopK };
std::string_view JudgeName(Judge judge);
std::optional<Judge> ParseJudge(std::string_view name);

struct Output {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::optional<Layout> layout;
  Judge judge = Judge::kBound;
  std::string bound;  // "rms_norm", "stored", ...
  std::string strict_sha256;
};

enum class CaseKind { kStored, kGenerated, kProcedural };
std::string_view KindName(CaseKind kind);

struct Case {
  using Param = std::variant<int64_t, std::string>;

  std::string id;
  std::string op;
  CaseKind kind = CaseKind::kStored;
  std::string family;
  uint64_t seed = 0;
  std::map<std::string, Param> params;
  std::vector<std::string> needs;
  double max_in = 0.0;  // 0: no matrix product
  std::string file_sha256;
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  // Expected values: tensors NAME.y, NAME.c1, ... of each output.
  TensorFile expected;
  // Packs of a whole model.
  int layer = -1;
  int call = -1;
  std::string module;

  std::string path() const { return "cases/" + id + ".safetensors"; }
  const Input* FindInput(std::string_view name) const;
  // Errors name the case and the field.
  Expected<const Input*> GetInput(std::string_view name) const;
  Expected<int64_t> Int(const std::string& name) const;
  Expected<std::string> Text(const std::string& name) const;
  // NAME_bits.
  Expected<float> Float(const std::string& name) const;
  void SetFloat(const std::string& name, float value) {
    params[name + "_bits"] = int64_t{std::bit_cast<uint32_t>(value)};
  }
};

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_CASE_H_
