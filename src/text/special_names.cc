// Tokens that GGUF files do not mark, known by their text.
#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <set>
#include <unordered_map>

#include "text/vocabulary.h"

namespace etalon::text {
namespace {

// A model that writes one of these has finished its turn.
constexpr std::string_view kEndNames[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
};
// Fill-in-the-middle: padding, repository and file marks end a completion too;
// prefix, suffix and middle marks only are control tokens. Of each row the
// first name present is meant.
constexpr std::string_view kPadNames[] = {"<|fim_pad|>", "<fim-pad>",
                                          "<fim_pad>", "<PAD>", "[PAD]"};
constexpr std::string_view kRepositoryNames[] = {
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"};
constexpr std::string_view kFileNames[] = {"<|file_sep|>"};
constexpr std::string_view kPrefixNames[] = {
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",    "<｜fim▁begin｜>",
    "<PRE>",          "▁<PRE>",       "<|code_prefix|>", "<|prefix|>"};
constexpr std::string_view kSuffixNames[] = {
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",    "<｜fim▁hole｜>",
    "<SUF>",          "▁<SUF>",       "<|code_suffix|>", "<|suffix|>"};
constexpr std::string_view kMiddleNames[] = {
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>",    "<｜fim▁end｜>",
    "<MID>",          "▁<MID>",       "<|code_middle|>", "<|middle|>"};
// Channel marks of the harmony format are part of the visible text.
constexpr std::string_view kVisibleNames[] = {"<|channel|>", "<|message|>",
                                              "<|start|>", "<|constrain|>"};

using NameMap = std::unordered_map<std::string_view, TokenId>;

// Ids of the special names in the vocabulary.
NameMap FindNames(const Vocabulary& v) {
  std::set<std::string_view> wanted;
  const auto want = [&](const auto& names) {
    wanted.insert(std::begin(names), std::end(names));
  };
  want(kEndNames);
  want(kPadNames);
  want(kRepositoryNames);
  want(kFileNames);
  want(kPrefixNames);
  want(kSuffixNames);
  want(kMiddleNames);
  want(kVisibleNames);
  want(std::initializer_list<std::string_view>{"<unk>", "<s>", "<mask>",
                                               "[MASK]"});
  const auto first_char_wanted = [](std::string_view text) {
    return text[0] == '<' || text[0] == '[' || text[0] == '_' ||
           text.starts_with("▁<");
  };
  NameMap found;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const std::string_view text = v.tokens[i];
    if (text.empty() || !first_char_wanted(text)) continue;
    if (wanted.contains(text)) found.emplace(text, static_cast<TokenId>(i));
  }
  return found;
}

bool Contains(std::string_view text,
              std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(parts, [&](std::string_view part) {
    return text.find(part) != std::string_view::npos;
  });
}

bool IsSpecialType(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

}  // namespace

void ClassifySpecialTokens(Vocabulary* v) {
  const NameMap names = FindNames(*v);
  std::set<TokenId> ends;
  const auto set_type = [&](TokenId id, TokenType type) {
    v->types[static_cast<size_t>(id)] = type;
  };
  const auto first_of = [&](const auto& row, bool is_end) {
    for (const std::string_view name : row) {
      const auto found = names.find(name);
      if (found == names.end()) continue;
      set_type(found->second, TokenType::kControl);
      if (is_end) ends.insert(found->second);
      return;
    }
  };
  first_of(kPrefixNames, false);
  first_of(kSuffixNames, false);
  first_of(kMiddleNames, false);
  first_of(kPadNames, true);
  first_of(kRepositoryNames, true);
  first_of(kFileNames, true);
  for (const std::string_view name : kEndNames) {
    if (const auto found = names.find(name); found != names.end()) {
      set_type(found->second, TokenType::kControl);
      ends.insert(found->second);
    }
  }
  for (const std::string_view name : kVisibleNames) {
    if (const auto found = names.find(name); found != names.end()) {
      set_type(found->second, TokenType::kUserDefined);
    }
  }
  for (const auto& id : {v->eos, v->eot, v->eom}) {
    if (id) ends.insert(*id);
  }
  const auto has = [&](std::string_view name) {
    const auto found = names.find(name);
    return found != names.end() && ends.contains(found->second);
  };
  // In these formats <|end|> ends a message, not the turn.
  const bool calls = has("<|call|>") || has("<|calls|>");
  if (has("<|end|>") && calls && (has("<|return|>") || has("<|flush|>"))) {
    ends.erase(names.at("<|end|>"));
    set_type(names.at("<|end|>"), TokenType::kUserDefined);
  }
  // In Gemma 4, </s> is an HTML tag.
  if (has("<|tool_response>") && has("</s>")) {
    ends.erase(names.at("</s>"));
    set_type(names.at("</s>"), TokenType::kNormal);
  }
  v->end_of_generation.assign(ends.begin(), ends.end());
}

Status ReadStripRules(const io::GgufFile& file, Vocabulary* v) {
  ETALON_ASSIGN_OR_RETURN(
      const std::string_view pre,
      file.GetStringOr("tokenizer.ggml.pre", std::string_view()));
  ETALON_ASSIGN_OR_RETURN(
      const std::string_view architecture,
      file.GetStringOr("general.architecture", std::string_view()));
  ETALON_ASSIGN_OR_RETURN(const std::string_view name,
                          file.GetStringOr("general.name", std::string_view()));
  std::string lower_name(name);
  std::ranges::transform(lower_name, lower_name.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });

  const NameMap names = FindNames(*v);
  const auto strip_left = [&](std::string_view text) {
    if (const auto found = names.find(text); found != names.end()) {
      v->strip_left.push_back(found->second);
    }
  };
  if (Contains(pre, {"jina-v2-de", "jina-v2-es", "jina-v2-code"}) ||
      Contains(architecture, {"nomic-bert-moe", "jina-bert-v3"})) {
    strip_left("<mask>");
  } else if (Contains(lower_name, {"phi-3", "phi3"})) {
    for (size_t i = 0; i < v->tokens.size(); ++i) {
      const std::string_view text = v->tokens[i];
      if (text == "<unk>" || text == "<s>" || text == "<|endoftext|>") continue;
      if (IsSpecialType(v->types[i]) || text == "</s>") {
        v->strip_right.push_back(static_cast<TokenId>(i));
      }
    }
  } else if (Contains(lower_name, {"modern-bert"})) {
    strip_left("[MASK]");
  }
  return {};
}

}  // namespace etalon::text
