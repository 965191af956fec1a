// Ministral 3 and Mistral Small 3: the llama block, usually with YaRN and with
// a query temperature that grows with the position.
#include "model/architecture.h"

namespace etalon::model {

Architecture Mistral3Architecture() {
  Architecture a = LlamaArchitecture();
  a.name = "mistral3";
  a.attn_temperature = true;
  return a;
}

}  // namespace etalon::model
