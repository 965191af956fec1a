// Token ids on the command line.
#ifndef ETALON_CLI_TOKEN_LIST_H_
#define ETALON_CLI_TOKEN_LIST_H_

#include <string_view>
#include <vector>

#include "etalon/status.h"

namespace etalon::cli {

// "1,2,3" (blanks allowed), each below n_vocab.
Expected<std::vector<int32_t>> ParseTokens(std::string_view text,
                                           size_t n_vocab);

}  // namespace etalon::cli

#endif  // ETALON_CLI_TOKEN_LIST_H_
