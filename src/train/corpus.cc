#include "train/corpus.h"

#include "train/byte_pairs.h"
#include "train/random.h"

namespace etalon::train {
namespace {

constexpr uint64_t kOrderStream = 0x6f72646572;  // apart from the weights'

std::vector<std::string_view> Documents(std::string_view text) {
  std::vector<std::string_view> documents;
  while (!text.empty()) {
    const size_t end = std::min(text.find("\n\n\n"), text.size());
    const std::string_view document = text.substr(0, end);
    if (document.find_first_not_of(" \t\r\n") != std::string_view::npos) {
      documents.push_back(document);
    }
    const size_t next = text.find_first_not_of('\n', end);
    text.remove_prefix(std::min(next, text.size()));
  }
  return documents;
}

std::vector<std::string_view> Pieces(std::string_view text) {
  constexpr size_t kPiece = size_t{8} << 10;
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    size_t end = text.find('\n', kPiece);
    end = end == std::string_view::npos ? text.size() : end + 1;
    // A text without lines is cut anywhere.
    end = std::min(end, 4 * kPiece);
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return pieces;
}

}  // namespace

SplitText SplitDocuments(std::string_view text, size_t valid_every) {
  std::vector<std::string_view> all = Documents(text);
  if (all.size() < valid_every) all = Pieces(text);
  SplitText split;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool valid = valid_every > 0 && i % valid_every == valid_every - 1;
    (valid ? split.valid : split.train).push_back(all[i]);
  }
  return split;
}

TokenStream EncodeDocuments(std::span<const std::string_view> documents,
                            const text::Tokenizer& tokenizer) {
  TokenStream stream;
  for (const std::string_view document : documents) {
    stream.tokens.push_back(kEndOfText);
    const auto ids = tokenizer.Encode(
        document, {.add_special = false, .parse_special = false});
    stream.tokens.insert(stream.tokens.end(), ids.begin(), ids.end());
    stream.n_bytes += document.size();
  }
  return stream;
}

// One token is kept for the last target; the offset takes what is left over of
// whole windows, or up to a whole window.
WindowOrder::WindowOrder(size_t n_tokens, size_t seq_len, uint64_t seed)
    : seq_len_(seq_len), seed_(seed) {
  const size_t usable = n_tokens - 1;
  per_epoch_ = usable / seq_len;
  if (per_epoch_ > 1) --per_epoch_;
  slack_ = usable - per_epoch_ * seq_len + 1;
}

size_t WindowOrder::Start(uint64_t index) {
  const uint64_t epoch = index / per_epoch_;
  if (epoch != epoch_) {
    epoch_ = epoch;
    order_ = RandomOrder(seed_, kOrderStream + epoch, per_epoch_);
  }
  const size_t offset = RandomBits(seed_, kOrderStream, ~epoch) % slack_;
  return offset + order_[index % per_epoch_] * seq_len_;
}

}  // namespace etalon::train
