#include "model/model.h"

#include <fmt/format.h>

namespace etalon::model {
namespace {

Expected<const Architecture*> ReadArchitecture(const io::GgufFile& file) {
  ETALON_ASSIGN_OR_RETURN(const std::string_view name,
                          file.GetString("general.architecture"));
  const Architecture* architecture = FindArchitecture(name);
  if (architecture == nullptr) {
    std::vector<std::string_view> known;
    for (const Architecture& a : AllArchitectures()) known.push_back(a.name);
    return BadInput(fmt::format("general.architecture: \"{}\" unknown, need {}",
                                name, fmt::join(known, ", ")));
  }
  return architecture;
}

Status CheckAgainstArchitecture(const Architecture& arch,
                                const Hyperparameters& hp) {
  if (arch.experts == Presence::kRequired && hp.n_experts == 0) {
    return BadInput(fmt::format("{}.expert_count: missing or 0", arch.name));
  }
  if (arch.experts == Presence::kNever && hp.n_experts > 0) {
    return BadInput(fmt::format("{}.expert_count: {}, but {} has no experts",
                                arch.name, hp.n_experts, arch.name));
  }
  return {};
}

}  // namespace

Expected<std::unique_ptr<Model>> Model::Load(const std::string& path,
                                             const LoadOptions& options) {
  ETALON_ASSIGN_OR_RETURN(io::GgufFile file, io::GgufFile::Open(path));
  std::unique_ptr<Model> m(new Model(std::move(file)));
  ETALON_ASSIGN_OR_RETURN(m->architecture_, ReadArchitecture(m->file_));
  ETALON_ASSIGN_OR_RETURN(m->hp_, ReadHyperparameters(m->file_));
  m->hp_.rope.style = m->architecture_->rope_style;
  ETALON_RETURN_IF_ERROR(CheckAgainstArchitecture(*m->architecture_, m->hp_));
  ETALON_ASSIGN_OR_RETURN(
      const std::string_view tokenizer,
      m->file_.GetStringOr("tokenizer.ggml.model", "no_vocab"));
  if (tokenizer != "no_vocab") {
    ETALON_ASSIGN_OR_RETURN(m->tokenizer_, text::Tokenizer::FromGguf(m->file_));
  }
  ETALON_ASSIGN_OR_RETURN(m->weights_,
                          LoadWeights(m->file_, *m->architecture_, m->hp_));
  m->hp_.rope.freq_factors = m->weights_.rope_factors;
  if (!m->architecture_->attn_temperature) m->hp_.attn_temperature = 0.0f;
  if (options.check_weights) {
    const uint64_t total = m->file_.file_size();
    ETALON_RETURN_IF_ERROR(
        CheckFinite(m->file_, options.n_threads, [&](uint64_t done) {
          if (options.progress) options.progress(done, total);
        }));
  }
  return m;
}

layer::LayerConfig Model::LayerConfigOf(size_t i) const {
  layer::LayerConfig c;
  c.model_dim = hp_.model_dim;
  c.n_heads = hp_.n_heads[i];
  c.n_kv_heads = hp_.n_kv_heads[i];
  c.head_dim = hp_.head_dim;
  c.ffn_dim = hp_.ffn_dim[i];
  c.rms_eps = hp_.rms_eps;
  c.use_rope = architecture_->use_rope == nullptr || architecture_->use_rope(i);
  c.rope_style = architecture_->rope_style;
  c.n_experts = hp_.n_experts;
  c.n_experts_used = hp_.n_experts_used;
  return c;
}

std::vector<std::string> Model::Warnings() const {
  std::vector<std::string> out = file_.warnings();
  if (tokenizer_) {
    out.insert(out.end(), tokenizer_->warnings().begin(),
               tokenizer_->warnings().end());
  }
  // Factors for quantised activations of other engines: nothing to tell.
  size_t n_unused = 0;
  for (const std::string& name : weights_.unused) {
    if (!name.ends_with(".input_scale")) ++n_unused;
  }
  if (n_unused > 0) {
    out.push_back(fmt::format("{} tensors are not used by {}", n_unused,
                              architecture_->name));
  }
  return out;
}

}  // namespace etalon::model
