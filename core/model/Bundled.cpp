#include "core/model/Bundled.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/Files.h"
#include "core/base/ResourceFolder.h"

namespace decoscope {

namespace {

using nlohmann::json;

constexpr std::streamsize kLargestIndex = 1 << 20;

std::string textOf(const json& entry, const char* key) {
  const auto found = entry.find(key);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool sameName(const std::string& a, const std::string& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

Result<std::vector<BundledModel>> bundledModels() {
  const std::filesystem::path folder = std::filesystem::path(resourceFolder()) / "models";
  const std::string where = (folder / "bundled.json").string();
  std::vector<BundledModel> models;
  if (!std::ifstream(where)) return models;
  const std::string text = readBeginning(where, kLargestIndex);
  const json document =
      json::parse(text, [](int depth, json::parse_event_t, json&) { return depth < 8; }, false);
  if (!document.is_object() || !document.contains("models") || !document["models"].is_array())
    return fail(ErrorCode::badInput, "the index of bundled models has no list 'models'", where);
  for (const json& entry : document["models"]) {
    BundledModel model{textOf(entry, "name"), textOf(entry, "path"), textOf(entry, "role"), {}};
    if (model.name.empty() || model.path.empty())
      return fail(ErrorCode::badInput, "a bundled model needs a name and a path",
                  where + ", entry " + std::to_string(models.size()));
    model.path = (folder / model.path).lexically_normal().string();
    if (const auto targets = entry.find("for"); targets != entry.end() && targets->is_array())
      for (const json& target : *targets)
        if (target.is_string()) model.targets.push_back(target.get<std::string>());
    models.push_back(std::move(model));
  }
  return models;
}

Result<std::optional<BundledModel>> bundledFor(const std::string& role, const ModelInfo& target) {
  DECOSCOPE_ASSIGN(const std::vector<BundledModel> models, bundledModels());
  for (const BundledModel& model : models)
    if (model.role == role &&
        std::any_of(model.targets.begin(), model.targets.end(), [&](const std::string& wanted) {
          return wanted == target.fingerprint || sameName(wanted, target.name);
        }))
      return model;
  return std::nullopt;
}

}  // namespace decoscope
