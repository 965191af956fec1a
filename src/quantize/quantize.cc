#include "quantize/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "io/stored_type.h"
#include "io/untrusted_text.h"
#include "quantize/importance.h"
#include "quantize/tensor_stream.h"

namespace etalon::quantize {
namespace {

// Version 2 of the block formats: the layouts of quant/block_formats.h.
constexpr uint32_t kQuantizationVersion = 2;

struct Plan {
  const io::GgufTensor* tensor = nullptr;
  uint32_t type_id = 0;  // of the output
  uint64_t bytes_out = 0;
  bool convert = false;
  std::optional<TensorType> wanted;
  const std::vector<float>* importance = nullptr;
  bool importance_missing = false;
};

class Quantizer {
 public:
  Quantizer(const io::GgufFile& file, const QuantizeOptions& options)
      : file_(file), options_(options) {}

  Status Prepare();
  Expected<QuantizeSummary> Report() const;
  Status Write(const std::string& path, uint64_t total_bytes);

 private:
  Expected<MixModel> DescribeModel() const;
  Status LoadImportance();
  Status ChooseImportance(Plan& plan) const;
  Status PlanTensor(const io::GgufTensor& tensor, const MixChoice& choice);
  Status WriteMetadata(io::GgufWriter& writer) const;
  bool UsesImportanceFor(std::string_view name) const;
  TensorReport ReportOf(size_t index) const;

