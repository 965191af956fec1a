#include "train/byte_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "text/byte_pair.h"
#include "text/pre_tokenizers.h"
#include "text/splitter.h"

namespace etalon::train {
namespace {

using Pair = std::pair<int32_t, int32_t>;
struct PairHash {
  size_t operator()(const Pair& p) const {
    const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(p.first))
                             << 32 |
                         static_cast<uint32_t>(p.second);
    return static_cast<size_t>(key * 0x9e3779b97f4a7c15u >> 7);
  }
};

struct Word {
  std::vector<int32_t> ids;
  int64_t count = 0;
};

struct PairStatistics {
  int64_t count = 0;
  std::unordered_set<size_t> words;  // that may contain it
};

void AppendUtf8(char32_t c, std::string* out) {
  const auto byte = [&](uint32_t b) { out->push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    byte(c);
  } else {  // the byte alphabet ends below U+0800
    byte(0xc0 | c >> 6);
    byte(0x80 | (c & 0x3f));
  }
}

std::vector<Word> CountWords(std::string_view text,
                             const text::Splitter& splitter) {
  std::unordered_map<std::string_view, size_t> index;
  std::vector<Word> words;
  std::vector<std::string_view> pieces;
  for (size_t begin = 0; begin < text.size();) {
    // Line by line: the splitter's memory stays small, and white space at the
    // seams is cut at lines anyway.
    size_t end = text.find('\n', begin + (size_t{1} << 16));
    end = end == std::string_view::npos ? text.size() : end + 1;
    pieces.clear();
    splitter.Split(text.substr(begin, end - begin), &pieces);
    for (const std::string_view piece : pieces) {
      const auto [at, is_new] = index.try_emplace(piece, words.size());
      if (is_new) {
        Word& word = words.emplace_back();
        for (const char c : piece) {
          word.ids.push_back(1 + static_cast<uint8_t>(c));
        }
      }
      ++words[at->second].count;
    }
    begin = end;
  }
  return words;
}

class Learner {
 public:
  explicit Learner(std::vector<Word> words) : words_(std::move(words)) {
    for (size_t w = 0; w < words_.size(); ++w) {
      const Word& word = words_[w];
      for (size_t i = 0; i + 1 < word.ids.size(); ++i) {
        Change({word.ids[i], word.ids[i + 1]}, word.count, w);
      }
    }
    for (const auto& [pair, s] : pairs_) queue_.push({s.count, pair});
  }

  // The best pair, merged everywhere into `id`; false when none occurs twice.
  bool MergeBest(int32_t id, Pair* best) {
    while (!queue_.empty()) {
      const Entry top = queue_.top();
      queue_.pop();
      const auto at = pairs_.find(top.pair);
      if (at == pairs_.end() || at->second.count != top.count) continue;
      if (top.count < 2) return false;
      *best = top.pair;
      Merge(top.pair, id, std::move(at->second.words));
      return true;
    }
    return false;
  }

 private:
  struct Entry {
    int64_t count;
    Pair pair;
    bool operator<(const Entry& o) const {
      return count != o.count ? count < o.count : pair > o.pair;
    }
  };

  void Change(const Pair& pair, int64_t by, size_t word) {
    PairStatistics& s = pairs_[pair];
    s.count += by;
    if (by > 0) s.words.insert(word);
  }

  void Merge(Pair pair, int32_t id, std::unordered_set<size_t> in_words) {
    std::unordered_set<Pair, PairHash> changed;
    for (const size_t w : in_words) {
      Word& word = words_[w];
      std::vector<int32_t>& ids = word.ids;
      const std::vector<int32_t> before = ids;
      size_t to = 0;
      for (size_t i = 0; i < before.size(); ++to) {
        const bool here = i + 1 < before.size() && before[i] == pair.first &&
                          before[i + 1] == pair.second;
        ids[to] = here ? id : before[i];
        i += here ? 2 : 1;
      }
      if (to == before.size()) continue;
      ids.resize(to);
      for (size_t i = 0; i + 1 < before.size(); ++i) {
        const Pair p = {before[i], before[i + 1]};
        Change(p, -word.count, w);
        changed.insert(p);
      }
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        const Pair p = {ids[i], ids[i + 1]};
        Change(p, word.count, w);
        changed.insert(p);
      }
    }
    pairs_.erase(pair);
    changed.erase(pair);
    for (const Pair& p : changed) queue_.push({pairs_[p].count, p});
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, PairStatistics, PairHash> pairs_;
  std::priority_queue<Entry> queue_;
};

}  // namespace

Expected<BytePairVocabulary> LearnBytePairs(std::string_view text,
                                            size_t n_vocab) {
  ETALON_ENSURE(n_vocab >= kFirstMerge && n_vocab <= (size_t{1} << 17),
                fmt::format("vocabulary of {} tokens: need {}..{}", n_vocab,
                            kFirstMerge, size_t{1} << 17));
  ETALON_ASSIGN_OR_RETURN(
      const text::Splitter splitter,
      text::Splitter::Create(*text::FindPreTokenizer(kPreTokenizer)));
  BytePairVocabulary v;
  v.tokens.push_back("<|endoftext|>");
  for (int byte = 0; byte < 256; ++byte) {
    AppendUtf8(text::ByteToAlphabet(static_cast<uint8_t>(byte)),
               &v.tokens.emplace_back());
  }
  Learner learner(CountWords(text, splitter));
  while (v.tokens.size() < n_vocab) {
    Pair best;
    if (!learner.MergeBest(static_cast<int32_t>(v.tokens.size()), &best)) break;
    const std::string& left = v.tokens[static_cast<size_t>(best.first)];
    const std::string& right = v.tokens[static_cast<size_t>(best.second)];
    v.merges.push_back(left + " " + right);
    v.tokens.push_back(left + right);
  }
  return v;
}

Status AddVocabulary(const BytePairVocabulary& v, io::GgufWriter& writer) {
  constexpr int32_t kNormal = 1, kControl = 3;
  std::vector<int32_t> types(v.tokens.size(), kNormal);
  types[kEndOfText] = kControl;
  const uint32_t end = kEndOfText;
  ETALON_RETURN_IF_ERROR(writer.AddString("tokenizer.ggml.model", "gpt2"));
  ETALON_RETURN_IF_ERROR(writer.AddString("tokenizer.ggml.pre", kPreTokenizer));
  ETALON_RETURN_IF_ERROR(writer.AddStrings("tokenizer.ggml.tokens", v.tokens));
  ETALON_RETURN_IF_ERROR(
      writer.AddNumbers<int32_t>("tokenizer.ggml.token_type", types));
  ETALON_RETURN_IF_ERROR(writer.AddStrings("tokenizer.ggml.merges", v.merges));
  ETALON_RETURN_IF_ERROR(writer.AddNumber("tokenizer.ggml.bos_token_id", end));
  ETALON_RETURN_IF_ERROR(writer.AddNumber("tokenizer.ggml.eos_token_id", end));
  return writer.AddBool("tokenizer.ggml.add_bos_token", true);
}

}  // namespace etalon::train
