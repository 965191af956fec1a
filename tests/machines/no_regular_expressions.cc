// Tokenizers need libpcre2, which is not there for a foreign architecture; the
// models of this check have no vocabulary. Compiling an expression fails.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

extern "C" {

pcre2_code* pcre2_compile(PCRE2_SPTR, PCRE2_SIZE, uint32_t, int* error,
                          PCRE2_SIZE* offset, pcre2_compile_context*) {
  *error = PCRE2_ERROR_NOMEMORY;
  *offset = 0;
  return nullptr;
}
void pcre2_code_free(pcre2_code*) {}
int pcre2_get_error_message(int, PCRE2_UCHAR* buffer, PCRE2_SIZE size) {
  if (size > 0) *buffer = 0;
  return 0;
}
int pcre2_jit_compile(pcre2_code*, uint32_t) {
  return PCRE2_ERROR_JIT_BADOPTION;
}
PCRE2_SIZE* pcre2_get_ovector_pointer(pcre2_match_data*) { return nullptr; }
int pcre2_match(const pcre2_code*, PCRE2_SPTR, PCRE2_SIZE, PCRE2_SIZE, uint32_t,
                pcre2_match_data*, pcre2_match_context*) {
  return PCRE2_ERROR_NOMATCH;
}
pcre2_match_context* pcre2_match_context_create(pcre2_general_context*) {
  return nullptr;
}
void pcre2_match_context_free(pcre2_match_context*) {}
pcre2_match_data* pcre2_match_data_create(uint32_t, pcre2_general_context*) {
  return nullptr;
}
void pcre2_match_data_free(pcre2_match_data*) {}
int pcre2_set_depth_limit(pcre2_match_context*, uint32_t) { return 0; }
int pcre2_set_match_limit(pcre2_match_context*, uint32_t) { return 0; }

}  // extern "C"
