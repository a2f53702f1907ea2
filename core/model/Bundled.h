// Models that come with the program: resources/models/bundled.json,
//   {"models": [{"name": "…", "path": "FOLDER", "role": "head", "for": ["SmolLM2-135M-Instruct",
//   "sha256:…"]}, …]}
// `path` is relative to the index, `for` names the targets that the model was made for (by name, whatever its
// case, or by fingerprint); a model without `role` and `for` stands alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model/Model.h"

namespace decoscope {

struct BundledModel {
  std::string name, path, role;
  std::vector<std::string> targets;
};

// Empty where there is no index. Error badInput, naming file and entry, where it is damaged.
Result<std::vector<BundledModel>> bundledModels();
// The first one of this role that was made for this target.
Result<std::optional<BundledModel>> bundledFor(const std::string& role, const ModelInfo& target);

}  // namespace decoscope
