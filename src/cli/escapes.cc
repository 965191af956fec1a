#include "cli/escapes.h"

#include <charconv>

namespace etalon::cli {

std::string ProcessEscapes(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    switch (c) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case '\'':
      case '"':
      case '\\':
        out += c;
        break;
      case 'x': {
        unsigned value = 0;
        const char* digits = text.data() + i + 1;
        if (i + 2 < text.size() &&
            std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
          out += static_cast<char>(value);
          i += 2;
          break;
        }
        [[fallthrough]];
      }
      default:
        out += '\\';
        out += c;
    }
  }
  return out;
}

}  // namespace etalon::cli
