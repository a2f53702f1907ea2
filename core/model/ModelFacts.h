// What a model's headers say about it, without loading it: for lists and for models that no backend here can
// run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/Status.h"
#include "core/model/Model.h"

namespace decoscope {

struct ModelFacts {
  std::string format;        // "gguf", "safetensors"
  std::string architecture;  // "llama"; empty when the file does not say
  std::string dtype;         // the type of most weights: "Q4_1"
  std::string licence;       // general.license or the front matter of README.md; empty when unknown
  std::string quantisation;  // the mix of types as GGUF names it ("Q4_K_M"); empty for folders
  std::string tokenizer;     // its kind: "BPE (byte-level)"; empty when only a long look would tell
  // What it can do once it is loaded; nothing when this build cannot load it.
  std::optional<Capabilities> capabilities;
  std::int64_t parameters = 0;  // elements of all tensors
  std::int64_t bytes = 0;       // of all weight files
  int layers = 0, context = 0;  // 0 when unknown
  bool isModel = true;          // false: a projector, an adapter, an importance matrix, a bare vocabulary
};

// Reads headers only, of all shards, and checks them as openWeights() does. Thread-safe.
// Errors: notFound, badInput, unsupported; they name file and place.
Result<ModelFacts> modelFacts(const std::string& path);

}  // namespace decoscope
