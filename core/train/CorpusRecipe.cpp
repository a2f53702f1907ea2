#include "core/train/CorpusRecipe.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "core/base/Files.h"
#include "core/base/Hash.h"

namespace decoscope {

namespace {

using nlohmann::json;

constexpr std::uintmax_t kLargestFile = 8 << 20;

Result<std::vector<std::string>> readTexts(const json& list, const std::string& where) {
  if (!list.is_array()) return fail(ErrorCode::badInput, "not a list of texts", where);
  std::vector<std::string> texts;
  for (const json& text : list) {
    if (!text.is_string()) return fail(ErrorCode::badInput, "not a list of texts", where);
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

// An object of the recipe, with its place for errors.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {}

  Status only(std::initializer_list<const char*> names) const {
    if (!object_.is_object()) return fail(ErrorCode::badInput, "not a JSON object", where_);
    for (const auto& [key, value] : object_.items())
      if (std::find(names.begin(), names.end(), key) == names.end())
        return fail(ErrorCode::badInput, "unknown field", where_ + ", field " + key);
    return {};
  }
  const json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  std::string place(const char* name) const { return where_ + ", field " + name; }

  Status read(const char* name, double& value, double least, double most) const {
    const json* found = find(name);
    if (!found) return {};
    if (!found->is_number() || !(found->get<double>() >= least && found->get<double>() <= most))
      return fail(ErrorCode::badInput, "not a number in its range", place(name));
    value = found->get<double>();
    return {};
  }
  Status read(const char* name, int& value, std::int64_t least, std::int64_t most) const {
    const json* found = find(name);
    if (!found) return {};
    if (!found->is_number_integer() || found->get<std::int64_t>() < least ||
        found->get<std::int64_t>() > most)
      return fail(ErrorCode::badInput, "not a whole number in its range", place(name));
    value = found->get<int>();
    return {};
  }
  // [least, most]
  Status read(const char* name, int& least, int& most) const {
    const json* found = find(name);
    if (!found) return {};
    if (!isPair(*found) || !(*found)[0].is_number_unsigned() || !(*found)[1].is_number_unsigned() ||
        (*found)[0] > (*found)[1] || (*found)[1] > 1'000'000)
      return fail(ErrorCode::badInput, "not a range [least, most]", place(name));
    least = (*found)[0].get<int>();
    most = (*found)[1].get<int>();
    return {};
  }
  Status read(const char* name, bool& value) const {
    const json* found = find(name);
    if (!found) return {};
    if (!found->is_boolean()) return fail(ErrorCode::badInput, "neither true nor false", place(name));
    value = found->get<bool>();
    return {};
  }
  Status read(const char* name, std::string& value) const {
    const json* found = find(name);
    if (!found) return {};
    if (!found->is_string()) return fail(ErrorCode::badInput, "not a text", place(name));
    value = found->get<std::string>();
    return {};
  }
  Status read(const char* name, std::vector<std::string>& values) const {
    const json* found = find(name);
    if (!found) return {};
    DECOSCOPE_ASSIGN(values, readTexts(*found, place(name)));
    return {};
  }
  static bool isPair(const json& value) { return value.is_array() && value.size() == 2; }

 private:
  const json& object_;
  std::string where_;
};

Status readGeneration(const json* object, const std::string& where, GenerationSettings& settings) {
  if (!object) return {};
  const Fields fields(*object, where + ", sampling");
  DECOSCOPE_TRY(fields.only({"temperature", "top_p", "top_k", "max_tokens", "part_tokens", "by_line"}));
  DECOSCOPE_TRY(fields.read("temperature", settings.temperature, 0, 100));
  DECOSCOPE_TRY(fields.read("top_p", settings.topP, 1e-6, 1));
  DECOSCOPE_TRY(fields.read("top_k", settings.topK, 1, 1000));
  DECOSCOPE_TRY(fields.read("part_tokens", settings.partTokens, 0, 100'000));
  DECOSCOPE_TRY(fields.read("by_line", settings.byLine));
  return fields.read("max_tokens", settings.maxTokens, 1, 100'000);
}

Status readFilter(const json* object, const std::string& where, FilterSettings& settings) {
  if (!object) return {};
  const Fields fields(*object, where + ", filter");
  DECOSCOPE_TRY(
      fields.only({"finished", "words", "lines", "repeat_words", "repeat_times", "same_letters", "same_times",
                   "longest_word", "characters", "sums", "endings", "openings", "forbidden"}));
  DECOSCOPE_TRY(fields.read("finished", settings.finished));
  DECOSCOPE_TRY(fields.read("words", settings.leastWords, settings.mostWords));
  DECOSCOPE_TRY(fields.read("lines", settings.leastLines, settings.mostLines));
  DECOSCOPE_TRY(fields.read("repeat_words", settings.repeatWords, 0, 1000));
  DECOSCOPE_TRY(fields.read("repeat_times", settings.repeatTimes, 0, 1000));
  DECOSCOPE_TRY(fields.read("same_letters", settings.sameLetters, 0, 1000));
  DECOSCOPE_TRY(fields.read("same_times", settings.sameTimes, 0, 1000));
  DECOSCOPE_TRY(fields.read("longest_word", settings.longestWord, 0, 1000));
  DECOSCOPE_TRY(fields.read("sums", settings.sums));
  DECOSCOPE_TRY(fields.read("endings", settings.endings));
  DECOSCOPE_TRY(fields.read("openings", settings.openings));
  DECOSCOPE_TRY(fields.read("forbidden", settings.forbidden));
  std::string characters;
  DECOSCOPE_TRY(fields.read("characters", characters));
  if (characters == "any")
    settings.characters = Characters::any;
  else if (characters == "printable")
    settings.characters = Characters::printable;
  else if (characters == "ascii")
    settings.characters = Characters::ascii;
  else if (!characters.empty())
    return fail(ErrorCode::badInput, "'" + characters + "' is not any, printable or ascii",
                fields.place("characters"));
  return {};
}

Result<std::vector<ListItem>> readList(const json& list, const std::string& where) {
  if (!list.is_array()) return fail(ErrorCode::badInput, "not a list", where);
  std::vector<ListItem> items;
  for (const json& entry : list) {
    ListItem item;
    if (entry.is_string()) {
      item["text"] = entry.get<std::string>();
    } else if (entry.is_object()) {
      for (const auto& [field, text] : entry.items()) {
        if (!text.is_string())
          return fail(ErrorCode::badInput, "a field of an item is not a text", where + ", field " + field);
        item[field] = text.get<std::string>();
      }
    } else {
      return fail(ErrorCode::badInput, "an item is neither a text nor an object", where);
    }
    items.push_back(std::move(item));
  }
  return items;
}

Result<std::string> bound(const json& value, const std::string& where) {
  if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
  if (value.is_string()) return value.get<std::string>();
  return fail(ErrorCode::badInput, "a bound is neither a whole number nor an expression", where);
}

// A template alone, or with what its answers must contain.
Result<PromptForm> readForm(const json& value, const std::string& where) {
  PromptForm form;
  if (value.is_string()) {
    form.text = value.get<std::string>();
    return form;
  }
  const Fields fields(value, where);
  DECOSCOPE_TRY(fields.only({"text", "outline", "require"}));
  DECOSCOPE_TRY(fields.read("text", form.text));
  DECOSCOPE_TRY(fields.read("outline", form.outline));
  DECOSCOPE_TRY(fields.read("require", form.required));
  return form;
}

// [[ [user, assistant], … ], …]
Result<std::vector<std::vector<ExampleTurn>>> readExamples(const json& list, const std::string& where) {
  std::vector<std::vector<ExampleTurn>> sets;
  if (!list.is_array() || list.empty())
    return fail(ErrorCode::badInput, "not a list of sets of examples", where);
  for (const json& set : list) {
    if (!set.is_array()) return fail(ErrorCode::badInput, "not a set of examples", where);
    sets.emplace_back();
    for (const json& turn : set) {
      DECOSCOPE_ASSIGN(const std::vector<std::string> texts, readTexts(turn, where));
      if (texts.size() != 2) return fail(ErrorCode::badInput, "not [user, assistant]", where);
      sets.back().push_back({texts[0], texts[1]});
    }
  }
  return sets;
}

Result<PromptKind> readKind(const json& object, const std::string& where) {
  const Fields fields(object, where);
  DECOSCOPE_TRY(fields.only({"kind", "weight", "prompts", "numbers", "answer", "require", "each_line",
                             "system", "examples", "sampling", "filter"}));
  PromptKind kind;
  DECOSCOPE_TRY(fields.read("kind", kind.name));
  DECOSCOPE_TRY(fields.read("weight", kind.weight, 0, 1e9));
  DECOSCOPE_TRY(fields.read("answer", kind.answer));
  DECOSCOPE_TRY(fields.read("require", kind.required));
  DECOSCOPE_TRY(fields.read("each_line", kind.eachLine));
  if (kind.name.empty()) return fail(ErrorCode::badInput, "a kind has no name", fields.place("kind"));
  const json* prompts = fields.find("prompts");
  if (!prompts || !prompts->is_array())
    return fail(ErrorCode::badInput, "a kind needs a list of prompts", fields.place("prompts"));
  for (const json& prompt : *prompts) {
    DECOSCOPE_ASSIGN(PromptForm form, readForm(prompt, fields.place("prompts")));
    kind.prompts.push_back(std::move(form));
  }
  if (const json* numbers = fields.find("numbers")) {
    if (!numbers->is_array())
      return fail(ErrorCode::badInput, "not a list of [name, least, most]", fields.place("numbers"));
    for (const json& number : *numbers) {
      if (!number.is_array() || number.size() != 3 || !number[0].is_string())
        return fail(ErrorCode::badInput, "not [name, least, most]", fields.place("numbers"));
      NumberRange range;
      range.name = number[0].get<std::string>();
      DECOSCOPE_ASSIGN(range.low, bound(number[1], fields.place("numbers")));
      DECOSCOPE_ASSIGN(range.high, bound(number[2], fields.place("numbers")));
      kind.numbers.push_back(std::move(range));
    }
  }
  return kind;
}

}  // namespace

Result<CorpusRecipe> parseCorpusRecipe(std::string_view text, const std::string& where) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return fail(ErrorCode::badInput, "the recipe is not a JSON object", where);
  const Fields fields(document, where);
  DECOSCOPE_TRY(fields.only({"name", "about", "seed", "system", "greedy_share", "near_duplicates",
                             "near_duplicate_words", "replace", "sampling", "filter", "lists", "kinds"}));
  std::string name;
  DECOSCOPE_TRY(fields.read("name", name));
  double greedyShare = 0, resemblance = 0;
  int resemblanceWords = 20, seed = 0;
  DECOSCOPE_TRY(fields.read("seed", seed, 0, 2'147'483'647));
  DECOSCOPE_TRY(fields.read("greedy_share", greedyShare, 0, 1));
  DECOSCOPE_TRY(fields.read("near_duplicates", resemblance, 0, 1));
  DECOSCOPE_TRY(fields.read("near_duplicate_words", resemblanceWords, 5, 100'000));
  std::vector<std::pair<std::string, std::string>> replacements;
  if (const json* replace = fields.find("replace")) {
    const bool list = replace->is_array();
    for (const json& pair : list ? *replace : json::array()) {
      if (!Fields::isPair(pair) || !pair[0].is_string() || !pair[1].is_string() ||
          pair[0].get_ref<const std::string&>().empty())
        return fail(ErrorCode::badInput, "not [text, text]", fields.place("replace"));
      replacements.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
    }
    if (!list) return fail(ErrorCode::badInput, "not a list", fields.place("replace"));
  }
  CorpusKind common;
  DECOSCOPE_TRY(fields.read("system", common.system));
  DECOSCOPE_TRY(readGeneration(fields.find("sampling"), where, common.generation));
  DECOSCOPE_TRY(readFilter(fields.find("filter"), where, common.filter));
  GrammarData data;
  if (const json* lists = fields.find("lists")) {
    if (!lists->is_object()) return fail(ErrorCode::badInput, "not a JSON object", fields.place("lists"));
    for (const auto& [list, items] : lists->items()) {
      DECOSCOPE_ASSIGN(data.lists[list], readList(items, where + ", list '" + list + "'"));
    }
  }
  std::vector<CorpusKind> kinds;
  const json* kindList = fields.find("kinds");
  if (!kindList || !kindList->is_array())
    return fail(ErrorCode::badInput, "a recipe needs a list of kinds", fields.place("kinds"));
  for (const json& object : *kindList) {
    const std::string place = where + ", kind " + std::to_string(kinds.size());
    DECOSCOPE_ASSIGN(PromptKind kind, readKind(object, place));
    kinds.push_back(common);
    const Fields kindFields(object, place);
    DECOSCOPE_TRY(kindFields.read("system", kinds.back().system));
    if (const json* examples = kindFields.find("examples")) {
      DECOSCOPE_ASSIGN(kinds.back().examples, readExamples(*examples, kindFields.place("examples")));
      kind.variants = static_cast<int>(kinds.back().examples.size());
    }
    data.kinds.push_back(std::move(kind));
    DECOSCOPE_TRY(readGeneration(kindFields.find("sampling"), place, kinds.back().generation));
    DECOSCOPE_TRY(readFilter(kindFields.find("filter"), place, kinds.back().filter));
  }
  DECOSCOPE_ASSIGN(PromptGrammar grammar, PromptGrammar::create(std::move(data), where));
  return CorpusRecipe{
      std::move(name),     static_cast<std::uint64_t>(seed), greedyShare,      resemblance,
      resemblanceWords,    std::move(replacements),          std::move(kinds), std::move(grammar),
      fnvFingerprint(text)};
}

Result<CorpusRecipe> readCorpusRecipe(const std::string& path) {
  DECOSCOPE_ASSIGN(const std::string content, readWholeFile(path, kLargestFile, "the recipe cannot be read",
                                                            "a recipe is at most 8 MiB"));
  return parseCorpusRecipe(content, path);
}

}  // namespace decoscope
