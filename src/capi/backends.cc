// The registry: C++ tables shown to C, and C tables of ports shown to C++.
#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "capi/capi.h"
#include "capi/convert.h"
#include "etalon/backend.h"

namespace etalon {
namespace {

using capi::CParts;
using capi::CppParts;

// ---- a C++ table as a C table: `self` is the Backend ----

#define ETALON_CAPI_ENTRY(op, Args)                                          \
  etalon_status Call_##op(void* self, const etalon_##op##_args* args,        \
                          etalon_context* context) {                         \
    return capi::Guard([&]() -> Status {                                     \
      if (context == nullptr) return InvalidArgument("context is NULL");     \
      const Backend& backend = *static_cast<const Backend*>(self);           \
      if (backend.op == nullptr) {                                           \
        return Fail(ErrorCode::kUnsupported,                                 \
                    fmt::format("backend {} has no {}", backend.name, #op)); \
      }                                                                      \
      CppParts parts;                                                        \
      ETALON_ASSIGN_OR_RETURN(const Args a, capi::ToCpp(args, &parts));      \
      return backend.op(a, context->exec);                                   \
    });                                                                      \
  }
ETALON_CAPI_OPS(ETALON_CAPI_ENTRY)
#undef ETALON_CAPI_ENTRY

etalon_backend TableFor(const Backend& backend, const char* name) {
  etalon_backend table{};
  table.struct_size = sizeof table;
  table.name = name;
  // C has no const void* self; the entries above do not write through it.
  table.self = const_cast<Backend*>(&backend);
  table.last_error = [](void*) { return etalon_last_error(); };
#define ETALON_CAPI_SET(op, Args) table.op = Call_##op;
  ETALON_CAPI_OPS(ETALON_CAPI_SET)
#undef ETALON_CAPI_SET
  return table;
}

// ---- a port's C table as a C++ table ----

// Entries of a Backend are plain functions, without a self: each port takes
// one of a few slots, and every slot has its own set of entries.
constexpr size_t kMaxPorts = 8;
std::array<etalon_backend, kMaxPorts>& Ports() {
  static std::array<etalon_backend, kMaxPorts> ports{};
  return ports;
}

Status FromPort(const etalon_backend& port, etalon_status status) {
  if (status == ETALON_OK) return {};
  const char* line =
      port.last_error != nullptr ? port.last_error(port.self) : nullptr;
  return capi::FromC(status, fmt::format("backend {}: {}", port.name,
                                         line != nullptr && *line != '\0'
                                             ? line
                                             : etalon_status_name(status)));
}

#define ETALON_CAPI_SLOT(op, Args)                                      \
  template <size_t kSlot>                                               \
  Status Slot_##op(const Args& args, ExecContext& ctx) {                \
    const etalon_backend& port = Ports()[kSlot];                        \
    if (port.op == nullptr) {                                           \
      return Fail(ErrorCode::kUnsupported,                              \
                  fmt::format("backend {} has no {}", port.name, #op)); \
    }                                                                   \
    CParts parts;                                                       \
    ETALON_ASSIGN_OR_RETURN(const auto a, capi::ToC(args, &parts));     \
    etalon_context context{ctx};                                        \
    return FromPort(port, port.op(port.self, &a, &context));            \
  }
ETALON_CAPI_OPS(ETALON_CAPI_SLOT)
#undef ETALON_CAPI_SLOT

template <size_t kSlot>
Backend SlotTable() {
  const etalon_backend& port = Ports()[kSlot];
  Backend table{};
  table.name = port.name;
#define ETALON_CAPI_SET(op, Args) table.op = Slot_##op<kSlot>;
  ETALON_CAPI_OPS(ETALON_CAPI_SET)
#undef ETALON_CAPI_SET
  return table;
}
template <size_t... kSlots>
Backend SlotTable(size_t slot, std::index_sequence<kSlots...>) {
  Backend table{};
  static_cast<void>(
      ((kSlots == slot && (table = SlotTable<kSlots>(), true)) || ...));
  return table;
}

// ---- the registry ----

struct Entry {
  std::string name;
  const Backend* cpp = nullptr;
  Backend owned{};  // what `cpp` points to, of a port
  etalon_backend c{};
};

struct Registry {
  std::mutex mutex;
  std::deque<Entry> entries;  // a deque: addresses are handed out
  size_t n_ports = 0;

  Registry() {
    AddCpp(ReferenceBackend());
    AddCpp(CpuBackend());
  }
  Entry& AddCpp(const Backend& backend) {
    Entry& e = entries.emplace_back();
    e.name = backend.name;
    e.cpp = &backend;
    e.c = TableFor(backend, e.name.c_str());
    return e;
  }
  const Entry* Find(std::string_view name) const {
    for (const Entry& e : entries) {
      if (e.name == name) return &e;
    }
    return nullptr;
  }
  Status CheckName(std::string_view name) const {
    constexpr std::string_view kAllowed =
        "abcdefghijklmnopqrstuvwxyz0123456789-";
    if (name.empty() || name.size() > 64 ||
        name.find_first_not_of(kAllowed) != std::string_view::npos) {
      return InvalidArgument(
          "backend: the name needs 1 to 64 lower case letters, digits or -");
    }
    if (Find(name) != nullptr) {
      return InvalidArgument(
          fmt::format("backend {}: the name is taken", name));
    }
    return {};
  }
};
Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

Status RegisterPort(const etalon_backend* backend) {
  ETALON_ASSIGN_OR_RETURN(etalon_backend table,
                          capi::Adopt(backend, "etalon_backend"));
  ETALON_ENSURE(table.name != nullptr, "etalon_backend.name is NULL");
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  ETALON_RETURN_IF_ERROR(registry.CheckName(table.name));
  if (registry.n_ports == kMaxPorts) {
    return Fail(ErrorCode::kLimit,
                fmt::format("backend {}: {} ports are registered already",
                            table.name, kMaxPorts));
  }
  Entry& e = registry.entries.emplace_back();
  e.name = table.name;
  table.name = e.name.c_str();
  const size_t slot = registry.n_ports++;
  Ports()[slot] = table;
  e.c = table;
  e.owned = SlotTable(slot, std::make_index_sequence<kMaxPorts>());
  e.cpp = &e.owned;
  return {};
}

}  // namespace

std::vector<const Backend*> Backends() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  std::vector<const Backend*> all;
  for (const Entry& e : registry.entries) all.push_back(e.cpp);
  return all;
}

const Backend* FindBackend(std::string_view name) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  const Entry* e = registry.Find(name);
  return e != nullptr ? e->cpp : nullptr;
}

Status RegisterBackend(const Backend& backend) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  ETALON_RETURN_IF_ERROR(registry.CheckName(backend.name));
  registry.AddCpp(backend);
  return {};
}

