// Checks at the entry of the reference's attention.
#ifndef ETALON_REFERENCE_ATTENTION_VALIDATE_H_
#define ETALON_REFERENCE_ATTENTION_VALIDATE_H_

#include "etalon/attention.h"

namespace etalon::reference {
Status ValidateAttention(const AttentionArgs& args);
}

#endif  // ETALON_REFERENCE_ATTENTION_VALIDATE_H_
