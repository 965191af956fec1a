#include "reference/golden/case.h"

#include <fmt/format.h>

#include <limits>

namespace etalon::golden {

std::string_view JudgeName(Judge judge) {
  constexpr std::string_view kNames[] = {"bound", "exact", "quants", "scales",
                                         "top_k"};
  return kNames[static_cast<size_t>(judge)];
}

std::optional<Judge> ParseJudge(std::string_view name) {
  for (const Judge j : {Judge::kBound, Judge::kExact, Judge::kQuants,
                        Judge::kScales, Judge::kTopK}) {
    if (JudgeName(j) == name) return j;
  }
  return std::nullopt;
}

std::string_view KindName(CaseKind kind) {
  constexpr std::string_view kNames[] = {"stored", "generated", "procedural"};
  return kNames[static_cast<size_t>(kind)];
}

const Input* Case::FindInput(std::string_view name) const {
  for (const Input& i : inputs) {
    if (i.name == name) return &i;
  }
  return nullptr;
}

Expected<const Input*> Case::GetInput(std::string_view name) const {
  const Input* input = FindInput(name);
  if (input == nullptr) {
    return BadInput(fmt::format("case {}: no input \"{}\"", id, name));
  }
  return input;
}

Expected<int64_t> Case::Int(const std::string& name) const {
  const auto it = params.find(name);
  if (it == params.end() || !std::holds_alternative<int64_t>(it->second)) {
    return BadInput(fmt::format("case {}: no integer param \"{}\"", id, name));
  }
  return std::get<int64_t>(it->second);
}

Expected<std::string> Case::Text(const std::string& name) const {
  const auto it = params.find(name);
  if (it == params.end() || !std::holds_alternative<std::string>(it->second)) {
    return BadInput(fmt::format("case {}: no text param \"{}\"", id, name));
  }
  return std::get<std::string>(it->second);
}

Expected<float> Case::Float(const std::string& name) const {
  ETALON_ASSIGN_OR_RETURN(const int64_t bits, Int(name + "_bits"));
  if (bits < 0 || bits > int64_t{std::numeric_limits<uint32_t>::max()}) {
    return BadInput(fmt::format(
        "case {}: param \"{}_bits\" is {}, want 32 bits", id, name, bits));
  }
  return std::bit_cast<float>(static_cast<uint32_t>(bits));
}

}  // namespace etalon::golden
