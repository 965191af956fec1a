// What a whole model is quantised to: one type for nearly everything, or a mix
// that spends more bits where they matter. Names and numbers
// (general.file_type) are those of the GGUF format's other tools.
#ifndef ETALON_QUANTIZE_FILE_TYPE_H_
#define ETALON_QUANTIZE_FILE_TYPE_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "etalon/status.h"
#include "etalon/types.h"

namespace etalon::quantize {

enum class FileType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 7,
  kQ5_0 = 8,
  kQ5_1 = 9,
  kQ4_K_S = 14,
  kQ4_K_M = 15,
  kQ5_K_S = 16,
  kQ5_K_M = 17,
  kQ6_K = 18,
  kBF16 = 32,
};

struct FileTypeInfo {
  FileType file_type;
  std::string_view name;  // "Q4_K_M"
  TensorType base;        // what a tensor gets that no rule singles out
  std::string_view description;
};

std::span<const FileTypeInfo> FileTypes();
const FileTypeInfo& GetFileTypeInfo(FileType file_type);

// By name, in any case, or by number; Q4_K and Q5_K mean their _M mix. The
// error lists the names.
Expected<FileType> ParseFileType(std::string_view name);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_FILE_TYPE_H_
