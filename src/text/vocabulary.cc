#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/untrusted_text.h"

namespace etalon::text {
namespace {

using io::GgufArray;
using io::GgufType;

constexpr std::string_view kKnownOtherModels[] = {
    "bert",      "t5",         "rwkv",     "plamo2",
    "hybriddna", "whitespace", "no_vocab", "none"};

std::string Quoted(std::string_view text) {
  return fmt::format("\"{}\"", io::Printable(text));
}

Status ReadModel(const io::GgufFile& file, Vocabulary* v) {
  constexpr std::string_view kKey = "tokenizer.ggml.model";
  if (file.Find(kKey) == nullptr) {
    return BadInput("tokenizer.ggml.model missing");
  }
  ETALON_ASSIGN_OR_RETURN(const std::string_view model, file.GetString(kKey));
  ETALON_ASSIGN_OR_RETURN(
      std::string_view pre,
      file.GetStringOr("tokenizer.ggml.pre", std::string_view()));
  if (model == "llama") {
    v->model = Vocabulary::Model::kSentencePiece;
    v->add_bos = true;
    v->add_space_prefix = true;
    return {};
  }
  if (model == "gemma4") pre = model;
  if (model != "gpt2" && model != "gemma4") {
    const bool known = std::ranges::count(kKnownOtherModels, model) != 0;
    return BadInput(fmt::format("{} {}: {}, need llama or gpt2", kKey,
                                Quoted(model),
                                known ? "not supported" : "unknown"));
  }
  v->model = Vocabulary::Model::kBytePair;
  if (pre.empty()) {
    v->warnings.push_back(
        "tokenizer.ggml.pre missing: \"default\" used, token ids may differ "
        "from those the model was trained with");
    pre = "default";
  }
  v->pre = FindPreTokenizer(pre);
  if (v->pre == nullptr) {
    return BadInput(fmt::format("tokenizer.ggml.pre {}: unknown", Quoted(pre)));
  }
  v->add_bos = v->pre->add_bos;
  return {};
}

// The array, or nullptr if absent; refused unless its elements are `need` (or
// `also`) and, with `count`, as many as there are tokens.
Expected<const GgufArray*> TypedArray(const io::GgufFile& file,
                                      std::string_view key, GgufType need,
                                      GgufType also,
                                      std::optional<size_t> count) {
  ETALON_ASSIGN_OR_RETURN(const GgufArray* array, file.GetArray(key));
  if (array == nullptr) return array;
  if (array->element_type != need && array->element_type != also) {
    return BadInput(fmt::format("{} element type {}, need {}", key,
                                io::GgufTypeName(array->element_type),
                                io::GgufTypeName(need)));
  }
  if (count && array->count != *count) {
    return BadInput(fmt::format("{} count {}, need {}: one per token", key,
                                array->count, *count));
  }
  return array;
}

Status ReadTokens(const io::GgufFile& file, Vocabulary* v) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  ETALON_ASSIGN_OR_RETURN(const GgufArray* tokens,
                          TypedArray(file, kKey, GgufType::kString,
                                     GgufType::kString, std::nullopt));
  if (tokens == nullptr) return BadInput(fmt::format("{} missing", kKey));
  if (tokens->count == 0) return BadInput(fmt::format("{} empty", kKey));
  if (tokens->count > kMaxTokens) {
    return BadInput(
        fmt::format("{} count {} > {}", kKey, tokens->count, kMaxTokens));
  }
  if (tokens->raw.size() > TokenTable::kMaxBytes) {
    return BadInput(fmt::format("{} too long: {} bytes > {}", kKey,
                                tokens->raw.size(), TokenTable::kMaxBytes));
  }
  size_t i = 0;
  for (const std::string_view text : tokens->strings()) {
    if (text.size() > kMaxTokenBytes) {
      return BadInput(fmt::format("{}[{}] too long: {} bytes > {}", kKey, i,
                                  text.size(), kMaxTokenBytes));
    }
    ++i;
  }
  v->tokens = TokenTable(*tokens);
  return {};
}

Status ReadTypes(const io::GgufFile& file, Vocabulary* v) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  ETALON_ASSIGN_OR_RETURN(
      const GgufArray* types,
      TypedArray(file, kKey, GgufType::kI32, GgufType::kU32, v->tokens.size()));
  v->types.assign(v->tokens.size(), TokenType::kNormal);
  if (types == nullptr) return {};
  for (size_t i = 0; i < v->types.size(); ++i) {
    const int64_t type = types->Integer(i);
    if (type < 0 || type > static_cast<int64_t>(TokenType::kByte)) {
      return BadInput(fmt::format("{}[{}] {}, need 0..6", kKey, i, type));
    }
    v->types[i] = static_cast<TokenType>(type);
    if (v->types[i] == TokenType::kByte && !ParseByteToken(v->tokens[i])) {
      return BadInput(
          fmt::format("tokenizer.ggml.tokens[{}] {}: bad byte token, need "
                      "\"<0x00>\" to \"<0xFF>\"",
                      i, Quoted(v->tokens[i])));
    }
  }
  return {};
}

