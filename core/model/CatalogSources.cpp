#include "core/model/CatalogSources.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/base/CacheFolder.h"
#include "core/base/Files.h"
#include "core/model/Bundled.h"
#include "core/model/Catalog.h"
#include "core/model/weights/Gguf.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kMaximumEntries = 20'000;  // of one source
constexpr std::size_t kMaximumManifest = 1u << 20;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path home() {
  const std::string folder = environment("HOME");
  return folder.empty() ? "/tmp" : folder;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// "Q4_K_M", "IQ2_XXS", "BF16", "MXFP4": how the last part of a file's name says its types.
bool isQuantisation(const std::string& word) {
  const std::string type = upper(word);
  if (type == "F16" || type == "F32" || type == "BF16" || type == "FP16" || type == "FP32") return true;
  for (const char* prefix : {"IQ", "TQ", "Q", "MXFP", "NVFP"}) {
    const std::string_view start = prefix;
    if (type.starts_with(start) && type.size() > start.size() &&
        std::isdigit(static_cast<unsigned char>(type[start.size()])))
      return std::all_of(type.begin(), type.end(),
                         [](unsigned char c) { return std::isalnum(c) || c == '_'; });
  }
  return false;
}

bool isModelFolder(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / "config.json", error) &&
         (fs::exists(path / "model.safetensors", error) ||
          fs::exists(path / "model.safetensors.index.json", error));
}

class Finder {
 public:
  std::vector<FoundModel> take() { return std::move(models_); }

  // With `folderName` the folder itself may be a model of that name, but none below it: those are parts of
  // something else, such as the text encoder of a picture model. Without, any folder may be one, under its
  // own name.
  void scan(const fs::path& folder, const std::string& source, int depth,
            const std::string& folderName = {}) {
    left_ = kMaximumEntries;
    descend(folder, source, depth, folderName, true);
  }

  void scanHuggingFace(const fs::path& hub) {
    for (const fs::path& repository : children(hub)) {
      std::string name = repository.filename().string();
      if (!name.starts_with("models--")) continue;
      name = name.substr(8);
      if (const auto dashes = name.find("--"); dashes != std::string::npos) name.replace(dashes, 2, "/");
      for (const fs::path& snapshot : snapshots(repository)) {
        const std::size_t before = models_.size();
        scan(snapshot, "hugging face", 2, name);
        if (models_.size() > before) break;
      }
    }
  }

  // manifests/<registry>/<namespace>/<model>/<tag> are JSON; the layers are blobs named by their digests.
  void scanOllama(const fs::path& folder) {
    for (const fs::path& registry : children(folder / "manifests"))
      for (const fs::path& space : children(registry))
        for (const fs::path& model : children(space))
          for (const fs::path& tag : children(model)) {
            std::string name = model.filename().string();
            if (space.filename() != "library") name = space.filename().string() + "/" + name;
            if (tag.filename() != "latest") name += ":" + tag.filename().string();
            readManifest(tag, folder / "blobs", name);
          }
  }

  // A damaged index is reported where a role is to be filled; a list shows what there is.
  void scanBundled() {
    const auto models = bundledModels();
    if (!models) return;
    std::error_code error;
    for (const BundledModel& model : *models) {
      FoundModel found{model.name, "", model.path, "bundled", ""};
      if (!fs::exists(model.path, error)) found.problem = "the folder " + model.path + " is missing";
      add(std::move(found));
    }
  }

 private:
  static std::vector<fs::path> children(const fs::path& folder) {
    std::vector<fs::path> paths;
    std::error_code error;
    for (fs::directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end;
         !error && entry != end && paths.size() < kMaximumEntries; entry.increment(error))
      if (!entry->path().filename().string().starts_with('.')) paths.push_back(entry->path());
    std::sort(paths.begin(), paths.end());
    return paths;
  }

  // The one that refs/main names first, then the newest.
  static std::vector<fs::path> snapshots(const fs::path& repository) {
    std::vector<fs::path> paths = children(repository / "snapshots");
    std::string main = readBeginning(repository / "refs" / "main", 256);
    while (!main.empty() && std::isspace(static_cast<unsigned char>(main.back()))) main.pop_back();
    std::stable_sort(paths.begin(), paths.end(), [&](const fs::path& a, const fs::path& b) {
      std::error_code error;
      if ((a.filename() == main) != (b.filename() == main)) return a.filename() == main;
      return fs::last_write_time(a, error) > fs::last_write_time(b, error);
    });
    return paths;
  }

  void descend(const fs::path& folder, const std::string& source, int depth, const std::string& folderName,
               bool top) {
    std::error_code error;
    if ((top || folderName.empty()) && isModelFolder(folder)) {
      add({folderName.empty() ? folder.filename().string() : folderName, "", folder.string(), source, ""});
      return;
    }
    for (const fs::path& path : children(folder)) {
      if (--left_ < 0) return;
      if (fs::is_directory(path, error)) {
        if (depth > 0) descend(path, source, depth - 1, folderName, false);
      } else if (path.extension() == ".gguf" && fs::is_regular_file(path, error)) {
        addFile(path, source);
      }
    }
  }

