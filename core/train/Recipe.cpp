#include "core/train/Recipe.h"

#include <cmath>
#include <filesystem>
#include <numbers>
#include <set>

#include "core/base/Files.h"

namespace decoscope::train {

namespace {

using nlohmann::json;

constexpr std::uintmax_t kLargestFile = 1 << 20;

// Reads fields of one object; the first problem is kept, unknown fields are one.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) report("must be an object", where_);
  }
  template <typename T>
  void read(const char* key, T& value) {
    known_.insert(key);
    if (!object_.is_object() || !object_.contains(key)) return;
    const json& given = object_[key];
    bool fits = false;
    if constexpr (std::is_same_v<T, std::string>)
      fits = given.is_string();
    else if constexpr (std::is_same_v<T, bool>)
      fits = given.is_boolean();
    else if constexpr (std::is_same_v<T, json>)
      fits = true;
    else if constexpr (std::is_floating_point_v<T>)
      fits = given.is_number() && given.template get<double>() >= 0;
    else
      fits = given.is_number_integer() && given.template get<std::int64_t>() >= 0 &&
             given.template get<std::int64_t>() <= (std::int64_t{1} << 40);
    if (fits)
      value = given.get<T>();
    else
      report("has a value of the wrong kind or out of range", where_ + ", field " + key);
  }
  void need(bool held, const char* key) {
    if (!held) report("must be given", where_ + ", field " + key);
  }
  void finish() {
    if (!object_.is_object()) return;
    for (const auto& [key, value] : object_.items())
      if (!known_.contains(key)) report("is not a field of a recipe", where_ + ", field " + key);
  }
  void report(const std::string& what, const std::string& where) {
    if (status_)
      status_ = fail(ErrorCode::badInput, "the recipe's field " + what, where, "docs/models.md lists them.");
  }
  const Status& status() const { return status_; }

 private:
  const json& object_;
  std::string where_;
  std::set<std::string> known_;
  Status status_;
};

Result<Schedule> readSchedule(const json& object, const std::string& where) {
  Schedule schedule;
  Fields fields(object, where);
  fields.read("steps", schedule.steps);
  fields.read("rows", schedule.rows);
  fields.read("length", schedule.length);
  fields.read("micro_rows", schedule.microRows);
  fields.read("learning_rate", schedule.learningRate);
  fields.read("warm_up", schedule.warmUp);
  fields.read("final_rate", schedule.finalRate);
  fields.read("weight_decay", schedule.weightDecay);
  fields.read("beta1", schedule.beta1);
  fields.read("beta2", schedule.beta2);
  fields.read("epsilon", schedule.epsilon);
  fields.read("clip", schedule.clip);
  fields.need(schedule.steps > 0, "steps");
  fields.need(schedule.rows > 0 && schedule.rows <= 4096, "rows");
  fields.need(schedule.length > 1 && schedule.length <= 1 << 16, "length");
  fields.need(schedule.learningRate > 0, "learning_rate");
  fields.finish();
  DECOSCOPE_TRY(fields.status());
  if (schedule.microRows == 0) schedule.microRows = schedule.rows;
  if (schedule.rows % schedule.microRows != 0)
    return fail(ErrorCode::badInput, "rows must be a multiple of micro_rows", where);
  return schedule;
}

}  // namespace

double Schedule::rate(std::int64_t step) const {
  if (step < warmUp) return learningRate * static_cast<double>(step + 1) / static_cast<double>(warmUp);
  const double done =
      steps > warmUp + 1
          ? std::min(1.0, static_cast<double>(step - warmUp) / static_cast<double>(steps - warmUp - 1))
          : 1;
  return learningRate * (finalRate + (1 - finalRate) * 0.5 * (1 + std::cos(std::numbers::pi * done)));
}

double optionOf(const Recipe& recipe, const char* key, double fallback) {
  const auto found = recipe.options.find(key);
  return found != recipe.options.end() && found->is_number() ? found->get<double>() : fallback;
}

Result<Recipe> loadRecipe(const std::string& name, const std::string& resources) {
  namespace fs = std::filesystem;
  std::error_code error;
  const bool file = name.ends_with(".json");
  const fs::path path = file ? fs::path(name) : fs::path(resources) / "models" / name / "recipe.json";
  const auto text =
      readWholeFile(path.string(), kLargestFile, "the recipe cannot be read", "a recipe is at most 1 MiB");
  if (!text && text.error().code == ErrorCode::notFound) {
    std::string known;
    for (const auto& entry : fs::directory_iterator(fs::path(resources) / "models", error))
      if (fs::exists(entry.path() / "recipe.json", error))
        known += (known.empty() ? "" : ", ") + entry.path().filename().string();
    return fail(ErrorCode::notFound, "there is no recipe '" + name + "'", path.string(),
                known.empty() ? "Give the path of a recipe.json." : "There are: " + known + ".");
  }
  DECOSCOPE_TRY(text);
  const json document = json::parse(*text, nullptr, false);
  const std::string where = path.string();
  if (document.is_discarded()) return fail(ErrorCode::badInput, "the recipe is not JSON", where);
  Recipe recipe;
  recipe.folder = path.parent_path().string();
  std::string packing = "stream", precision = "bf16";
  json schedule = json::object();
  Fields fields(document, where);
  fields.read("name", recipe.name);
  fields.read("title", recipe.title);
  fields.read("licence", recipe.licence);
  fields.read("objective", recipe.objective);
  fields.read("options", recipe.options);
  fields.read("corpus", recipe.corpus);
  fields.read("texts", recipe.texts);
  fields.read("skip", recipe.skip);
  fields.read("writer", recipe.writer);
  fields.read("features", recipe.features);
  fields.read("vocabulary", recipe.vocabulary);
  fields.read("shape", recipe.shape);
  fields.read("start", recipe.start);
  fields.read("teacher", recipe.teacher);
  fields.read("packing", packing);
  fields.read("precision", precision);
  fields.read("seed", recipe.seed);
  fields.read("schedule", schedule);
  fields.read("evaluate_every", recipe.evaluateEvery);
  fields.need(!recipe.name.empty() && recipe.name.find('/') == std::string::npos, "name");
  fields.need(!recipe.objective.empty(), "objective");
  fields.need(!recipe.corpus.empty(), "corpus");
  fields.need(recipe.texts > 0, "texts");
  if (recipe.skip >= recipe.texts && recipe.texts > 0)
    fields.report("must be below texts", where + ", field skip");
  fields.need(!recipe.vocabulary.empty(), "vocabulary");
  fields.need(recipe.shape.is_object(), "shape");
  fields.need(packing == "stream" || packing == "texts", "packing");
  fields.need(precision == "bf16" || precision == "f32", "precision");
  fields.finish();
  DECOSCOPE_TRY(fields.status());
  DECOSCOPE_ASSIGN(recipe.schedule, readSchedule(schedule, where + ", schedule"));
  recipe.packing = packing == "texts" ? Packing::texts : Packing::stream;
  recipe.bfloat16 = precision == "bf16";
  if (recipe.options.is_null()) recipe.options = json::object();
  return recipe;
}

}  // namespace decoscope::train
