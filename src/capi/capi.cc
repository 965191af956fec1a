#include "capi/capi.h"

#include "etalon/simd_tier.h"
#include "etalon/version.h"

namespace etalon::capi {
namespace {

std::string& LastError() {
  thread_local std::string message;
  return message;
}

etalon_status ToC(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return ETALON_INVALID_ARGUMENT;
    case ErrorCode::kBadInput:
      return ETALON_BAD_INPUT;
    case ErrorCode::kIo:
      return ETALON_IO;
    case ErrorCode::kLimit:
      return ETALON_LIMIT;
    case ErrorCode::kUnsupported:
      return ETALON_UNSUPPORTED;
    case ErrorCode::kInternal:
      break;
  }
  return ETALON_INTERNAL;
}

struct OwnedContext : etalon_context {
  Workspace workspace;
  Config config;
};

}  // namespace

etalon_status SetError(const Error& error) {
  try {
    LastError() = error.message;
  } catch (...) {
    LastError().clear();  // no memory for the line; the code remains
  }
  return ToC(error.code);
}

Status FromC(etalon_status status, std::string message) {
  if (status == ETALON_OK) return {};
  ErrorCode code = ErrorCode::kInternal;
  for (const ErrorCode c :
       {ErrorCode::kInvalidArgument, ErrorCode::kBadInput, ErrorCode::kIo,
        ErrorCode::kLimit, ErrorCode::kUnsupported}) {
    if (ToC(c) == status) code = c;
  }
  if (message.empty()) message = etalon_status_name(status);
  return Fail(code, std::move(message));
}

}  // namespace etalon::capi

using etalon::capi::Adopt;
using etalon::capi::Guard;

extern "C" {

const char* etalon_version() { return etalon::kVersion; }
uint32_t etalon_abi_version() { return ETALON_ABI_VERSION; }

const char* etalon_status_name(etalon_status status) {
  switch (status) {
    case ETALON_OK:
      return "ok";
    case ETALON_INVALID_ARGUMENT:
      return "invalid argument";
    case ETALON_BAD_INPUT:
      return "bad input";
    case ETALON_IO:
      return "input or output failed";
    case ETALON_LIMIT:
      return "a limit was exceeded";
    case ETALON_INTERNAL:
      return "internal error";
    case ETALON_UNSUPPORTED:
      return "unsupported";
    default:
      return "unknown status";
  }
}

const char* etalon_last_error() { return etalon::capi::LastError().c_str(); }

etalon_status etalon_context_create(const etalon_context_params* params,
                                    etalon_context** out) {
  return Guard([&]() -> etalon::Status {
    if (out == nullptr) return etalon::InvalidArgument("out is NULL");
    etalon_context_params p{};
    if (params != nullptr) {
      ETALON_ASSIGN_OR_RETURN(p, Adopt(params, "etalon_context_params"));
    }
    if (p.n_threads < 0 || p.n_threads > 4096) {
      return etalon::InvalidArgument(
          "n_threads is " + std::to_string(p.n_threads) + ", need 0 to 4096");
    }
    auto context = std::make_unique<etalon::capi::OwnedContext>();
    context->config.strict_parity = p.strict_parity != 0;
    if (p.f32_activations != 0) context->config.q8k_activations = false;
    context->exec = {&context->workspace, &context->config,
                     p.strict_parity != 0 ? 1 : std::max(p.n_threads, 1)};
    *out = context.release();
    return {};
  });
}

void etalon_context_destroy(etalon_context* context) {
  delete static_cast<etalon::capi::OwnedContext*>(context);
}

const char* etalon_simd_tier() {
  return etalon::SimdTierName(etalon::ActiveSimdTier()).data();
}

etalon_status etalon_set_simd_tier(const char* name) {
  return Guard([&]() -> etalon::Status {
    if (name == nullptr) return etalon::InvalidArgument("name is NULL");
    ETALON_ASSIGN_OR_RETURN(const etalon::SimdTier tier,
                            etalon::ParseSimdTier(name));
    return etalon::SetActiveSimdTier(tier);
  });
}

}  // extern "C"