Status ReadScores(const io::GgufFile& file, Vocabulary* v) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  ETALON_ASSIGN_OR_RETURN(
      const GgufArray* scores,
      TypedArray(file, kKey, GgufType::kF32, GgufType::kF32, v->tokens.size()));
  const bool used = v->model == Vocabulary::Model::kSentencePiece;
  if (used) v->scores.assign(v->tokens.size(), 0.0f);
  if (scores == nullptr) {
    if (used) {
      v->warnings.push_back(fmt::format("{} missing: all taken as 0", kKey));
    }
    return {};
  }
  for (size_t i = 0; i < scores->count; ++i) {
    const auto score = static_cast<float>(scores->Number(i));
    if (std::isnan(score)) return BadInput(fmt::format("{}[{}] NaN", kKey, i));
    if (used) v->scores[i] = score;
  }
  return {};
}

Status ReadMerges(const io::GgufFile& file, Vocabulary* v) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  if (v->model != Vocabulary::Model::kBytePair) return {};
  ETALON_ASSIGN_OR_RETURN(const GgufArray* merges,
                          TypedArray(file, kKey, GgufType::kString,
                                     GgufType::kString, std::nullopt));
  if (merges == nullptr) {
    if (v->pre->merges_optional) return {};
    return BadInput(fmt::format("{} missing", kKey));
  }
  if (merges->count > kMaxMerges) {
    return BadInput(
        fmt::format("{} count {} > {}", kKey, merges->count, kMaxMerges));
  }
  size_t i = 0;
  for (const std::string_view merge : merges->strings()) {
    if (merge.size() > 2 * kMaxTokenBytes + 1) {
      return BadInput(
          fmt::format("{}[{}] too long: {} bytes", kKey, i, merge.size()));
    }
    const size_t space = FindMergeSpace(merge);
    const bool found = space != std::string_view::npos;
    if (!found && merge.substr(0, 1) != " ") {
      return BadInput(fmt::format("{}[{}] {}: no space between two sides", kKey,
                                  i, Quoted(merge)));
    }
    if (!found || space + 1 == merge.size()) {
      return BadInput(
          fmt::format("{}[{}] {}: empty side", kKey, i, Quoted(merge)));
    }
    ++i;
  }
  v->merges = merges->strings();
  return {};
}

Status ReadSpecialIds(const io::GgufFile& file, Vocabulary* v) {
  const size_t n = v->tokens.size();
  const auto exists = [&](TokenId id) { return static_cast<size_t>(id) < n; };
  if (v->model == Vocabulary::Model::kSentencePiece) {
    // SentencePiece's own numbering.
    if (exists(0)) v->unk = 0;
    if (exists(1)) v->bos = 1;
    if (exists(2)) v->eos = 2;
  } else if (exists(11) && v->types[11] == TokenType::kControl) {
    v->bos = v->eos = 11;  // Falcon's files, the first of this kind
  }
  struct Field {
    std::string_view key;
    std::optional<TokenId>* id;  // null: checked, not used
  };
  const Field fields[] = {
      {"tokenizer.ggml.bos_token_id", &v->bos},
      {"tokenizer.ggml.eos_token_id", &v->eos},
      {"tokenizer.ggml.eot_token_id", &v->eot},
      {"tokenizer.ggml.eom_token_id", &v->eom},
      {"tokenizer.ggml.unknown_token_id", &v->unk},
      {"tokenizer.ggml.seperator_token_id", nullptr},
      {"tokenizer.ggml.padding_token_id", nullptr},
      {"tokenizer.ggml.mask_token_id", nullptr},
  };
  for (const Field& field : fields) {
    if (file.Find(field.key) == nullptr) continue;
    ETALON_ASSIGN_OR_RETURN(const uint64_t id, file.GetUint(field.key));
    if (id >= n) {
      // Converters write 2^32 - 1 for "none" into fields nothing here reads.
      const std::string line =
          fmt::format("{} {}, need < {}", field.key, id, n);
      if (field.id != nullptr) return BadInput(line);
      v->warnings.push_back(line);
    } else if (field.id != nullptr) {
      *field.id = static_cast<TokenId>(id);
    }
  }
  return {};
}

