// The small model that comes with the program.
#ifndef ETALON_CLI_BUNDLED_MODEL_H_
#define ETALON_CLI_BUNDLED_MODEL_H_

#include <filesystem>
#include <string>

namespace etalon::cli {

inline constexpr char kBundledModel[] = "etalon-bible-austen-5m-q4_k_m.gguf";

// Its path, or "": looked for in models/ (a build folder inside the sources)
// and share/etalon/models/ (an installed program) of every folder above
// `program`. So the working directory does not matter.
std::string FindBundledModel(const std::filesystem::path& program);
// The same for the running program.
std::string FindBundledModel();

}  // namespace etalon::cli

#endif  // ETALON_CLI_BUNDLED_MODEL_H_
