#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "text/byte_pair.h"
#include "text/sentence_piece.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace etalon::text {

Expected<std::unique_ptr<Tokenizer>> Tokenizer::FromGguf(
    const io::GgufFile& file) {
  ETALON_ASSIGN_OR_RETURN(Vocabulary vocabulary, ReadVocabulary(file));
  if (vocabulary.model == Vocabulary::Model::kSentencePiece) {
    return std::make_unique<SentencePieceTokenizer>(std::move(vocabulary));
  }
  ETALON_ASSIGN_OR_RETURN(Splitter splitter, Splitter::Create(*vocabulary.pre));
  return std::make_unique<BytePairTokenizer>(std::move(vocabulary),
                                             std::move(splitter));
}

void Tokenizer::AdoptVocabulary(Vocabulary* vocabulary) {
  tokens_ = std::move(vocabulary->tokens);
  types_ = std::move(vocabulary->types);
  end_of_generation_ = std::move(vocabulary->end_of_generation);
  warnings_ = std::move(vocabulary->warnings);
  bos_ = vocabulary->bos;
  eos_ = vocabulary->eos;
  unk_ = vocabulary->unk;
  add_bos_ = vocabulary->add_bos;
  add_eos_ = vocabulary->add_eos;
  add_space_prefix_ = vocabulary->add_space_prefix;
}

bool Tokenizer::IsEndOfGeneration(TokenId id) const {
  return std::ranges::binary_search(end_of_generation_, id);
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids) const {
  std::string out;
  bool at_start = add_space_prefix_;
  for (const TokenId id : ids) {
    const std::string piece = Piece(id);
    std::string_view shown = piece;
    if (at_start && !shown.empty()) {
      if (shown[0] == ' ') shown.remove_prefix(1);
      at_start = false;
    }
    out += shown;
  }
  return out;
}

}  // namespace etalon::text
