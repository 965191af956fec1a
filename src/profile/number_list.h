// Lists and ranges of numbers as llama-bench's flags have them:
//   "512", "1,2,4", "1-8" (step 1), "0-8192+1024", "1-64*2".
#ifndef ETALON_PROFILE_NUMBER_LIST_H_
#define ETALON_PROFILE_NUMBER_LIST_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "etalon/status.h"

namespace etalon::profile {

// Error: names the flag, the text and the form wanted. Numbers beyond `max`,
// ranges that run backwards or stand still, and lists of more than 4096 numbers
// are refused.
Expected<std::vector<size_t>> ParseNumberList(std::string_view flag,
                                              std::string_view text,
                                              size_t max);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_NUMBER_LIST_H_