  const io::GgufFile& file_;
  const QuantizeOptions& options_;
  std::optional<Importance> importance_;
  std::vector<Plan> plans_;
};

Expected<MixModel> Quantizer::DescribeModel() const {
  MixModel model;
  ETALON_ASSIGN_OR_RETURN(model.architecture,
                          file_.GetStringOr("general.architecture", ""));
  const std::string prefix = std::string(model.architecture) + ".";
  ETALON_ASSIGN_OR_RETURN(model.n_layers,
                          file_.GetUintOr(prefix + "block_count", 0));
  ETALON_ASSIGN_OR_RETURN(model.n_experts,
                          file_.GetUintOr(prefix + "expert_count", 0));
  // Per-layer head counts are arrays: they matter to no rule of the mixes.
  const auto heads = file_.GetUintOr(prefix + "attention.head_count", 0);
  model.n_heads = heads.value_or(0);
  const auto kv_heads =
      file_.GetUintOr(prefix + "attention.head_count_kv", model.n_heads);
  model.n_kv_heads = kv_heads.value_or(0);
  model.has_importance = importance_.has_value();
  return model;
}

Status Quantizer::LoadImportance() {
  if (options_.importance_path.empty()) return {};
  ETALON_ENSURE(
      options_.include_weights.empty() || options_.exclude_weights.empty(),
      "include and exclude weights cannot be given together");
  ETALON_ASSIGN_OR_RETURN(importance_,
                          ReadImportance(options_.importance_path));
  return {};
}

bool Quantizer::UsesImportanceFor(std::string_view name) const {
  const auto listed = [&](const std::vector<std::string>& parts) {
    return std::any_of(parts.begin(), parts.end(), [&](const auto& part) {
      return name.find(part) != std::string_view::npos;
    });
  };
  if (!options_.include_weights.empty()) {
    return listed(options_.include_weights);
  }
  return !listed(options_.exclude_weights);
}

Status Quantizer::ChooseImportance(Plan& plan) const {
  const io::GgufTensor& tensor = *plan.tensor;
  if (!importance_ || !UsesImportanceFor(tensor.name)) return {};
  const std::vector<float>* columns = importance_->Find(tensor.name);
  if (columns == nullptr) {
    plan.importance_missing = true;
    return {};
  }
  const uint64_t need = tensor.ne[0] * tensor.ne[2] * tensor.ne[3];
  if (columns->size() == need) {
    plan.importance = columns;
    return {};
  }
  // Embedding rows are looked up, not multiplied: whatever was collected under
  // that name is of the output product.
  if (tensor.name == "token_embd.weight") {
    plan.importance_missing = true;
    return {};
  }
  return BadInput(
      fmt::format("{}: importance of '{}' has {} columns, the tensor {}",
                  options_.importance_path, io::Printable(tensor.name),
                  columns->size(), need));
}

Status Quantizer::PlanTensor(const io::GgufTensor& tensor,
                             const MixChoice& choice) {
  Plan plan;
  plan.tensor = &tensor;
  plan.type_id = tensor.type_id;
  plan.bytes_out = tensor.n_bytes;
  const TensorType target =
      options_.copy ? tensor.type() : choice.type.value_or(tensor.type());
  if (target != tensor.type()) {
    if (FindTypeTraits(tensor.type()) == nullptr) {
      return BadInput(fmt::format(
          "tensor '{}' has type {}, which cannot be "
          "read as weights",
          io::Printable(tensor.name), io::StoredTypeName(tensor.type_id)));
    }
    if (IsQuantized(tensor.type()) && !options_.allow_requantize) {
      return BadInput(fmt::format(
          "tensor '{}' is {} already: quantising it again loses twice, "
          "--allow-requantize does it all the same",
          io::Printable(tensor.name), TypeName(tensor.type())));
    }
    plan.convert = true;
    plan.wanted = choice.wanted;
    plan.type_id = static_cast<uint32_t>(target);
    plan.bytes_out = RowBytes(target, tensor.ne[0]) * tensor.ne[1] *
                     tensor.ne[2] * tensor.ne[3];
    if (IsQuantized(target)) ETALON_RETURN_IF_ERROR(ChooseImportance(plan));
  }
  plans_.push_back(plan);
  return {};
}

Status Quantizer::Prepare() {
  ETALON_RETURN_IF_ERROR(LoadImportance());
  ETALON_ASSIGN_OR_RETURN(const MixModel model, DescribeModel());
  std::vector<MixTensor> tensors;
  for (const io::GgufTensor& t : file_.tensors()) {
    tensors.push_back({t.name, t.n_dims, t.ne});
  }
  ETALON_ASSIGN_OR_RETURN(const std::vector<MixChoice> choices,
                          ChooseTypes(model, tensors, options_.mix));
  for (size_t i = 0; i < choices.size(); ++i) {
    ETALON_RETURN_IF_ERROR(PlanTensor(file_.tensors()[i], choices[i]));
  }
  return {};
}

TensorReport Quantizer::ReportOf(size_t index) const {
  const Plan& plan = plans_[index];
  TensorReport report;
  report.index = index;
  report.count = plans_.size();
  report.name = plan.tensor->name;
  report.ne = plan.tensor->ne;
  report.from = io::StoredTypeName(plan.tensor->type_id);
  report.to = io::StoredTypeName(plan.type_id);
  report.bytes_in = plan.tensor->n_bytes;
  report.bytes_out = plan.bytes_out;
  if (plan.wanted) report.wanted = TypeName(*plan.wanted);
  report.importance_missing = plan.importance_missing;
  return report;
}

Expected<QuantizeSummary> Quantizer::Report() const {
  QuantizeSummary summary;
  summary.n_tensors = plans_.size();
  summary.warnings = file_.warnings();
  for (size_t i = 0; i < plans_.size(); ++i) {
    const Plan& plan = plans_[i];
    const auto& ne = plan.tensor->ne;
    summary.bytes_in += plan.tensor->n_bytes;
    summary.bytes_out += plan.bytes_out;
    summary.n_weights += ne[0] * ne[1] * ne[2] * ne[3];
    if (plan.wanted) ++summary.n_fallbacks;
    if (options_.dry_run && options_.on_tensor) options_.on_tensor(ReportOf(i));
  }
  return summary;
}

Status Quantizer::WriteMetadata(io::GgufWriter& writer) const {
  const auto replaced = [&](std::string_view key) {
    if (options_.copy) return false;
    return key == "general.file_type" ||
           key == "general.quantization_version" || key.starts_with("split.") ||
           key.starts_with("quantize.imatrix.");
  };
  for (const io::GgufKv& kv : file_.kvs()) {
    if (!replaced(kv.key)) ETALON_RETURN_IF_ERROR(writer.AddKv(kv));
  }
  if (options_.copy) return {};
  ETALON_RETURN_IF_ERROR(
      writer.AddNumber("general.quantization_version", kQuantizationVersion));
  ETALON_RETURN_IF_ERROR(writer.AddNumber(
      "general.file_type", static_cast<uint32_t>(options_.mix.file_type)));
  if (!importance_) return {};
  ETALON_RETURN_IF_ERROR(
      writer.AddString("quantize.imatrix.file", options_.importance_path));
  if (!importance_->datasets.empty()) {
    ETALON_RETURN_IF_ERROR(writer.AddString("quantize.imatrix.dataset",
                                            importance_->datasets.front()));
  }
  ETALON_RETURN_IF_ERROR(
      writer.AddNumber("quantize.imatrix.entries_count",
                       static_cast<uint32_t>(importance_->columns.size())));
  return writer.AddNumber("quantize.imatrix.chunks_count",
                          static_cast<uint32_t>(importance_->n_chunks));
}

Status Quantizer::Write(const std::string& path, uint64_t total_bytes) {
  io::GgufWriter writer(static_cast<uint32_t>(file_.alignment()));
  ETALON_RETURN_IF_ERROR(WriteMetadata(writer));
  uint64_t written = 0;  // bytes of the tensors before the current one
  for (size_t i = 0; i < plans_.size(); ++i) {
    const auto source = [this, i, total_bytes, &written](
                            const io::GgufWriter::ByteSink& sink) -> Status {
      const Plan& plan = plans_[i];
      if (options_.on_tensor) options_.on_tensor(ReportOf(i));
      const auto progress = [&](uint64_t done) {
        return !options_.on_progress ||
               options_.on_progress(written + done, total_bytes);
      };
      if (plan.convert) {
        ETALON_RETURN_IF_ERROR(
            StreamTensor({plan.tensor, static_cast<TensorType>(plan.type_id),
                          plan.importance, options_.n_threads, progress},
                         sink));
      } else {
        ETALON_RETURN_IF_ERROR(sink(
            {plan.tensor->data, static_cast<size_t>(plan.tensor->n_bytes)}));
        if (!progress(plan.bytes_out)) {
          return Fail(ErrorCode::kIo, "interrupted");
        }
      }
      written += plan.bytes_out;
      return {};
    };
    const io::GgufTensor& tensor = *plans_[i].tensor;
    ETALON_RETURN_IF_ERROR(writer.AddTensor(
        tensor.name, plans_[i].type_id,
        std::span<const uint64_t>(tensor.ne.data(), tensor.n_dims), source));
  }
  return writer.WriteFile(path);
}

}  // namespace

Expected<QuantizeSummary> QuantizeFile(const std::string& input,
                                       const std::string& output,
                                       const QuantizeOptions& options) {
  ETALON_ASSIGN_OR_RETURN(const io::GgufFile file, io::GgufFile::Open(input));
  Quantizer quantizer(file, options);
  ETALON_RETURN_IF_ERROR(quantizer.Prepare());
  ETALON_ASSIGN_OR_RETURN(QuantizeSummary summary, quantizer.Report());
  if (!options.dry_run) {
    ETALON_RETURN_IF_ERROR(quantizer.Write(output, summary.bytes_out));
  }
  return summary;
}

}  // namespace etalon::quantize
