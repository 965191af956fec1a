// Small vocabularies as GGUF files in memory.
#ifndef ETALON_TESTS_TEXT_VOCABULARY_BUILDER_H_
#define ETALON_TESTS_TEXT_VOCABULARY_BUILDER_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "text/byte_pair.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace etalon::text {

// Fields as the file will hold them; those left empty are not written.
struct VocabularyBuilder {
  std::string model = "llama";
  std::optional<std::string> pre;
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::optional<std::vector<std::string>> merges;
  std::vector<std::pair<std::string, uint32_t>> ids;  // key after the prefix
  std::vector<std::pair<std::string, bool>> flags;
  std::vector<std::pair<std::string, std::string>> strings;  // whole key

  TokenId Add(std::string text, TokenType type = TokenType::kNormal,
              float score = 0) {
    tokens.push_back(std::move(text));
    types.push_back(static_cast<int32_t>(type));
    scores.push_back(score);
    return static_cast<TokenId>(tokens.size()) - 1;
  }

  std::vector<std::byte> Bytes() const {
    const std::string prefix = "tokenizer.ggml.";
    io::GgufWriter writer;
    bool ok = true;
    const auto add = [&](const Status& status) {
      ok = ok && status.has_value();
    };
    add(writer.AddString("general.architecture", "llama"));
    add(writer.AddString(prefix + "model", model));
    if (pre) add(writer.AddString(prefix + "pre", *pre));
    add(writer.AddStrings(prefix + "tokens", tokens));
    if (!types.empty()) {
      add(writer.AddNumbers<int32_t>(prefix + "token_type", types));
    }
    if (!scores.empty()) {
      add(writer.AddNumbers<float>(prefix + "scores", scores));
    }
    if (merges) add(writer.AddStrings(prefix + "merges", *merges));
    for (const auto& [key, id] : ids) {
      add(writer.AddNumber<uint32_t>(prefix + key, id));
    }
    for (const auto& [key, flag] : flags) {
      add(writer.AddBool(prefix + key, flag));
    }
    for (const auto& [key, text] : strings) add(writer.AddString(key, text));
    EXPECT_TRUE(ok) << "the builder's fields do not make a file";
    auto bytes = writer.ToBytes();
    EXPECT_TRUE(bytes.has_value());
    return bytes ? *bytes : std::vector<std::byte>();
  }
};

// A tokenizer and the file it was made from.
struct Built {
  std::vector<std::byte> bytes;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string error;

  const Tokenizer* operator->() const { return tokenizer.get(); }
  std::vector<TokenId> Plain(std::string_view text) const {
    return tokenizer->Encode(text,
                             {.add_special = false, .parse_special = false});
  }
};

inline Built FromBytes(std::vector<std::byte> bytes) {
  Built built;
  built.bytes = std::move(bytes);
  const auto file = io::GgufFile::Parse(built.bytes);
  if (!file) {
    built.error = file.error().message;
    return built;
  }
  auto tokenizer = Tokenizer::FromGguf(*file);
  if (tokenizer) {
    built.tokenizer = std::move(*tokenizer);
  } else {
    built.error = tokenizer.error().message;
  }
  return built;
}

inline Built Build(const VocabularyBuilder& builder) {
  return FromBytes(builder.Bytes());
}

// <unk> <s> </s>, then 256 byte tokens.
inline VocabularyBuilder SentencePieceBase() {
  VocabularyBuilder b;
  b.Add("<unk>", TokenType::kUnknown);
  b.Add("<s>", TokenType::kControl);
  b.Add("</s>", TokenType::kControl);
  constexpr char kHex[] = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    b.Add(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">",
          TokenType::kByte);
  }
  return b;
}

// The byte alphabet, in byte order, without merges.
inline VocabularyBuilder BytePairBase(std::string pre) {
  VocabularyBuilder b;
  b.model = "gpt2";
  b.pre = std::move(pre);
  b.merges.emplace();
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendUtf8(ByteToAlphabet(static_cast<uint8_t>(byte)), &text);
    b.Add(text);
  }
  return b;
}

// `text` in the byte alphabet.
inline std::string InAlphabet(std::string_view text) {
  std::string out;
  for (const char c : text) {
    AppendUtf8(ByteToAlphabet(static_cast<uint8_t>(c)), &out);
  }
  return out;
}

// Adds the merge and the token it makes.
inline TokenId AddMerge(VocabularyBuilder* b, std::string_view left,
                        std::string_view right) {
  b->merges->push_back(InAlphabet(left) + " " + InAlphabet(right));
  return b->Add(InAlphabet(std::string(left) + std::string(right)));
}

}  // namespace etalon::text

#endif  // ETALON_TESTS_TEXT_VOCABULARY_BUILDER_H_
