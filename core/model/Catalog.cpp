#include "core/model/Catalog.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <tuple>

namespace decoscope {

namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path cacheHome() {
  if (const std::string home = environment("XDG_CACHE_HOME"); !home.empty()) return home;
  return fs::path(environment("HOME").empty() ? "/tmp" : environment("HOME")) / ".cache";
}

bool isModelFolder(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / "config.json", error) &&
         (fs::exists(path / "model.safetensors", error) ||
          fs::exists(path / "model.safetensors.index.json", error));
}

// "SmolLM2-135M-Instruct.Q4_1.gguf" → "SmolLM2-135M-Instruct": the quantisation is not part of the name.
std::string nameOf(const fs::path& path) {
  std::string name = path.stem().string();
  for (const char* mark : {".Q", ".F16", ".F32", ".BF16"})
    if (const auto at = name.rfind(mark); at != std::string::npos && at > 0) name.resize(at);
  return name;
}

void scan(const fs::path& folder, const std::string& source, int depth, std::vector<CatalogEntry>& out) {
  std::error_code error;
  if (isModelFolder(folder)) {
    std::int64_t bytes = 0;
    for (const auto& file :
         fs::directory_iterator(folder, fs::directory_options::skip_permission_denied, error))
      if (file.path().extension() == ".safetensors")
        bytes += static_cast<std::int64_t>(file.file_size(error));
    out.push_back({folder.filename().string(), folder.string(), "safetensors", source, bytes});
    return;
  }
  for (const auto& entry :
       fs::directory_iterator(folder, fs::directory_options::skip_permission_denied, error)) {
    if (entry.is_directory(error)) {
      if (depth > 0) scan(entry.path(), source, depth - 1, out);
    } else if (entry.path().extension() == ".gguf") {
      out.push_back({nameOf(entry.path()), entry.path().string(), "gguf", source,
                     static_cast<std::int64_t>(entry.file_size(error))});
    }
  }
}

void scanHuggingFace(std::vector<CatalogEntry>& out) {
  const fs::path hub = environment("HF_HOME").empty() ? cacheHome() / "huggingface" / "hub"
                                                      : fs::path(environment("HF_HOME")) / "hub";
  std::error_code error;
  for (const auto& repository :
       fs::directory_iterator(hub, fs::directory_options::skip_permission_denied, error)) {
    std::string name = repository.path().filename().string();
    if (!name.starts_with("models--")) continue;
    name = name.substr(8);
    if (const auto dashes = name.find("--"); dashes != std::string::npos) name.replace(dashes, 2, "/");
    const std::size_t before = out.size();
    for (const auto& snapshot : fs::directory_iterator(repository.path() / "snapshots",
                                                       fs::directory_options::skip_permission_denied, error))
      if (snapshot.is_directory(error)) scan(snapshot.path(), "hugging face", 0, out);
    for (std::size_t i = before; i < out.size(); ++i)
      if (out[i].format == "safetensors") out[i].name = name;
  }
}

}  // namespace

std::string modelCacheFolder() {
  const fs::path folder = cacheHome() / "decoscope" / "models";
  std::error_code error;
  fs::create_directories(folder, error);
  return folder.string();
}

std::vector<CatalogEntry> listModels() {
  std::vector<CatalogEntry> models;
  scan(modelCacheFolder(), "decoscope", 1, models);
  std::stringstream folders(environment("DECOSCOPE_MODELS"));
  for (std::string folder; std::getline(folders, folder, ':');)
    if (!folder.empty()) scan(folder, "DECOSCOPE_MODELS", 2, models);
  scanHuggingFace(models);
  std::sort(models.begin(), models.end(), [](const CatalogEntry& a, const CatalogEntry& b) {
    return std::tie(a.name, a.path) < std::tie(b.name, b.path);
  });
  return models;
}

Result<std::string> resolveModel(const std::string& nameOrPath) {
  std::error_code error;
  if (fs::exists(nameOrPath, error)) return nameOrPath;
  std::string known;
  for (const CatalogEntry& entry : listModels()) {
    if (entry.name == nameOrPath) return entry.path;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  return fail(ErrorCode::notFound, "there is no model '" + nameOrPath + "'", "--model",
              known.empty() ? "No models were found on disk; packaging/start fetches SmolLM2."
                            : "Models found on disk: " + known + ".");
}

}  // namespace decoscope
