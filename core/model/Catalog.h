// Finds models on disk, in this order: our own cache ($XDG_CACHE_HOME/decoscope/models), the folders of
// $DECOSCOPE_MODELS (colon-separated), those that other programs keep: Hugging Face, LM Studio, Ollama,
// llama.cpp; and what is bundled with this one (Bundled.h).
#pragma once

#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/model/ModelFacts.h"

namespace decoscope {

struct CatalogEntry {
  std::string name;    // what `--model` accepts: "SmolLM2-135M-Instruct", "Llama-3.2-1B:Q4_K_M"
  std::string path;    // a folder, or a GGUF (the first shard of a split one)
  std::string format;  // "gguf", "safetensors"
  std::string source;  // "decoscope", "DECOSCOPE_MODELS", "hugging face", "lm studio", "ollama", "llama.cpp",
                       // "bundled"
  std::int64_t bytes = 0;
  ModelFacts facts;     // empty where there is a problem
  std::string problem;  // why the model cannot be opened; empty for a good one
};

// Models by name. Reads directories and headers (milliseconds for each model), so not for the GUI thread. A
// damaged model is listed with its problem; projectors, adapters and bare vocabularies are no models. Where a
// name is borne by several files, each gets its quantisation as a suffix ("X:Q4_K_M"), and its source where
// that is not enough
// ("X:Q4_K_M@ollama").
std::vector<CatalogEntry> listModels();

// A path is returned as it is; a name is looked up, whatever its case: as listModels() writes it, without the
// suffix (which gives the largest of several), with the suffix also where it is not needed, or as the file's
// name. Error notFound gives near names.
Result<std::string> resolveModel(const std::string& nameOrPath);

// Folder of our own model cache, made if missing.
std::string modelCacheFolder();

}  // namespace decoscope