Status LoadBackend(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return BadInput(fmt::format("{}: {}", path, dlerror()));
  }
  using EntryPoint = const etalon_backend* (*)();
  const auto entry =
      reinterpret_cast<EntryPoint>(dlsym(library, "etalon_backend_entry"));
  Status status = entry == nullptr
                      ? Status(BadInput(path + ": it does not export "
                                               "etalon_backend_entry"))
                      : RegisterPort(entry());
  if (!status) dlclose(library);
  return status;
}

}  // namespace etalon

extern "C" {

const etalon_backend* etalon_backend_find(const char* name) {
  if (name == nullptr) return nullptr;
  etalon::Registry& registry = etalon::TheRegistry();
  const std::lock_guard lock(registry.mutex);
  const etalon::Entry* e = registry.Find(name);
  return e != nullptr ? &e->c : nullptr;
}

etalon_status etalon_backend_register(const etalon_backend* backend) {
  return etalon::capi::Guard([&] { return etalon::RegisterPort(backend); });
}

etalon_status etalon_backend_load(const char* path) {
  return etalon::capi::Guard([&]() -> etalon::Status {
    if (path == nullptr) return etalon::InvalidArgument("path is NULL");
    return etalon::LoadBackend(path);
  });
}

const char* etalon_backend_name(uint64_t index) {
  etalon::Registry& registry = etalon::TheRegistry();
  const std::lock_guard lock(registry.mutex);
  if (index >= registry.entries.size()) return nullptr;
  return registry.entries[index].name.c_str();
}

}  // extern "C"
