// Models, sessions and quantised rows for C.
#include "model/model.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>

#include "capi/capi.h"
#include "model/session.h"
#include "quant/dequantize.h"
#include "quant/quantize_row.h"

struct etalon_model {
  std::unique_ptr<etalon::model::Model> model;
};
struct etalon_session {
  std::unique_ptr<etalon::model::Session> session;
};

namespace etalon::capi {
namespace {

Expected<int> Threads(int32_t n) {
  if (n < 0 || n > 4096) {
    return InvalidArgument(fmt::format("n_threads is {}, need 0 to 4096", n));
  }
  return std::max(n, 1);
}

Status CheckCacheType(uint32_t type, const char* field) {
  if (type != ETALON_TYPE_F32 && type != ETALON_TYPE_F16) {
    return InvalidArgument(
        fmt::format("{} is {}, need F32 or F16", field, type));
  }
  return {};
}

// Whole blocks of a known type, memory where there is something to touch and
// aligned as blocks are.
Status CheckRow(uint32_t type, const void* blocks, const float* values,
                uint64_t n) {
  const TypeTraits* traits = FindTypeTraits(static_cast<TensorType>(type));
  if (traits == nullptr) {
    return InvalidArgument(fmt::format("type {} is unknown", type));
  }
  if (n % traits->block_size != 0) {
    return InvalidArgument(fmt::format("n is {}, need a multiple of {} for {}",
                                       n, traits->block_size, traits->name));
  }
  if (n > 0 && (blocks == nullptr || values == nullptr)) {
    return InvalidArgument("blocks or values is NULL");
  }
  if (reinterpret_cast<uintptr_t>(blocks) % 4 != 0) {
    return InvalidArgument("blocks must be aligned to 4 bytes");
  }
  return {};
}

}  // namespace
}  // namespace etalon::capi

using etalon::ErrorCode;
using etalon::InvalidArgument;
using etalon::Status;
using etalon::TensorType;
using etalon::capi::Adopt;
using etalon::capi::Guard;

extern "C" {

etalon_status etalon_dequantize(uint32_t type, const void* blocks, uint64_t n,
                                float* out) {
  return Guard([&]() -> Status {
    ETALON_RETURN_IF_ERROR(etalon::capi::CheckRow(type, blocks, out, n));
    etalon::DequantizeRow(static_cast<TensorType>(type),
                          static_cast<const std::byte*>(blocks), n, out);
    return {};
  });
}

etalon_status etalon_quantize_activations(uint32_t type, const float* x,
                                          uint64_t n, void* blocks) {
  return Guard([&]() -> Status {
    ETALON_RETURN_IF_ERROR(etalon::capi::CheckRow(type, blocks, x, n));
    if (type == ETALON_TYPE_Q8_K) {
      etalon::QuantizeRowQ8K(x, n, static_cast<etalon::BlockQ8_K*>(blocks));
    } else if (type == ETALON_TYPE_Q8_0) {
      etalon::QuantizeRowQ80(x, n, static_cast<etalon::BlockQ8_0*>(blocks));
    } else {
      return InvalidArgument(
          fmt::format("type {}: activations are Q8_K or Q8_0", type));
    }
    return {};
  });
}

uint64_t etalon_row_bytes(uint32_t type, uint64_t n) {
  const etalon::TypeTraits* traits =
      etalon::FindTypeTraits(static_cast<TensorType>(type));
  if (traits == nullptr || n % traits->block_size != 0) return 0;
  const uint64_t blocks = n / traits->block_size;
  if (blocks > UINT64_MAX / traits->block_bytes) return 0;
  return blocks * traits->block_bytes;
}

etalon_status etalon_model_load(const char* path,
                                const etalon_model_params* params,
                                etalon_model** out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(path != nullptr, "path is NULL");
    ETALON_ENSURE(out != nullptr, "out is NULL");
    etalon_model_params p{};
    if (params != nullptr) {
      ETALON_ASSIGN_OR_RETURN(p, Adopt(params, "etalon_model_params"));
    }
    etalon::model::LoadOptions options;
    ETALON_ASSIGN_OR_RETURN(options.n_threads,
                            etalon::capi::Threads(p.n_threads));
    options.check_weights = p.skip_check == 0;
    ETALON_ASSIGN_OR_RETURN(auto model,
                            etalon::model::Model::Load(path, options));
    *out = new etalon_model{std::move(model)};
    return {};
  });
}

