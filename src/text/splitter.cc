#include "text/splitter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace etalon::text {
namespace {

// In the class string every character is one byte: ASCII itself, or one of
// these. Expressions over classes are matched there, as plain bytes.
constexpr char kClassByte[] = {
    '\xD0',  // kOther
    '\xD1',  // kNumber
    '\xD2',  // kLetter
    '\xD3',  // kPunctuation
    '\xD4',  // kMark
    '\xD5',  // kSymbol
    '\v',    // kSpace: \s knows it
};
constexpr char kHanByte = '\xD6';

struct Category {
  std::string_view name;
  std::string_view members;  // inside [ ]
};
constexpr Category kCategories[] = {
    {"\\p{L}", "A-Za-z\\xD2"},
    {"\\p{N}", "0-9\\xD1"},
    {"\\p{P}", "!-#%-*,\\-./:;?@\\[\\\\\\]_{}\\xD3"},
    {"\\p{M}", "\\xD4"},
    {"\\p{S}", "$+<=>\\^`|\\xD5"},
    {"\\p{Han}", "\\xD6"},
};

// `pattern` with each \p{..} replaced by its members.
std::string ExpandCategories(std::string_view pattern) {
  std::string out;
  bool in_brackets = false;
  for (size_t i = 0; i < pattern.size();) {
    const Category* category = nullptr;
    for (const Category& c : kCategories) {
      if (pattern.substr(i, c.name.size()) == c.name) category = &c;
    }
    if (category != nullptr) {
      if (!in_brackets) out += '[';
      out += category->members;
      if (!in_brackets) out += ']';
      i += category->name.size();
    } else if (pattern[i] == '\\') {
      out += pattern.substr(i, 2);
      i += 2;
    } else {
      if (pattern[i] == '[') in_brackets = true;
      if (pattern[i] == ']') in_brackets = false;
      out += pattern[i++];
    }
  }
  return out;
}

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;
using MatchDataPtr =
    std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using MatchContextPtr =
    std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;

// What one match call at a time may write to.
struct Scratch {
  MatchDataPtr match{pcre2_match_data_create(1, nullptr)};
  MatchContextPtr context{pcre2_match_context_create(nullptr)};

  bool ok() const { return match != nullptr && context != nullptr; }
};

// The text as the stages see it.
struct Chars {
  std::string classes;            // one byte a character
  std::vector<uint32_t> begin;    // [n + 1] offsets in the text
  std::string utf8;               // valid; white space beyond ASCII is \v
  std::vector<uint32_t> utf8_at;  // [n + 1] offsets in utf8

  size_t size() const { return classes.size(); }
};

Chars Classify(std::string_view text, bool needs_code_points, bool needs_han) {
  Chars chars;
  chars.classes.reserve(text.size());
  chars.begin.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size();) {
    const DecodedChar c = DecodeUtf8(text.substr(at));
    chars.begin.push_back(static_cast<uint32_t>(at));
    if (c.code < 0x80) {
      chars.classes += static_cast<char>(c.code);
    } else if (needs_han && IsHan(c.code)) {
      chars.classes += kHanByte;
    } else {
      chars.classes += kClassByte[static_cast<size_t>(ClassOf(c.code))];
    }
    if (needs_code_points) {
      chars.utf8_at.push_back(static_cast<uint32_t>(chars.utf8.size()));
      const bool space = c.code >= 0x80 && chars.classes.back() == '\v';
      AppendUtf8(space ? U'\v' : c.code, &chars.utf8);
    }
    at += c.n_bytes;
  }
  chars.begin.push_back(static_cast<uint32_t>(text.size()));
  if (needs_code_points) {
    chars.utf8_at.push_back(static_cast<uint32_t>(chars.utf8.size()));
  }
  return chars;
}

bool IsDigit(char c) { return '0' <= c && c <= '9'; }
bool IsNumber(char c) {
  return IsDigit(c) || c == kClassByte[static_cast<size_t>(CharClass::kNumber)];
}

// Both append the ends of the new pieces of characters [begin, end).
void CutDigitTriples(const Chars& chars, size_t begin, size_t end,
                     std::vector<uint32_t>* ends) {
  for (size_t i = begin; i < end;) {
    size_t run_end = i;
    while (run_end < end && IsNumber(chars.classes[run_end])) ++run_end;
    const size_t n = run_end - i;
    if (n == 0) {
      ++i;
      continue;
    }
    for (size_t cut = i + (n % 3 == 0 ? 3 : n % 3); cut <= run_end; cut += 3) {
      ends->push_back(static_cast<uint32_t>(cut));
    }
    i = run_end;
  }
  ends->push_back(static_cast<uint32_t>(end));
}

void CutTripleBoundaries(const Chars& chars, size_t begin, size_t end,
                         std::vector<uint32_t>* ends) {
  for (size_t i = begin; i < end;) {
    size_t run_end = i;
    while (run_end < end && IsDigit(chars.classes[run_end])) ++run_end;
    for (size_t cut = i + (run_end - i) % 3; cut < run_end; cut += 3) {
      ends->push_back(static_cast<uint32_t>(cut));
    }
    i = std::max(run_end, i + 1);
  }
  ends->push_back(static_cast<uint32_t>(end));
}

