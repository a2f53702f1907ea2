// figures.json, read and written.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/Files.h"

#include "core/train/Figures.h"

namespace decoscope {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kLargestFile = 1u << 20;
constexpr FigureKind kKinds[] = {FigureKind::bitsPerByte,
                                 FigureKind::kneserNeyRatio,
                                 FigureKind::acceptanceRate,
                                 FigureKind::meanAcceptedLength,
                                 FigureKind::wastedShare,
                                 FigureKind::speedRatio,
                                 FigureKind::generativePerplexity,
                                 FigureKind::parameters,
                                 FigureKind::bytes,
                                 FigureKind::sha256};

bool readsTexts(FigureKind kind) {
  return kind != FigureKind::parameters && kind != FigureKind::bytes && kind != FigureKind::sha256;
}
bool runs(FigureKind kind) {
  return kind == FigureKind::acceptanceRate || kind == FigureKind::meanAcceptedLength ||
         kind == FigureKind::wastedShare || kind == FigureKind::speedRatio ||
         kind == FigureKind::generativePerplexity;
}

// Reads the members of one object; what is left over is an error.
class Members {
 public:
  Members(const ordered_json& object, std::string where) : object_(object), where_(std::move(where)) {}

  // Null where the member is missing or null.
  const ordered_json* find(const char* key) {
    known_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  Status text(const char* key, std::string& out) {
    const ordered_json* member = find(key);
    if (member && !member->is_string()) return wrong(key, "a text");
    if (member) out = member->get<std::string>();
    return {};
  }
  Status number(const char* key, std::optional<double>& out) {
    const ordered_json* member = find(key);
    if (member && (!member->is_number() || !std::isfinite(member->get<double>())))
      return wrong(key, "a number");
    if (member) out = member->get<double>();
    return {};
  }
  template <typename Integer>
  Status count(const char* key, Integer& out) {
    const ordered_json* member = find(key);
    if (!member) return {};
    if (!member->is_number_unsigned() || member->get<std::uint64_t>() > (std::uint64_t{1} << 31))
      return wrong(key, "a whole number from 0 to 2^31");
    out = static_cast<Integer>(member->get<std::uint64_t>());
    return {};
  }
  Status nothingElse() const {
    for (const auto& [key, value] : object_.items())
      if (!known_.contains(key)) return fail(ErrorCode::badInput, "unknown member '" + key + "'", where_);
    return {};
  }
  tl::unexpected<Error> wrong(const char* key, const char* expected) const {
    return fail(ErrorCode::badInput, std::string("'") + key + "' is not " + expected, where_);
  }
  tl::unexpected<Error> missing(const char* key) const {
    return fail(ErrorCode::badInput, std::string("there is no '") + key + "'", where_);
  }
  const std::string& where() const { return where_; }

 private:
  const ordered_json& object_;
  std::string where_;
  std::set<std::string, std::less<>> known_;
};

Result<FigureRun> readRun(const ordered_json& object, const std::string& where) {
  if (!object.is_object()) return fail(ErrorCode::badInput, "a run is not an object", where);
  Members members(object, where);
  FigureRun run;
  DECOSCOPE_TRY(members.text("method", run.method));
  if (const ordered_json* models = members.find("models")) {
    if (!models->is_object()) return members.wrong("models", "an object of roles");
    for (const auto& [role, model] : models->items()) {
      if (!model.is_string()) return members.wrong("models", "an object of names");
      run.models[role] = model.get<std::string>();
    }
  }
  if (const ordered_json* set = members.find("set")) {
    if (!set->is_object()) return members.wrong("set", "an object of parameters");
    for (const auto& [parameter, value] : set->items()) {
      if (value.is_structured() || value.is_null()) return members.wrong("set", "an object of plain values");
      run.set.emplace_back(parameter, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  DECOSCOPE_TRY(members.count("max_new_tokens", run.maxNewTokens));
  DECOSCOPE_TRY(members.count("seed", run.seed));
  DECOSCOPE_TRY(members.text("dtype", run.dtype));
  DECOSCOPE_TRY(members.nothingElse());
  if (run.maxNewTokens == 0) return members.wrong("max_new_tokens", "at least 1");
  return run;
}

Result<ModelFigure> readFigure(const ordered_json& object, const std::string& where) {
  if (!object.is_object()) return fail(ErrorCode::badInput, "a figure is not an object", where);
  Members members(object, where);
  ModelFigure figure;
  std::string kind;
  DECOSCOPE_TRY(members.text("name", figure.name));
  DECOSCOPE_TRY(members.text("kind", kind));
  DECOSCOPE_TRY(members.text("unit", figure.unit));
  if (figure.name.empty()) return members.missing("name");
  const auto known =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](FigureKind one) { return kind == name(one); });
  if (known == std::end(kKinds)) {
    std::string all;
    for (const FigureKind one : kKinds) all += (all.empty() ? "" : ", ") + std::string(name(one));
    return fail(ErrorCode::unsupported, "a figure of kind '" + kind + "' is not supported", where,
                "Supported: " + all + ".");
  }
  figure.kind = *known;
  if (figure.kind == FigureKind::sha256)
    DECOSCOPE_TRY(members.text("value", figure.text));
  else
    DECOSCOPE_TRY(members.number("value", figure.value));
  DECOSCOPE_TRY(members.number("tolerance", figure.tolerance));
  if (figure.tolerance && *figure.tolerance < 0) return members.wrong("tolerance", "at least 0");
  if (readsTexts(figure.kind)) {
    DECOSCOPE_TRY(members.text("texts", figure.texts));
    DECOSCOPE_TRY(members.count("count", figure.count));
    if (figure.texts.empty()) return members.missing("texts");
  }
  if (figure.kind == FigureKind::kneserNeyRatio) {
    DECOSCOPE_TRY(members.count("order", figure.order));
    DECOSCOPE_TRY(members.count("corpus_texts", figure.corpusTexts));
    if (figure.order < 1 || figure.order > 8) return members.wrong("order", "from 1 to 8");
  }
  if (runs(figure.kind)) {
    const ordered_json* run = members.find("run");
    if (!run) return members.missing("run");
    DECOSCOPE_ASSIGN(figure.run, readRun(*run, where + ", member run"));
  }
  if (figure.kind == FigureKind::generativePerplexity) {
    DECOSCOPE_TRY(members.text("judge", figure.judge));
    if (figure.judge.empty()) return members.missing("judge");
    if (const ordered_json* other = members.find("relative_to")) {
      DECOSCOPE_ASSIGN(figure.relativeTo, readRun(*other, where + ", member relative_to"));
    }
  }
  DECOSCOPE_TRY(members.nothingElse());
  return figure;
}

// The value as JSON would write it; what is no number or truth value is a text.
ordered_json plainValue(const std::string& text) {
  ordered_json value = ordered_json::parse(text, nullptr, false);
  return value.is_number() || value.is_boolean() ? value : ordered_json(text);
}

ordered_json runJson(const FigureRun& run) {
  ordered_json object = {{"method", run.method}};
  for (const auto& [role, model] : run.models) object["models"][role] = model;
  for (const auto& [parameter, value] : run.set) object["set"][parameter] = plainValue(value);
  object["max_new_tokens"] = run.maxNewTokens;
  object["seed"] = run.seed;
  if (run.dtype != "auto") object["dtype"] = run.dtype;
  return object;
}

// Whole numbers without a fraction.
ordered_json numberJson(std::optional<double> value) {
  if (!value) return nullptr;
  if (*value == std::floor(*value) && std::abs(*value) < 9e15) return static_cast<std::int64_t>(*value);
  return *value;
}

ordered_json figureJson(const ModelFigure& figure) {
  ordered_json object = {{"name", figure.name}, {"kind", name(figure.kind)}, {"unit", figure.unit}};
  if (figure.kind == FigureKind::sha256)
    object["value"] = figure.text.empty() ? ordered_json(nullptr) : ordered_json(figure.text);
  else
    object["value"] = numberJson(figure.value);
  object["tolerance"] = numberJson(figure.tolerance);
  if (readsTexts(figure.kind)) {
    object["texts"] = figure.texts;
    object["count"] = figure.count;
  }
  if (figure.kind == FigureKind::kneserNeyRatio) {
    object["order"] = figure.order;
    object["corpus_texts"] = figure.corpusTexts;
  }
  if (runs(figure.kind)) object["run"] = runJson(figure.run);
  if (!figure.judge.empty()) object["judge"] = figure.judge;
  if (figure.relativeTo) object["relative_to"] = runJson(*figure.relativeTo);
  return object;
}

}  // namespace

Result<std::vector<ModelFigure>> parseFigures(std::string_view text, const std::string& where) {
  const ordered_json document = ordered_json::parse(text.begin(), text.end(), nullptr, false);
  const auto list = document.is_object() ? document.find("figures") : document.end();
  if (!document.is_object() || list == document.end() || !list->is_array())
    return fail(ErrorCode::badInput, "not an object with a list 'figures'", where);
  std::vector<ModelFigure> figures;
  for (const ordered_json& entry : *list) {
    const std::string place = where + ", figure " + std::to_string(figures.size());
    DECOSCOPE_ASSIGN(ModelFigure figure, readFigure(entry, place));
    figures.push_back(std::move(figure));
  }
  return figures;
}

Result<std::vector<ModelFigure>> readFigures(const std::string& folder) {
  const fs::path path = fs::path(folder) / "figures.json";
  DECOSCOPE_ASSIGN(const std::string text,
                   readWholeFile(path.string(), kLargestFile, "the figures cannot be read",
                                 "the file is larger than 1 MiB"));
  return parseFigures(text, path.string());
}

std::string figuresJson(std::span<const ModelFigure> figures) {
  ordered_json list = ordered_json::array();
  for (const ModelFigure& figure : figures) list.push_back(figureJson(figure));
  return ordered_json{{"figures", std::move(list)}}.dump(2) + "\n";
}

Status writeFigures(const std::string& folder, std::span<const ModelFigure> figures) {
  const fs::path path = fs::path(folder) / "figures.json";
  std::ofstream file(path, std::ios::binary);
  file << figuresJson(figures);
  file.close();
  if (!file) return fail(ErrorCode::failed, "the figures cannot be written", path.string());
  return {};
}

}  // namespace decoscope
