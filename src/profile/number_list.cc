#include "profile/number_list.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace etalon::profile {
namespace {

constexpr size_t kMaxNumbers = 4096;

// Takes the digits at the start of `text`; nullopt when there are none or they
// do not fit.
std::optional<size_t> TakeNumber(std::string_view* text) {
  size_t n = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, n);
  if (error != std::errc()) return std::nullopt;
  text->remove_prefix(static_cast<size_t>(rest - text->data()));
  return n;
}

struct Range {
  size_t first = 0;
  size_t last = 0;
  char op = '+';
  size_t step = 1;
};

// first[-last[+step]] or first-last*factor.
std::optional<Range> ParseRange(std::string_view text) {
  Range r;
  const auto first = TakeNumber(&text);
  if (!first) return std::nullopt;
  r.first = r.last = *first;
  if (text.empty()) return r;
  if (text[0] != '-') return std::nullopt;
  text.remove_prefix(1);
  const auto last = TakeNumber(&text);
  if (!last || *last < r.first) return std::nullopt;
  r.last = *last;
  if (text.empty()) return r;
  r.op = text[0];
  if (r.op != '+' && r.op != '*') return std::nullopt;
  text.remove_prefix(1);
  const auto step = TakeNumber(&text);
  if (!step || !text.empty()) return std::nullopt;
  r.step = *step;
  // It must move: 0-8*2 stays at 0.
  const bool moves = r.op == '+' ? r.step > 0 : r.step > 1 && r.first > 0;
  return moves ? std::optional(r) : std::nullopt;
}

}  // namespace

Expected<std::vector<size_t>> ParseNumberList(std::string_view flag,
                                              std::string_view text,
                                              size_t max) {
  std::vector<size_t> numbers;
  std::string_view rest = text;
  while (true) {
    const size_t comma = rest.find(',');
    const auto range = ParseRange(rest.substr(0, comma));
    if (!range) {
      return InvalidArgument(
          fmt::format("{}: \"{}\" is not a list of N, N-M, N-M+STEP or "
                      "N-M*FACTOR",
                      flag, text));
    }
    if (range->last > max) {
      return InvalidArgument(fmt::format("{}: {} is over the limit of {}", flag,
                                         range->last, max));
    }
    for (size_t n = range->first; n <= range->last;
         n = range->op == '+' ? n + range->step : n * range->step) {
      if (numbers.size() == kMaxNumbers) {
        return InvalidArgument(fmt::format("{}: \"{}\" has over {} numbers",
                                           flag, text, kMaxNumbers));
      }
      numbers.push_back(n);
      if (range->step > max) break;  // the next one would leave size_t
    }
    if (comma == std::string_view::npos) return numbers;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace etalon::profile
