#include "cli/bundled_model.h"

#include <system_error>

namespace etalon::cli {

namespace fs = std::filesystem;

std::string FindBundledModel(const fs::path& program) {
  std::error_code error;
  for (fs::path folder = program.parent_path(); !folder.empty();
       folder = folder.parent_path()) {
    for (const char* below : {"models", "share/etalon/models"}) {
      const fs::path file = folder / below / kBundledModel;
      if (fs::is_regular_file(file, error)) return file.string();
    }
    if (folder == folder.root_path()) break;
  }
  return "";
}

std::string FindBundledModel() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? "" : FindBundledModel(program);
}

}  // namespace etalon::cli
