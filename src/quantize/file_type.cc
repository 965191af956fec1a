#include "quantize/file_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace etalon::quantize {
namespace {

constexpr std::array<FileTypeInfo, 13> kFileTypes = {{
    {FileType::kQ4_0, "Q4_0", TensorType::kQ4_0, "4.5 bits per weight"},
    {FileType::kQ4_1, "Q4_1", TensorType::kQ4_1, "5 bits, with a minimum"},
    {FileType::kQ5_0, "Q5_0", TensorType::kQ5_0, "5.5 bits"},
    {FileType::kQ5_1, "Q5_1", TensorType::kQ5_1, "6 bits, with a minimum"},
    {FileType::kQ8_0, "Q8_0", TensorType::kQ8_0, "8.5 bits, nearly lossless"},
    {FileType::kQ4_K_S, "Q4_K_S", TensorType::kQ4_K,
     "4.5 bits, Q5_K in places"},
    {FileType::kQ4_K_M, "Q4_K_M", TensorType::kQ4_K,
     "4.5 bits, Q6_K in places: the usual choice"},
    {FileType::kQ5_K_S, "Q5_K_S", TensorType::kQ5_K, "5.5 bits"},
    {FileType::kQ5_K_M, "Q5_K_M", TensorType::kQ5_K,
     "5.5 bits, Q6_K in places"},
    {FileType::kQ6_K, "Q6_K", TensorType::kQ6_K, "6.6 bits"},
    {FileType::kF16, "F16", TensorType::kF16, "16 bits"},
    {FileType::kBF16, "BF16", TensorType::kBF16, "16 bits, f32's range"},
    {FileType::kF32, "F32", TensorType::kF32, "32 bits"},
}};

}  // namespace

std::span<const FileTypeInfo> FileTypes() { return kFileTypes; }

const FileTypeInfo& GetFileTypeInfo(FileType file_type) {
  for (const FileTypeInfo& info : kFileTypes) {
    if (info.file_type == file_type) return info;
  }
  ETALON_DCHECK(false);  // the enum and the table hold the same types
  return kFileTypes[0];
}

Expected<FileType> ParseFileType(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  if (upper == "Q4_K" || upper == "Q5_K") upper += "_M";
  std::string names;
  for (const FileTypeInfo& info : kFileTypes) {
    if (upper == info.name ||
        upper == std::to_string(static_cast<uint32_t>(info.file_type))) {
      return info.file_type;
    }
    names += names.empty() ? "" : ", ";
    names += info.name;
  }
  return InvalidArgument(
      fmt::format("unknown quantisation type '{}', know {}", name, names));
}

}  // namespace etalon::quantize