Status ReadFlags(const io::GgufFile& file, Vocabulary* v) {
  ETALON_ASSIGN_OR_RETURN(
      v->add_bos, file.GetBoolOr("tokenizer.ggml.add_bos_token", v->add_bos));
  ETALON_ASSIGN_OR_RETURN(
      v->add_eos, file.GetBoolOr("tokenizer.ggml.add_eos_token", v->add_eos));
  ETALON_ASSIGN_OR_RETURN(
      v->add_space_prefix,
      file.GetBoolOr("tokenizer.ggml.add_space_prefix", v->add_space_prefix));
  if (v->model == Vocabulary::Model::kBytePair) {
    v->add_space_prefix = false;  // a notion of SentencePiece only
    if (v->pre->force_bos) v->add_bos = true;
  }
  return {};
}

Status CheckChatTemplates(const io::GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  for (const io::GgufKv& kv : file.kvs()) {
    if (kv.key != kKey && !kv.key.starts_with("tokenizer.chat_template.")) {
      continue;
    }
    ETALON_ASSIGN_OR_RETURN(const std::string_view text,
                            file.GetString(kv.key));
    if (const auto at = io::FirstBadUtf8(text)) {
      return BadInput(
          fmt::format("{} not UTF-8 at byte {}", io::Printable(kv.key), *at));
    }
  }
  return {};
}

void IndexTexts(Vocabulary* v) {
  size_t n_duplicates = 0, first = 0;
  size_t n_empty = 0, first_empty = 0;
  for (size_t i = 0; i < v->tokens.size(); ++i) {
    if (v->tokens[i].empty()) {
      if (n_empty++ == 0) first_empty = i;
    } else if (!v->tokens.Index(i)) {
      if (n_duplicates++ == 0) first = i;
    }
  }
  const auto others = [](size_t n) {
    return n > 1 ? fmt::format(", and {} more", n - 1) : std::string();
  };
  if (n_duplicates > 0) {
    v->warnings.push_back(fmt::format(
        "tokenizer.ggml.tokens[{}] {} duplicate of tokens[{}]{}: the first is "
        "used",
        first, Quoted(v->tokens[first]), v->tokens.Find(v->tokens[first]),
        others(n_duplicates)));
  }
  if (n_empty > 0) {
    v->warnings.push_back(fmt::format("tokenizer.ggml.tokens[{}] empty{}",
                                      first_empty, others(n_empty)));
  }
}

}  // namespace

std::optional<uint8_t> ParseByteToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') {
    return std::nullopt;
  }
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    value *= 16;
    if ('0' <= c && c <= '9') {
      value += c - '0';
    } else if ('A' <= c && c <= 'F') {
      value += c - 'A' + 10;
    } else if ('a' <= c && c <= 'f') {
      value += c - 'a' + 10;
    } else {
      return std::nullopt;
    }
  }
  return static_cast<uint8_t>(value);
}

Expected<Vocabulary> ReadVocabulary(const io::GgufFile& file) {
  Vocabulary v;
  ETALON_RETURN_IF_ERROR(ReadModel(file, &v));
  ETALON_RETURN_IF_ERROR(ReadTokens(file, &v));
  ETALON_RETURN_IF_ERROR(ReadTypes(file, &v));
  ETALON_RETURN_IF_ERROR(ReadScores(file, &v));
  ETALON_RETURN_IF_ERROR(ReadMerges(file, &v));
  ETALON_RETURN_IF_ERROR(ReadSpecialIds(file, &v));
  ETALON_RETURN_IF_ERROR(ReadFlags(file, &v));
  ETALON_RETURN_IF_ERROR(CheckChatTemplates(file));
  IndexTexts(&v);
  ClassifySpecialTokens(&v);
  ETALON_RETURN_IF_ERROR(ReadStripRules(file, &v));
  if (v.add_bos && !v.bos) {
    v.warnings.push_back(
        "tokenizer.ggml.bos_token_id missing: no beginning token added");
    v.add_bos = false;
  }
  if (v.add_eos && !v.eos) {
    v.warnings.push_back(
        "tokenizer.ggml.eos_token_id missing: no end token added");
    v.add_eos = false;
  }
  return v;
}

}  // namespace etalon::text
