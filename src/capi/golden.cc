// Procedural golden cases for C.
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "capi/capi.h"
#include "reference/golden/judge.h"
#include "reference/golden/suite.h"

struct etalon_golden_case {
  etalon::golden::Case golden;
};

namespace etalon::capi {
namespace {

using golden::Case;
using golden::Shape;
using golden::Tensor;
using golden::TensorFile;

const std::vector<std::string>& GoldenOps() {
  static const std::vector<std::string> ops = golden::SuiteOps();
  return ops;
}

Status View(const std::string& name, golden::DType dtype, const Shape& shape,
            const std::byte* data, etalon_golden_tensor* out) {
  etalon_golden_tensor t{};
  if (shape.size() > std::size(t.shape)) {
    return Fail(ErrorCode::kInternal, name + " has too many axes");
  }
  t.name = name.c_str();
  // The names are literals, so data() ends in a 0.
  t.dtype = golden::DTypeName(dtype).data();
  t.data = data;
  t.rank = shape.size();
  std::copy(shape.begin(), shape.end(), t.shape);
  *out = t;
  return {};
}

// What a port gives back. A dtype nobody knows is left out: then the output
// counts as missing, which is no pass.
Expected<TensorFile> Outputs(const etalon_golden_tensor* outputs,
                             uint64_t n_outputs) {
  TensorFile file;
  for (uint64_t i = 0; i < n_outputs; ++i) {
    const etalon_golden_tensor& t = outputs[i];
    ETALON_ENSURE(t.name != nullptr && t.dtype != nullptr,
                  fmt::format("outputs[{}]: name or dtype is NULL", i));
    ETALON_ENSURE(
        t.rank <= std::size(t.shape),
        fmt::format("outputs[{}]: rank is {}, need at most 8", i, t.rank));
    const auto dtype = golden::ParseDType(t.dtype);
    if (!dtype) continue;
    size_t bytes = golden::DTypeSize(*dtype);
    for (uint64_t a = 0; a < t.rank; ++a) {
      if (__builtin_mul_overflow(bytes, t.shape[a], &bytes)) {
        return InvalidArgument(
            fmt::format("outputs[{}]: its size overflows", i));
      }
    }
    ETALON_ENSURE(t.data != nullptr || bytes == 0,
                  fmt::format("outputs[{}].data is NULL", i));
    Tensor copy;
    copy.dtype = *dtype;
    copy.shape.assign(t.shape, t.shape + t.rank);
    const auto* from = static_cast<const std::byte*>(t.data);
    copy.bytes.assign(from, from + bytes);
    file.Add(t.name, std::move(copy));
  }
  return file;
}

Expected<golden::PortProfile> Profile(const char* text) {
  if (text == nullptr) return InvalidArgument("profile is NULL");
  const std::string_view json(text);
  if (json.find('{') != json.npos) {
    return golden::ParseProfile(json, "profile");
  }
  return golden::FindShippedProfile(json);
}

// The tensors' shapes as they are, checked before anything is read: a wrong
// shape is the judge's business only as far as the memory is the caller's.
bool SameExtents(const etalon_golden_tensor& t, const golden::Output& want) {
  const auto dtype =
      t.dtype != nullptr ? golden::ParseDType(t.dtype) : std::nullopt;
  return dtype == want.dtype && t.rank == want.shape.size() &&
         std::equal(want.shape.begin(), want.shape.end(), t.shape);
}

void Write(const golden::CaseResult& result, etalon_golden_verdict* verdict) {
  etalon_golden_verdict v{};
  v.struct_size = verdict->struct_size;
  v.verdict = static_cast<uint32_t>(result.status);
  v.ratio = result.MaxRatio();
  for (const golden::OutputResult& o : result.outputs) {
    v.n_elements += o.n;
    v.n_bad += o.n_bad;
  }
  const size_t n = std::min(result.message.size(), sizeof v.message - 1);
  std::memcpy(v.message, result.message.data(), n);
  std::memcpy(verdict, &v, std::min<size_t>(v.struct_size, sizeof v));
}

Status JudgeInto(const Case& c, const char* profile_text,
                 const etalon_golden_tensor* outputs, uint64_t n_outputs,
                 etalon_golden_verdict* verdict) {
  ETALON_ENSURE(verdict != nullptr, "verdict is NULL");
  ETALON_ENSURE(verdict->struct_size >= sizeof verdict->struct_size,
                "etalon_golden_verdict.struct_size is not set");
  ETALON_ENSURE(outputs != nullptr || n_outputs == 0, "outputs is NULL");
  ETALON_ASSIGN_OR_RETURN(const golden::PortProfile profile,
                          Profile(profile_text));
  for (uint64_t i = 0; i < n_outputs; ++i) {
    for (const golden::Output& want : c.outputs) {
      if (outputs[i].name == nullptr || want.name != outputs[i].name) continue;
      if (SameExtents(outputs[i], want)) continue;
      Write(golden::Unjudged(
                c, golden::CaseStatus::kError,
                fmt::format("output {} has another dtype or shape", want.name)),
            verdict);
      return {};
    }
  }
  ETALON_ASSIGN_OR_RETURN(const TensorFile got, Outputs(outputs, n_outputs));
  Write(golden::JudgeCase(c, got, profile, nullptr), verdict);
  return {};
}

static_assert(static_cast<int>(golden::CaseStatus::kSkipped) ==
              ETALON_GOLDEN_SKIPPED);

}  // namespace
}  // namespace etalon::capi

