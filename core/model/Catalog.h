// Finds models on disk: our own cache ($XDG_CACHE_HOME/decoscope/models or ~/.cache/decoscope/models),
// $DECOSCOPE_MODELS (colon-separated folders), the bundled resources, and the Hugging Face cache.
#pragma once

#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

struct CatalogEntry {
  std::string name;  // what `--model` accepts: "SmolLM2-135M-Instruct"
  std::string path;
  std::string format;  // "gguf", "safetensors"
  std::string source;  // "decoscope", "hugging face", …
  std::int64_t bytes = 0;
};

// Reads directory entries only; sorted by name.
std::vector<CatalogEntry> listModels();
// A path is returned as it is; a name is looked up. Error notFound lists near names.
Result<std::string> resolveModel(const std::string& nameOrPath);
// Folder of our own model cache, made if missing.
std::string modelCacheFolder();

}  // namespace decoscope