  void addFile(const fs::path& path, const std::string& source) {
    std::string stem = path.stem().string(), file = path.string();
    if (const auto shard = shardName(file)) {
      std::error_code error;
      const std::string first = shard->path(1);
      // Listed by its first shard; if that is missing, by the first that is there, whose problem says so.
      for (int number = 1; number < shard->number; ++number)
        if (fs::exists(shard->path(number), error)) return;
      stem = fs::path(shard->prefix).filename().string();
    }
    // llama.cpp writes organisation_repository-GGUF_file.gguf into its cache.
    if (const auto mark = stem.find("-GGUF_"); source == "llama.cpp" && mark != std::string::npos)
      stem = stem.substr(mark + 6);
    auto [base, quantisation] = splitQuantisation(stem);
    add({std::move(base), std::move(quantisation), std::move(file), source, ""});
  }

  void readManifest(const fs::path& path, const fs::path& blobs, const std::string& name) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return;
    const json manifest = json::parse(
        readBeginning(path, kMaximumManifest),
        [](int depth, json::parse_event_t, json&) { return depth < 8; }, false);
    if (!manifest.is_object() || !manifest.contains("layers") || !manifest["layers"].is_array()) {
      add({name, "", path.string(), "ollama", "the manifest has no layers"});
      return;
    }
    FoundModel found{name, "", "", "ollama", ""};
    for (const json& layer : manifest["layers"]) {
      if (!layer.is_object() || !layer.contains("mediaType") || !layer.contains("digest") ||
          !layer["mediaType"].is_string() || !layer["digest"].is_string())
        continue;
      const std::string type = layer["mediaType"].get<std::string>(),
                        digest = layer["digest"].get<std::string>();
      if (type == "application/vnd.ollama.image.adapter")
        found.problem = "an adapter belongs to this model, and adapters are not supported";
      if (type != "application/vnd.ollama.image.model" || !found.path.empty()) continue;
      const bool hexadecimal = digest.size() == 71 && digest.starts_with("sha256:") &&
                               digest.find_first_not_of("0123456789abcdef", 7) == std::string::npos;
      if (!hexadecimal) {
        found.problem = "the manifest names a blob that is no digest";
        found.path = path.string();
        continue;
      }
      fs::path blob = blobs / ("sha256-" + digest.substr(7));
      if (!fs::exists(blob, error) && fs::exists(blobs / digest, error)) blob = blobs / digest;
      if (!fs::exists(blob, error)) found.problem = "the blob " + blob.string() + " is missing";
      found.path = blob.string();
    }
    if (found.path.empty()) return;  // an embedding of another model, or one that runs elsewhere
    add(std::move(found));
  }

  void add(FoundModel model) {
    struct stat status {};
    if (::stat(model.path.c_str(), &status) == 0 && model.source != "ollama" &&
        !seen_.emplace(status.st_dev, status.st_ino).second)
      return;
    models_.push_back(std::move(model));
  }

  int left_ = 0;
  std::set<std::pair<dev_t, ino_t>> seen_;
  std::vector<FoundModel> models_;
};

void scanPaths(Finder& finder, const std::string& paths, const std::string& source) {
  std::stringstream folders(paths);
  for (std::string folder; std::getline(folders, folder, ':');)
    if (!folder.empty()) finder.scan(folder, source, 2);
}

std::string firstOf(std::initializer_list<std::string> choices) {
  for (const std::string& choice : choices)
    if (!choice.empty()) return choice;
  return {};
}

}  // namespace

SplitName splitQuantisation(const std::string& stem) {
  const auto mark = stem.find_last_of("-.");
  if (mark == std::string::npos || mark == 0 || !isQuantisation(stem.substr(mark + 1))) return {stem, ""};
  std::string base = stem.substr(0, mark);
  // Unsloth's dynamic mixes: "-UD-Q4_K_XL".
  std::string quantisation = upper(stem.substr(mark + 1));
  if (base.ends_with("-UD")) {
    base.resize(base.size() - 3);
    quantisation = "UD-" + quantisation;
  }
  return {std::move(base), std::move(quantisation)};
}

std::vector<FoundModel> findModels() {
  Finder finder;
  finder.scan(modelCacheFolder(), "decoscope", 2);
  scanPaths(finder, environment("DECOSCOPE_MODELS"), "DECOSCOPE_MODELS");
  const std::string huggingFaceHome = environment("HF_HOME");
  finder.scanHuggingFace(firstOf({environment("HF_HUB_CACHE"), environment("HUGGINGFACE_HUB_CACHE"),
                                  huggingFaceHome.empty() ? "" : huggingFaceHome + "/hub",
                                  userCacheFolder() + "/huggingface/hub"}));
  finder.scan(home() / ".lmstudio" / "models", "lm studio", 3);
  finder.scan(home() / ".cache" / "lm-studio" / "models", "lm studio", 3);
  finder.scanOllama(firstOf({environment("OLLAMA_MODELS"), (home() / ".ollama" / "models").string()}));
  finder.scan(firstOf({environment("LLAMA_CACHE"), userCacheFolder() + "/llama.cpp"}), "llama.cpp", 1);
  finder.scanBundled();
  return finder.take();
}

}  // namespace decoscope
