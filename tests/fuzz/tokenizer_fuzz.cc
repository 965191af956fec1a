// libFuzzer target: a vocabulary made of the input's bytes and a text from its
// rest. Whatever loads encodes any bytes to ids of the vocabulary, and decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "io/untrusted_text.h"
#include "text/pre_tokenizers.h"
#include "text/tokenizer.h"

namespace etalon::text {
namespace {

// A broken property counts as a crash.
void Require(bool property) {
  if (!property) std::abort();
}

// Hands out the input piece by piece; zeros when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return byte;
  }
  std::string Text(size_t n) {
    const std::string out(rest_.substr(0, n));
    rest_.remove_prefix(out.size());
    return out;
  }
  std::string Rest() { return Text(rest_.size()); }

 private:
  std::string_view rest_;
};

std::vector<std::byte> MakeFile(Input* in) {
  const uint8_t shape = in->Byte();
  const bool bpe = shape & 1;
  io::GgufWriter writer;
  (void)writer.AddString("tokenizer.ggml.model", bpe ? "gpt2" : "llama");
  const auto names = PreTokenizerNames();
  (void)writer.AddString("tokenizer.ggml.pre",
                         names[in->Byte() % names.size()]);
  (void)writer.AddString("general.name", shape & 2 ? "phi-3" : "x");

  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::vector<float> scores;
  const size_t n_tokens = in->Byte();
  for (size_t i = 0; i < n_tokens; ++i) {
    const uint8_t head = in->Byte();
    tokens.push_back(in->Text(head & 15));
    types.push_back(head >> 5);
    scores.push_back(static_cast<float>(head >> 4 & 1));
  }
  if (shape & 4) {  // byte tokens, or the printable part of the alphabet
    constexpr char kHex[] = "0123456789ABCDEF";
    for (size_t byte = 0; byte < 256; ++byte) {
      const std::string hex{kHex[byte / 16], kHex[byte % 16]};
      tokens.push_back(bpe && byte > ' ' && byte < 127
                           ? std::string(1, static_cast<char>(byte))
                           : "<0x" + hex + ">");
      types.push_back(bpe ? 1 : 6);
      scores.push_back(0);
    }
  }
  const size_t n_merges = in->Byte();
  for (size_t i = 0; i < n_merges; ++i) {
    const uint8_t head = in->Byte();
    const std::string left = in->Text(head & 7);
    merges.push_back(left + " " + in->Text(head >> 3 & 7));
  }
  (void)writer.AddStrings("tokenizer.ggml.tokens", tokens);
  if (shape & 8) {
    (void)writer.AddNumbers<int32_t>("tokenizer.ggml.token_type", types);
  }
  (void)writer.AddNumbers<float>("tokenizer.ggml.scores", scores);
  if (bpe) (void)writer.AddStrings("tokenizer.ggml.merges", merges);
  if (shape & 16) {
    (void)writer.AddNumber<uint32_t>("tokenizer.ggml.bos_token_id", in->Byte());
    (void)writer.AddNumber<uint32_t>("tokenizer.ggml.unknown_token_id",
                                     in->Byte());
  }
  (void)writer.AddBool("tokenizer.ggml.add_eos_token", shape & 32);
  auto bytes = writer.ToBytes();
  return bytes ? std::move(*bytes) : std::vector<std::byte>();
}

void Exercise(const Tokenizer& tokenizer, const std::string& text) {
  for (const bool special : {false, true}) {
    const std::vector<TokenId> ids = tokenizer.Encode(
        text, {.add_special = special, .parse_special = special});
    StreamDecoder stream;
    std::string shown;
    for (const TokenId id : ids) {
      Require(id >= 0 && static_cast<size_t>(id) < tokenizer.size());
      shown += stream.Push(tokenizer.Piece(id, special));
    }
    shown += stream.Finish();
    Require(!io::FirstBadUtf8(shown));
    (void)tokenizer.Decode(ids);
  }
}

void Run(const uint8_t* data, size_t size) {
  Input in(data, size);
  const std::vector<std::byte> bytes = MakeFile(&in);
  const auto file = io::GgufFile::Parse(bytes);
  if (!file) return;
  const auto tokenizer = Tokenizer::FromGguf(*file);
  if (!tokenizer) {
    const std::string& message = tokenizer.error().message;
    Require(!message.empty() && !io::FirstControlByte(message) &&
            !io::FirstBadUtf8(message));
    return;
  }
  Exercise(**tokenizer, in.Rest());
}

}  // namespace
}  // namespace etalon::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  etalon::text::Run(data, size);
  return 0;
}
