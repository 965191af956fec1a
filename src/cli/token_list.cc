#include "cli/token_list.h"

#include <fmt/format.h>

#include <charconv>

namespace etalon::cli {

// Numbers beyond int32 are kept out of range.
Expected<std::vector<int32_t>> ParseTokens(std::string_view text,
                                           size_t n_vocab) {
  std::vector<int32_t> tokens;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    int64_t value = 0;
    const auto [end, ec] =
        std::from_chars(item.data(), item.data() + item.size(), value);
    const bool number = end == item.data() + item.size() && !item.empty();
    if (ec == std::errc::invalid_argument || !number) {
      return InvalidArgument(
          fmt::format("--tokens: \"{}\" is not a token id", item));
    }
    if (ec != std::errc() || value < 0 ||
        static_cast<uint64_t>(value) >= n_vocab) {
      return BadInput(fmt::format("--tokens[{}]: {} is outside 0..{}",
                                  tokens.size(), item, n_vocab - 1));
    }
    tokens.push_back(static_cast<int32_t>(value));
    if (comma == std::string_view::npos) return tokens;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace etalon::cli
