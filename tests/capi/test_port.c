/* A port in the smallest form: one op, compiled as C, loaded as a plug-in. */
#include <stddef.h>

#include "etalon/etalon.h"

static etalon_status Add(void* self, const etalon_add_args* args,
                         etalon_context* context) {
  uint64_t r, i;
  (void)context;
  if (args->a.cols != args->out.cols) {
    *(const char**)self = "the columns differ";
    return ETALON_INVALID_ARGUMENT;
  }
  for (r = 0; r < args->out.rows; ++r) {
    for (i = 0; i < args->out.cols; ++i) {
      args->out.data[r * args->out.stride + i] =
          args->a.data[r * args->a.stride + i] +
          args->b.data[r * args->b.stride + i];
    }
  }
  return ETALON_OK;
}

static etalon_status Softmax(void* self, const etalon_softmax_args* args,
                             etalon_context* context) {
  (void)args;
  (void)context;
  *(const char**)self = "no softmax of this shape yet";
  return ETALON_UNSUPPORTED;
}

static const char* LastError(void* self) { return *(const char**)self; }

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const etalon_backend*
etalon_backend_entry(void);

const etalon_backend* etalon_backend_entry(void) {
  static const char* message = "";
  static etalon_backend table;
  table.struct_size = sizeof table;
  table.name = "test-port";
  table.self = &message;
  table.last_error = LastError;
  table.add = Add;
  table.softmax = Softmax;
  return &table;
}
