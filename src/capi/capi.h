// What the C interface is made of: how errors cross it, and how its structs
// become those of the C++ headers.
#ifndef ETALON_CAPI_CAPI_H_
#define ETALON_CAPI_CAPI_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "etalon/config.h"
#include "etalon/etalon.h"
#include "etalon/status.h"
#include "etalon/workspace.h"

// Opaque to C. A context of C++ callers borrows all three.
struct etalon_context {
  etalon::ExecContext exec;
};

namespace etalon::capi {

// Remembers the line and returns the code.
etalon_status SetError(const Error& error);

// The code of a C status; `message` is what the other side had to say.
Status FromC(etalon_status status, std::string message);

// Runs the body of a C function: nothing is thrown across the boundary.
template <class Body>
etalon_status Guard(const Body& body) {
  try {
    const Status status = body();
    return status ? ETALON_OK : SetError(status.error());
  } catch (const std::bad_alloc&) {
    return SetError({ErrorCode::kLimit, "out of memory"});
  } catch (const std::exception& e) {
    return SetError({ErrorCode::kInternal, e.what()});
  } catch (...) {
    return SetError({ErrorCode::kInternal, "an unknown exception"});
  }
}

// A caller's struct as this library knows it: fields it does not have are 0;
// fields that this library does not have must be 0.
template <class T>
Expected<T> Adopt(const T* from, const char* name) {
  if (from == nullptr) {
    return InvalidArgument(std::string(name) + " is NULL");
  }
  const size_t size = from->struct_size;
  constexpr size_t kMaxSize = 4096;
  if (size < sizeof(from->struct_size) || size > kMaxSize) {
    return InvalidArgument(std::string(name) + ".struct_size is " +
                           std::to_string(size) + ", need sizeof(" + name +
                           ")");
  }
  T to{};
  std::memcpy(&to, from, std::min(size, sizeof to));
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(from);
  for (size_t i = sizeof to; i < size; ++i) {
    if (bytes[i] == 0) continue;
    return InvalidArgument(std::string(name) + " has a field at byte " +
                           std::to_string(i) + " that this library (" +
                           std::to_string(sizeof to) + " bytes) does not know");
  }
  return to;
}

}  // namespace etalon::capi

#endif  // ETALON_CAPI_CAPI_H_