void etalon_model_destroy(etalon_model* model) { delete model; }

etalon_status etalon_model_get_info(const etalon_model* model,
                                    etalon_model_info* info) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(model != nullptr, "model is NULL");
    ETALON_ENSURE(info != nullptr, "info is NULL");
    const uint32_t size = info->struct_size;
    ETALON_ENSURE(size >= sizeof size,
                  fmt::format("etalon_model_info.struct_size is {}, need "
                              "sizeof(etalon_model_info)",
                              size));
    const auto& hp = model->model->hyperparameters();
    etalon_model_info full{};
    full.struct_size = size;
    full.n_vocab = hp.n_vocab;
    full.n_ctx_train = hp.n_ctx_train;
    full.n_layers = hp.n_layers;
    full.model_dim = hp.model_dim;
    full.head_dim = hp.head_dim;
    std::memcpy(info, &full, std::min<size_t>(size, sizeof full));
    return {};
  });
}

etalon_status etalon_session_create(const etalon_model* model,
                                    const etalon_session_params* params,
                                    etalon_session** out) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(model != nullptr, "model is NULL");
    ETALON_ENSURE(out != nullptr, "out is NULL");
    etalon_session_params p{};
    if (params != nullptr) {
      ETALON_ASSIGN_OR_RETURN(p, Adopt(params, "etalon_session_params"));
    }
    etalon::model::SessionOptions options;
    if (p.n_ctx != 0) options.n_ctx = p.n_ctx;
    options.n_batch = p.n_batch;
    ETALON_RETURN_IF_ERROR(etalon::capi::CheckCacheType(p.k_type, "k_type"));
    ETALON_RETURN_IF_ERROR(etalon::capi::CheckCacheType(p.v_type, "v_type"));
    options.k_type = static_cast<TensorType>(p.k_type);
    options.v_type = static_cast<TensorType>(p.v_type);
    ETALON_ASSIGN_OR_RETURN(options.n_threads,
                            etalon::capi::Threads(p.n_threads));
    if (p.backend != nullptr) {
      options.backend = etalon::FindBackend(p.backend);
      ETALON_ENSURE(options.backend != nullptr,
                    fmt::format("backend \"{}\" is unknown", p.backend));
    }
    ETALON_ASSIGN_OR_RETURN(
        auto session, etalon::model::Session::Create(*model->model, options));
    *out = new etalon_session{std::move(session)};
    return {};
  });
}

void etalon_session_destroy(etalon_session* session) { delete session; }

etalon_status etalon_session_append(etalon_session* session,
                                    const int32_t* tokens, uint64_t n_tokens,
                                    const etalon_matrix* logits) {
  return Guard([&]() -> Status {
    ETALON_ENSURE(session != nullptr, "session is NULL");
    ETALON_ENSURE(tokens != nullptr || n_tokens == 0, "tokens is NULL");
    etalon::Span2D<float> rows;
    if (logits != nullptr) {
      ETALON_ENSURE(logits->data != nullptr, "logits->data is NULL");
      rows = {logits->data, logits->rows, logits->cols, logits->stride};
    }
    return session->session->Append({tokens, n_tokens}, rows);
  });
}

uint64_t etalon_session_n_past(const etalon_session* session) {
  return session != nullptr ? session->session->n_past() : 0;
}

void etalon_session_truncate(etalon_session* session, uint64_t n) {
  if (session != nullptr) session->session->Truncate(n);
}

}  // extern "C"
