// Writes a trained net as a GGUF file of architecture llama.
#ifndef ETALON_TRAIN_MODEL_FILE_H_
#define ETALON_TRAIN_MODEL_FILE_H_

#include <string>

#include "train/byte_pairs.h"
#include "train/net.h"

namespace etalon::train {

Status WriteModel(const std::string& path, const std::string& name,
                  const BytePairVocabulary& vocabulary, Net& net);

}  // namespace etalon::train

#endif  // ETALON_TRAIN_MODEL_FILE_H_