// One match in `subject` from byte `from`; false if none, or if the matcher
// gave up (no memory): then the rest stays one piece.
bool Match(const pcre2_code* code, std::string_view subject, size_t from,
           const Scratch& scratch, size_t* match_begin, size_t* match_end) {
  const auto* data = reinterpret_cast<PCRE2_SPTR>(subject.data());
  int rc = pcre2_match(code, data, subject.size(), from, PCRE2_NO_UTF_CHECK,
                       scratch.match.get(), scratch.context.get());
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter uses the heap
    rc = pcre2_match(code, data, subject.size(), from,
                     PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.match.get(),
                     scratch.context.get());
  }
  if (rc < 0) return false;
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(scratch.match.get());
  *match_begin = range[0];
  *match_end = range[1];
  return *match_end > *match_begin;  // no expression here matches nothing
}

}  // namespace

struct Splitter::Stage {
  SplitStage::Kind kind;
  CodePtr code;
};

Splitter::Splitter() = default;
Splitter::Splitter(Splitter&&) noexcept = default;
Splitter& Splitter::operator=(Splitter&&) noexcept = default;
Splitter::~Splitter() = default;

Expected<Splitter> Splitter::Create(const PreTokenizer& pre) {
  Splitter splitter;
  for (const SplitStage& stage : pre.stages) {
    Stage compiled{stage.kind, nullptr};
    if (!stage.pattern.empty()) {
      const bool classes = stage.kind == SplitStage::Kind::kClasses;
      const std::string pattern = classes ? ExpandCategories(stage.pattern)
                                          : std::string(stage.pattern);
      if (classes) {
        splitter.needs_han_ |= pattern.find("\\xD6") != std::string::npos;
      } else {
        splitter.needs_code_points_ = true;
      }
      int error = 0;
      PCRE2_SIZE at = 0;
      // Without UCP: \s and \d mean ASCII only, what else is white space was
      // mapped to \v.
      const uint32_t options =
          PCRE2_DOLLAR_ENDONLY | (classes ? 0u : PCRE2_UTF);
      compiled.code.reset(
          pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                        pattern.size(), options, &error, &at, nullptr));
      if (compiled.code == nullptr) {
        return Fail(ErrorCode::kInternal,
                    fmt::format("pre-tokenizer expression \"{}\": PCRE2 error "
                                "{} at {}",
                                stage.pattern, error, at));
      }
      // Where the JIT is not available the interpreter gives the same matches.
      static_cast<void>(
          pcre2_jit_compile(compiled.code.get(), PCRE2_JIT_COMPLETE));
    }
    splitter.stages_.push_back(std::move(compiled));
  }
  return splitter;
}

void Splitter::Split(std::string_view text,
                     std::vector<std::string_view>* words) const {
  // Offsets are 32 bits wide; longer texts are cut, at a character.
  constexpr size_t kMaxBytes = size_t{1} << 30;
  while (text.size() > kMaxBytes) {
    size_t cut = kMaxBytes;
    while (cut > kMaxBytes - 4 &&
           (static_cast<uint8_t>(text[cut]) & 0xC0) == 0x80) {
      --cut;
    }
    Split(text.substr(0, cut), words);
    text.remove_prefix(cut);
  }
  if (text.empty()) return;
  const Chars chars = Classify(text, needs_code_points_, needs_han_);
  const Scratch scratch;
  if (!scratch.ok()) {
    words->push_back(text);
    return;
  }
  pcre2_set_match_limit(scratch.context.get(),
                        std::numeric_limits<uint32_t>::max());
  pcre2_set_depth_limit(scratch.context.get(),
                        std::numeric_limits<uint32_t>::max());

  std::vector<uint32_t> ends{static_cast<uint32_t>(chars.size())};
  std::vector<uint32_t> next;
  for (const Stage& stage : stages_) {
    next.clear();
    const bool classes = stage.kind == SplitStage::Kind::kClasses;
    size_t begin = 0;
    for (const size_t end : ends) {
      if (stage.kind == SplitStage::Kind::kDigitTriples) {
        CutDigitTriples(chars, begin, end, &next);
      } else if (stage.kind == SplitStage::Kind::kTripleBoundaries) {
        CutTripleBoundaries(chars, begin, end, &next);
      } else {
        // Each piece is a subject of its own: nothing looks beyond it.
        const size_t base = classes ? begin : chars.utf8_at[begin];
        const size_t limit = classes ? end : chars.utf8_at[end];
        const std::string_view subject =
            std::string_view(classes ? chars.classes : chars.utf8)
                .substr(base, limit - base);
        size_t from = 0, match_begin = 0, match_end = 0;
        size_t at = begin;  // character of the last cut
        const auto cut = [&](size_t offset) {
          if (classes) {
            at = begin + offset;
          } else {
            while (chars.utf8_at[at] < base + offset) ++at;
          }
          next.push_back(static_cast<uint32_t>(at));
        };
        while (from < subject.size() &&
               Match(stage.code.get(), subject, from, scratch, &match_begin,
                     &match_end)) {
          if (match_begin > from) cut(match_begin);
          cut(match_end);
          from = match_end;
        }
        if (from < subject.size()) next.push_back(static_cast<uint32_t>(end));
      }
      begin = end;
    }
    ends.swap(next);
  }

  uint32_t begin = 0;
  for (const uint32_t end : ends) {
    if (end > begin) {
      words->push_back(text.substr(chars.begin[begin],
                                   chars.begin[end] - chars.begin[begin]));
    }
    begin = end;
  }
}

}  // namespace etalon::text
