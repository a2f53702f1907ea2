#include "app/BundledStart.h"

#include <algorithm>
#include <iterator>

#include "core/model/ModelLoader.h"

namespace decoscope {

namespace {

constexpr const char* kSource = "bundled";
constexpr const char* kTarget = "wren";  // of its own vocabulary, with a chat template

// What only works beside another model.
bool isHead(const ModelEntry& model) {
  if (!model.described || !model.problem.isEmpty()) return false;
  const Capabilities can = capabilitiesOf(model.info);
  return can.followsFeatures || (!can.causal && !can.maskedDiffusion);
}

bool writesText(const ModelEntry& model) {
  return model.described && model.problem.isEmpty() && capabilitiesOf(model.info).causal;
}

}  // namespace

std::vector<ModelEntry> bundledEntries(const std::vector<ModelEntry>& models) {
  std::vector<ModelEntry> bundled;
  std::copy_if(models.begin(), models.end(), std::back_inserter(bundled),
               [](const ModelEntry& model) { return model.file.source == kSource && !isHead(model); });
  return bundled;
}

std::optional<BundledStart> bundledStart(const std::vector<ModelEntry>& models) {
  std::vector<ModelEntry> bundled = bundledEntries(models);
  std::erase_if(bundled, [](const ModelEntry& model) { return !writesText(model); });
  const auto smaller = [](const ModelEntry& a, const ModelEntry& b) {
    return a.info.parameters < b.info.parameters;
  };
  const auto target = std::find_if(bundled.begin(), bundled.end(),
                                   [](const ModelEntry& model) { return model.file.name == kTarget; });
  if (target == bundled.end()) return std::nullopt;
  // By its name the model's own drafter, else the smallest that has the same words and half the weights at
  // most.
  const ModelEntry* drafter = nullptr;
  for (const ModelEntry& model : bundled) {
    if (model.info.vocabularySize != target->info.vocabularySize ||
        2 * model.info.parameters > target->info.parameters)
      continue;
    if (model.file.name == std::string(kTarget) + "-tiny") {
      drafter = &model;
      break;
    }
    if (!drafter || smaller(model, *drafter)) drafter = &model;
  }
  BundledStart start;
  start.name = QString::fromStdString(target->file.name);
  start.name[0] = start.name[0].toUpper();
  start.target = QString::fromStdString(target->file.path);
  if (drafter) start.drafter = QString::fromStdString(drafter->file.path);
  start.method = drafter ? QStringLiteral("chain") : QStringLiteral("token-recycling");
  start.prompt = QStringLiteral("Tell me a short story about a small bird.");
  return start;
}

}  // namespace decoscope
