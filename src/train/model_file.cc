#include "train/model_file.h"

namespace etalon::train {

Status WriteModel(const std::string& path, const std::string& name,
                  const BytePairVocabulary& vocabulary, Net& net) {
  const NetShape& s = net.shape();
  io::GgufWriter writer;
  ETALON_RETURN_IF_ERROR(writer.AddString("general.architecture", "llama"));
  ETALON_RETURN_IF_ERROR(writer.AddString("general.name", name));
  ETALON_RETURN_IF_ERROR(
      writer.AddNumber("general.file_type", uint32_t{0}));  // all F32
  struct Size {
    const char* key;
    size_t value;
  };
  for (const Size& z : {Size{"llama.block_count", s.n_layers},
                        Size{"llama.context_length", s.seq_len},
                        Size{"llama.embedding_length", s.model_dim},
                        Size{"llama.feed_forward_length", s.ffn_dim},
                        Size{"llama.attention.head_count", s.n_heads},
                        Size{"llama.attention.head_count_kv", s.n_kv_heads},
                        Size{"llama.attention.key_length", s.head_dim},
                        Size{"llama.attention.value_length", s.head_dim},
                        Size{"llama.rope.dimension_count", s.head_dim},
                        Size{"llama.vocab_size", s.n_vocab}}) {
    ETALON_RETURN_IF_ERROR(
        writer.AddNumber(z.key, static_cast<uint32_t>(z.value)));
  }
  ETALON_RETURN_IF_ERROR(
      writer.AddNumber("llama.attention.layer_norm_rms_epsilon", s.rms_eps));
  ETALON_RETURN_IF_ERROR(writer.AddNumber("llama.rope.freq_base", s.rope_base));
  ETALON_RETURN_IF_ERROR(AddVocabulary(vocabulary, writer));
  for (const Parameter& p : net.parameters()) {
    const uint64_t ne[] = {p.cols, p.rows};
    const std::span<const float> values(net.values().data() + p.offset,
                                        p.size());
    ETALON_RETURN_IF_ERROR(writer.AddTensor(
        p.name, static_cast<uint32_t>(TensorType::kF32),
        std::span(ne, p.rows == 0 ? 1 : 2), std::as_bytes(values)));
  }
  return writer.WriteFile(path);
}

}  // namespace etalon::train
