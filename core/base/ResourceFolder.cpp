#include "core/base/ResourceFolder.h"

#include <cstdlib>
#include <filesystem>

namespace decoscope {

std::string resourceFolder() {
  namespace fs = std::filesystem;
  if (const char* folder = std::getenv("DECOSCOPE_RESOURCES"); folder && *folder) return folder;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = program.parent_path().parent_path() / "share" / "decoscope";
  if (!program.empty() && fs::is_directory(installed, error)) return installed.string();
  return DECOSCOPE_RESOURCES;
}

}  // namespace decoscope
