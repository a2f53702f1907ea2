#include "core/train/nets/Objective.h"

namespace decoscope::train {

Result<std::unique_ptr<Objective>> makeObjective(const ObjectiveSetup& setup) {
  static const std::pair<const char*, ObjectiveFactory> kObjectives[] = {
      {"next-token", makeNextToken},           {"masked-diffusion", makeMaskedDiffusion},
      {"distillation", makeDistillation},      {"feature-head", makeFeatureHead},
      {"acceptance-head", makeAcceptanceHead},
  };
  std::string known;
  for (const auto& [name, make] : kObjectives) {
    if (setup.recipe.objective == name) return make(setup);
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  return fail(ErrorCode::badInput, "there is no objective '" + setup.recipe.objective + "'",
              setup.recipe.folder + "/recipe.json, field objective", "There are: " + known + ".");
}

}  // namespace decoscope::train
