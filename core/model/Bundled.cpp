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

bool isNamed(const ModelInfo& model, const std::string& wanted) {
  return wanted == model.fingerprint || sameName(wanted, model.name);
}

std::vector<std::string> textsOf(const json& entry, const char* key) {
  std::vector<std::string> texts;
  if (const auto found = entry.find(key); found != entry.end() && found->is_array())
    for (const json& text : *found)
      if (text.is_string()) texts.push_back(text.get<std::string>());
  return texts;
}

// Whether everything that the model needs around it is there.
bool fits(const BundledModel& model, const std::string& method,
          const std::map<std::string, const ModelInfo*>& models) {
  const auto target = models.find("target");
  if (target == models.end() || std::none_of(model.targets.begin(), model.targets.end(),
                                             [&](const auto& one) { return isNamed(*target->second, one); }))
    return false;
  if (!model.methods.empty() &&
      std::find(model.methods.begin(), model.methods.end(), method) == model.methods.end())
    return false;
  return std::all_of(model.beside.begin(), model.beside.end(), [&](const auto& needed) {
    const auto found = models.find(needed.first);
    return found != models.end() && isNamed(*found->second, needed.second);
  });
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
    BundledModel model;
    model.name = textOf(entry, "name");
    model.path = textOf(entry, "path");
    model.role = textOf(entry, "role");
    if (model.name.empty() || model.path.empty())
      return fail(ErrorCode::badInput, "a bundled model needs a name and a path",
                  where + ", entry " + std::to_string(models.size()));
    model.path = (folder / model.path).lexically_normal().string();
    model.targets = textsOf(entry, "for");
    model.methods = textsOf(entry, "methods");
    if (const auto beside = entry.find("beside"); beside != entry.end() && beside->is_object())
      for (const auto& [role, name] : beside->items())
        if (name.is_string()) model.beside[role] = name.get<std::string>();
    models.push_back(std::move(model));
  }
  return models;
}

Result<std::optional<BundledModel>> bundledFor(const std::string& role, const std::string& method,
                                               const std::map<std::string, const ModelInfo*>& models) {
  DECOSCOPE_ASSIGN(const std::vector<BundledModel> bundled, bundledModels());
  for (const BundledModel& model : bundled)
    if (model.role == role && fits(model, method, models)) return model;
  return std::nullopt;
}

}  // namespace decoscope
