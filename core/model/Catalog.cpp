#include "core/model/Catalog.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "core/base/CacheFolder.h"
#include "core/model/CatalogSources.h"

namespace decoscope {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaximumSuggestions = 3, kMaximumListed = 10, kMaximumCompared = 100;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

CatalogEntry look(const FoundModel& found) {
  CatalogEntry entry{found.base, found.path, "", found.source, 0, {}, found.problem};
  std::error_code error;
  entry.format = fs::is_directory(found.path, error) ? "safetensors" : "gguf";
  if (auto facts = modelFacts(found.path)) {
    entry.facts = std::move(*facts);
  } else {
    if (entry.problem.empty()) entry.problem = facts.error().text();
    if (entry.format == "gguf" && fs::is_regular_file(found.path, error))
      entry.bytes = static_cast<std::int64_t>(fs::file_size(found.path, error));
    return entry;
  }
  entry.bytes = entry.facts.bytes;
  if (!found.quantisation.empty()) entry.facts.quantisation = found.quantisation;
  return entry;
}

std::string suffixOf(const CatalogEntry& entry) {
  return entry.facts.quantisation.empty() ? entry.format : entry.facts.quantisation;
}

std::string sourceMark(const CatalogEntry& entry) {
  std::string mark = lower(entry.source);
  std::replace(mark.begin(), mark.end(), ' ', '-');
  return mark;
}

// Entries of one base name, largest first: each gets a name of its own.
void nameApart(std::vector<CatalogEntry>& group) {
  if (group.size() < 2) return;
  std::set<std::string> taken;
  for (CatalogEntry& entry : group) {
    std::string name = entry.name + ":" + suffixOf(entry);
    if (!taken.insert(name).second) {
      name += "@" + sourceMark(entry);
      std::string numbered = name;
      for (int number = 2; !taken.insert(numbered).second; ++number)
        numbered = name + "#" + std::to_string(number);
      name = numbered;
    }
    entry.name = std::move(name);
  }
}

// Looks into the headers; what is no model is dropped. By base name in lower case.
std::map<std::string, std::vector<CatalogEntry>> groupsOf(const std::vector<FoundModel>& found) {
  std::map<std::string, std::vector<CatalogEntry>> groups;
  for (const FoundModel& model : found) {
    CatalogEntry entry = look(model);
    if (entry.problem.empty() && !entry.facts.isModel) continue;
    groups[lower(model.base)].push_back(std::move(entry));
  }
  for (auto& [base, group] : groups) {
    std::stable_sort(group.begin(), group.end(), [](const CatalogEntry& a, const CatalogEntry& b) {
      return std::pair(a.problem.empty(), a.bytes) > std::pair(b.problem.empty(), b.bytes);
    });
    nameApart(group);
  }
  return groups;
}

// Changes (insert, delete, replace, swap neighbours) that lead from one to the other.
std::size_t editDistance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> rows(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      rows[i][j] = std::min(
          {rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        rows[i][j] = std::min(rows[i][j], rows[i - 2][j - 2] + 1);
    }
  return rows[a.size()][b.size()];
}

std::string joined(const std::vector<std::string>& names, const char* last) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? last : ", ") + names[i];
  return text;
}

std::string hintFor(const std::string& wanted, const std::vector<FoundModel>& found) {
  std::set<std::pair<std::size_t, std::string>> near;
  std::set<std::string> all;
  const std::string name = lower(wanted);
  for (const FoundModel& model : found) {
    all.insert(model.base);
    const std::string base = lower(model.base), last = base.substr(base.rfind('/') + 1);
    if (name.size() > kMaximumCompared || base.size() > kMaximumCompared) continue;
    const std::size_t distance = std::min(editDistance(name, base), editDistance(name, last));
    if (distance <= std::max<std::size_t>(2, name.size() / 3))
      near.emplace(distance, model.base);
    else if (name.size() >= 3 && base.find(name) != std::string::npos)
      near.emplace(name.size(), model.base);
  }
  std::vector<std::string> names;
  for (const auto& [distance, base] : near)
    if (names.size() < kMaximumSuggestions && std::find(names.begin(), names.end(), base) == names.end())
      names.push_back(base);
  if (!names.empty()) return "Did you mean " + joined(names, " or ") + "?";
  if (all.empty())
    return "No models were found on disk; `decoscope-cli models fetch SmolLM2-135M-Instruct` brings one.";
  for (const std::string& base : all)
    if (names.size() < kMaximumListed) names.push_back(base);
  return "Models found on disk: " + joined(names, ", ") + (all.size() > names.size() ? ", …" : ".");
}

bool mayMean(const FoundModel& model, const std::string& wanted) {
  const std::string base = lower(model.base), file = lower(fs::path(model.path).filename().string());
  return wanted == base || (wanted.starts_with(base) && wanted[base.size()] == ':') || wanted == file ||
         wanted + ".gguf" == file || wanted == base.substr(base.rfind('/') + 1);
}

}  // namespace

std::string modelCacheFolder() {
  const fs::path folder = fs::path(cacheFolder()) / "models";
  std::error_code error;
  fs::create_directories(folder, error);
  return folder.string();
}

std::vector<CatalogEntry> listModels() {
  std::vector<CatalogEntry> models;
  for (auto& [base, group] : groupsOf(findModels()))
    models.insert(models.end(), std::make_move_iterator(group.begin()), std::make_move_iterator(group.end()));
  std::sort(models.begin(), models.end(), [](const CatalogEntry& a, const CatalogEntry& b) {
    return std::tie(a.name, a.path) < std::tie(b.name, b.path);
  });
  return models;
}

Result<std::string> resolveModel(const std::string& nameOrPath) {
  std::error_code error;
  if (fs::exists(nameOrPath, error)) return nameOrPath;
  const std::string wanted = lower(nameOrPath);
  const std::vector<FoundModel> found = findModels();
  // Headers are read only of those that share the name.
  std::set<std::string> bases;
  for (const FoundModel& model : found)
    if (!wanted.empty() && mayMean(model, wanted)) bases.insert(lower(model.base));
  std::vector<FoundModel> candidates;
  std::copy_if(found.begin(), found.end(), std::back_inserter(candidates),
               [&](const FoundModel& model) { return bases.contains(lower(model.base)); });
  const auto groups = groupsOf(candidates);
  const auto pick = [&](auto fits) -> const CatalogEntry* {
    for (const auto& [base, group] : groups)
      for (const CatalogEntry& entry : group)
        if (fits(base, entry)) return &entry;
    return nullptr;
  };
  using Base = const std::string&;
  const CatalogEntry* best =
      pick([&](Base, const CatalogEntry& entry) { return lower(entry.name) == wanted; });
  if (!best) best = pick([&](Base base, const CatalogEntry&) { return base == wanted; });
  if (!best)
    best = pick(
        [&](Base base, const CatalogEntry& entry) { return base + ":" + lower(suffixOf(entry)) == wanted; });
  if (!best)
    best = pick([&](Base, const CatalogEntry& entry) {
      const std::string file = lower(fs::path(entry.path).filename().string());
      return file == wanted || file == wanted + ".gguf";
    });
  if (!best)
    best = pick([&](Base base, const CatalogEntry&) { return base.substr(base.rfind('/') + 1) == wanted; });
  if (best && !best->problem.empty())
    return fail(ErrorCode::badInput, "the model '" + best->name + "' cannot be used: " + best->problem,
                best->path);
  if (best) return best->path;
  return fail(ErrorCode::notFound, "there is no model '" + nameOrPath + "'", "--model",
              hintFor(nameOrPath, found));
}

}  // namespace decoscope
