// Text from files: is it UTF-8, and how to show it in a one-line message.
#ifndef ETALON_IO_UNTRUSTED_TEXT_H_
#define ETALON_IO_UNTRUSTED_TEXT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace etalon::io {

// Offset of the first byte that starts no well-formed UTF-8 sequence (Unicode
// 15, table 3-7: no overlong forms, no surrogates, nothing over U+10FFFF).
std::optional<size_t> FirstBadUtf8(std::string_view text);

// Offset of the first control byte: 0x00..0x1F or 0x7F.
std::optional<size_t> FirstControlByte(std::string_view text);

// `text` for a message: one line, control and malformed bytes as \xNN, cut
// after about `max_bytes` with "...".
std::string Printable(std::string_view text, size_t max_bytes = 80);

}  // namespace etalon::io

#endif  // ETALON_IO_UNTRUSTED_TEXT_H_
