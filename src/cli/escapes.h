// Escapes in a prompt given on the command line.
#ifndef ETALON_CLI_ESCAPES_H_
#define ETALON_CLI_ESCAPES_H_

#include <string>
#include <string_view>

namespace etalon::cli {

// \n \r \t \' \" \\ and \xHH become the bytes they stand for; anything else
// stays as it is.
std::string ProcessEscapes(std::string_view text);

}  // namespace etalon::cli

#endif  // ETALON_CLI_ESCAPES_H_
