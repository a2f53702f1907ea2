// Models that come with the program: resources/models/bundled.json,
//   {"models": [{"name": "…", "path": "FOLDER", "role": "head", "for": ["SmolLM2-135M-Instruct", "sha256:…"],
//                "methods": ["specdec-pp"], "beside": {"drafter": "wren-tiny"}}, …]}
// `path` is relative to the index, `for` names the targets that the model was made for (by name, whatever its
// case, or by fingerprint); a model without `role` and `for` stands alone. `methods` are those that can use
// it in this role (none given: all), `beside` says which models it needs in other roles. A model that has
// several roles has several entries.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/model/Model.h"

namespace decoscope {

struct BundledModel {
  std::string name, path, role;
  std::vector<std::string> targets, methods;
  std::map<std::string, std::string> beside;  // by role, named as targets are
};

// Empty where there is no index. Error badInput, naming file and entry, where it is damaged.
Result<std::vector<BundledModel>> bundledModels();
// The first one of this role that this method can use beside these models, by role; "target" is one of them.
Result<std::optional<BundledModel>> bundledFor(const std::string& role, const std::string& method,
                                               const std::map<std::string, const ModelInfo*>& models);

}  // namespace decoscope
