// How much memory a chunk of n tokens takes beside the cache, and how long
// chunks may be.
#ifndef ETALON_MODEL_CHUNK_MEMORY_H_
#define ETALON_MODEL_CHUNK_MEMORY_H_

#include <cstddef>

#include "model/model.h"
#include "model/session.h"

namespace etalon::model {

// What a layer, or the output after it, takes of the workspace: rows and
// scratch of attention, then of the feed-forward, of the widest layer.
size_t ScratchBytes(const Model& model, size_t n, const SessionOptions& o);

// The longest chunk of 512, 256, ... 32 tokens with which a program's memory
// stays within 64 MiB beside the file and the cache: long chunks share the
// unpacking of the weights, and halves divide usual prompts evenly. Never
// changes a result.
size_t ChooseBatch(const Model& model, const SessionOptions& o);

}  // namespace etalon::model

#endif  // ETALON_MODEL_CHUNK_MEMORY_H_