using etalon::InvalidArgument;
using etalon::Status;
using etalon::capi::Guard;

extern "C" {

void etalon_philox4x32_10(const uint32_t counter[4], const uint32_t key[2],
                          uint32_t out[4]) {
  const etalon::golden::Words words = etalon::golden::Philox4x32_10(
      {counter[0], counter[1], counter[2], counter[3]}, {key[0], key[1]});
  std::copy(words.begin(), words.end(), out);
}

const char* etalon_golden_op(uint64_t i) {
  const auto& ops = etalon::capi::GoldenOps();
  return i < ops.size() ? ops[i].c_str() : nullptr;
}

etalon_status etalon_golden_case_create(const char* op, uint64_t index,
                                        etalon_golden_case** out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(op != nullptr, "op is NULL");
    ETALON_ENSURE(out != nullptr, "out is NULL");
    const auto& ops = etalon::capi::GoldenOps();
    ETALON_ENSURE(std::find(ops.begin(), ops.end(), op) != ops.end(),
                  fmt::format("op \"{}\" has no golden cases", op));
    ETALON_ASSIGN_OR_RETURN(auto described,
                            etalon::golden::DescribeCase(op, index));
    ETALON_RETURN_IF_ERROR(etalon::golden::MakeInputs(described));
    ETALON_RETURN_IF_ERROR(etalon::golden::Expect(described));
    *out = new etalon_golden_case{std::move(described)};
    return {};
  });
}

void etalon_golden_case_destroy(etalon_golden_case* c) { delete c; }

const char* etalon_golden_case_family(const etalon_golden_case* c) {
  return c != nullptr ? c->golden.family.c_str() : "";
}

etalon_status etalon_golden_case_int(const etalon_golden_case* c,
                                     const char* name, int64_t* out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(c != nullptr && name != nullptr && out != nullptr,
                  "case, name or out is NULL");
    const auto at = c->golden.params.find(name);
    if (at == c->golden.params.end() ||
        !std::holds_alternative<int64_t>(at->second)) {
      return InvalidArgument(fmt::format("no integer parameter {}", name));
    }
    *out = std::get<int64_t>(at->second);
    return {};
  });
}

etalon_status etalon_golden_case_text(const etalon_golden_case* c,
                                      const char* name, const char** out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(c != nullptr && name != nullptr && out != nullptr,
                  "case, name or out is NULL");
    const auto at = c->golden.params.find(name);
    if (at == c->golden.params.end() ||
        !std::holds_alternative<std::string>(at->second)) {
      return InvalidArgument(fmt::format("no text parameter {}", name));
    }
    *out = std::get<std::string>(at->second).c_str();
    return {};
  });
}

etalon_status etalon_golden_case_input(const etalon_golden_case* c, uint64_t i,
                                       etalon_golden_tensor* out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(c != nullptr && out != nullptr, "case or out is NULL");
    const auto& inputs = c->golden.inputs;
    ETALON_ENSURE(i < inputs.size(),
                  fmt::format("the case has {} inputs", inputs.size()));
    const auto& input = inputs[i];
    return etalon::capi::View(input.name, input.dtype, input.shape,
                              input.data.bytes.data(), out);
  });
}

etalon_status etalon_golden_case_output(const etalon_golden_case* c, uint64_t i,
                                        etalon_golden_tensor* out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(c != nullptr && out != nullptr, "case or out is NULL");
    const auto& outputs = c->golden.outputs;
    ETALON_ENSURE(i < outputs.size(),
                  fmt::format("the case has {} outputs", outputs.size()));
    const auto& output = outputs[i];
    return etalon::capi::View(output.name, output.dtype, output.shape, nullptr,
                              out);
  });
}

etalon_status etalon_golden_case_judge(const etalon_golden_case* c,
                                       const char* profile,
                                       const etalon_golden_tensor* outputs,
                                       uint64_t n_outputs,
                                       etalon_golden_verdict* verdict) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(c != nullptr, "case is NULL");
    return etalon::capi::JudgeInto(c->golden, profile, outputs, n_outputs,
                                   verdict);
  });
}

}  // extern "C"
