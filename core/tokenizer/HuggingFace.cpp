// tokenizer.json and the files beside it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/tokenizer/Patterns.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uintmax_t kMaximumBytes = 256u << 20;
// Vocabularies have gaps, but none that outnumber their tokens by far: a small file cannot ask for much
// memory.
constexpr std::size_t idLimit(std::size_t entries) {
  return 2 * entries + 65'536;
}

Result<json> readJson(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return fail(ErrorCode::notFound, "the file cannot be read: " + error.message(), path.string());
  if (size > kMaximumBytes)
    return fail(ErrorCode::badInput, "the file is larger than 256 MiB", path.string());
  std::ifstream stream(path, std::ios::binary);
  json document = json::parse(stream, nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return fail(ErrorCode::badInput, "not a JSON object", path.string());
  return document;
}

std::string textOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A token given as "text" or as {"content": "text"}.
std::string tokenText(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_object() ? textOf(*found, "content") : std::string();
}

Status readPreTokenizer(const json& step, const std::string& where, VocabularyData& data) {
  const std::string type = textOf(step, "type");
  if (type == "Sequence") {
    for (const json& inner : step.value("pretokenizers", json::array()))
      DECOSCOPE_TRY(readPreTokenizer(inner, where, data));
    return {};
  }
  if (type == "ByteLevel") {
    if (step.value("add_prefix_space", false))
      return fail(ErrorCode::unsupported, "a ByteLevel pre-tokenizer that adds a space is not supported yet",
                  where);
    if (step.value("use_regex", true)) data.splitPatterns.push_back(kGpt2Pattern);
    return {};
  }
  if (type == "Digits") {
    data.splitPatterns.push_back(step.value("individual_digits", false) ? "\\p{N}" : "\\p{N}+");
    return {};
  }
  if (type == "Split" && textOf(step, "behavior") == "Isolated" && !step.value("invert", false)) {
    const json pattern = step.value("pattern", json::object());
    const std::string regex = textOf(pattern, "Regex"), literal = textOf(pattern, "String");
    if (!regex.empty() || !literal.empty()) {
      data.splitPatterns.push_back(!regex.empty() ? regex : "\\Q" + literal + "\\E");
      return {};
    }
  }
  return fail(ErrorCode::unsupported, "the pre-tokenizer '" + type + "' is not supported yet", where,
              "Supported: ByteLevel, Digits, Split (isolated), Sequence.");
}

Status readModel(const json& model, const std::string& where, VocabularyData& data) {
  const std::string type = textOf(model, "type");
  if (type != "BPE" && !(type.empty() && model.contains("merges")))
    return fail(ErrorCode::unsupported, "a tokenizer of kind '" + type + "' is not supported yet", where,
                "Supported: BPE (byte-level).");
  if (!textOf(model, "continuing_subword_prefix").empty() || !textOf(model, "end_of_word_suffix").empty() ||
      model.value("byte_fallback", false))
    return fail(ErrorCode::unsupported,
                "this BPE variant (prefixes, suffixes or byte fallback) is not supported yet", where,
                "Supported: byte-level BPE.");
  data.ignoreMerges = model.value("ignore_merges", false);
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object())
    return fail(ErrorCode::badInput, "there is no vocabulary", where + ", field model.vocab");
  for (const auto& [piece, id] : vocabulary->items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= idLimit(vocabulary->size()))
      return fail(ErrorCode::badInput, "a token id is out of range", where + ", piece " + piece);
    const auto index = id.get<std::size_t>();
    if (data.pieces.size() <= index) data.pieces.resize(index + 1);
    data.pieces[index] = piece;
  }
  for (const json& merge : model.value("merges", json::array())) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      data.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const auto space = text.find(' ');
      if (space == std::string::npos)
        return fail(ErrorCode::badInput, "a merge has no space between its parts",
                    where + ", merge '" + text + "'");
      data.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else {
      return fail(ErrorCode::badInput, "a merge is neither a pair nor a string",
                  where + ", field model.merges");
    }
  }
  return {};
}

Status readAddedTokens(const json& document, const std::string& where, VocabularyData& data) {
  data.types.assign(data.pieces.size(), VocabularyData::PieceType::normal);
  const json list = document.value("added_tokens", json::array());
  const std::size_t limit = idLimit(data.pieces.size() + list.size());
  for (const json& added : list) {
    const std::string content = tokenText(added, "content");
    if (!added.contains("id") || !added["id"].is_number_unsigned() ||
        added["id"].get<std::uint64_t>() >= limit)
      return fail(ErrorCode::badInput, "an added token has no usable id",
                  where + ", token '" + content + "'");
    const auto id = added["id"].get<std::size_t>();
    if (data.pieces.size() <= id)
      data.pieces.resize(id + 1), data.types.resize(id + 1, VocabularyData::PieceType::normal);
    data.pieces[id] = content;
    data.types[id] = added.value("special", false) ? VocabularyData::PieceType::control
                                                   : VocabularyData::PieceType::userDefined;
  }
  return {};
}

// TemplateProcessing: which special tokens stand before and after a single sequence.
void readPostProcessor(const json& processor, VocabularyData& data, std::string& before, std::string& after) {
  const std::string type = textOf(processor, "type");
  if (type == "Sequence")
    for (const json& inner : processor.value("processors", json::array()))
      readPostProcessor(inner, data, before, after);
  if (type != "TemplateProcessing") return;
  bool seen = false;
  for (const json& part : processor.value("single", json::array())) {
    if (part.contains("Sequence"))
      seen = true;
    else if (part.contains("SpecialToken"))
      (seen ? after : before) = textOf(part["SpecialToken"], "id");
  }
}

void addStops(const json& document, VocabularyData& data) {
  const auto eos = document.find("eos_token_id");
  if (eos == document.end()) return;
  const auto add = [&](const json& id) {
    if (!id.is_number_unsigned()) return;
    const auto token = id.get<TokenId>();
    if (std::find(data.stops.begin(), data.stops.end(), token) == data.stops.end())
      data.stops.push_back(token);
  };
  if (eos->is_array())
    for (const json& id : *eos) add(id);
  else
    add(*eos);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> loadTokenizer(const std::string& path) {
  std::error_code error;
  const fs::path folder = fs::is_directory(path, error) ? fs::path(path) : fs::path(path).parent_path();
  const fs::path file = fs::is_directory(path, error) ? folder / "tokenizer.json" : fs::path(path);
  if (!fs::exists(file, error))
    return fail(ErrorCode::badInput, "the tokenizer is missing", file.string(),
                "Copy tokenizer.json of the model beside its weights.");
  const std::string where = file.string();
  DECOSCOPE_ASSIGN(const json document, readJson(file));
  VocabularyData data;
  data.source = where;
  try {
    if (const auto normalizer = document.find("normalizer");
        normalizer != document.end() && normalizer->is_object()) {
      if (textOf(*normalizer, "type") != "NFC")
        return fail(ErrorCode::unsupported,
                    "the normalizer '" + textOf(*normalizer, "type") + "' is not supported yet", where,
                    "Supported: none, NFC.");
      data.composeNfc = true;
    }
    DECOSCOPE_TRY(readModel(document.value("model", json::object()), where, data));
    if (const auto pre = document.find("pre_tokenizer"); pre != document.end() && pre->is_object())
      DECOSCOPE_TRY(readPreTokenizer(*pre, where, data));
    DECOSCOPE_TRY(readAddedTokens(document, where, data));
    std::string before, after;
    if (const auto post = document.find("post_processor"); post != document.end() && post->is_object())
      readPostProcessor(*post, data, before, after);

    json config = json::object();
    if (auto read = readJson(folder / "tokenizer_config.json")) config = std::move(*read);
    const auto idOf = [&](const std::string& text) -> std::optional<TokenId> {
      const auto found = std::find(data.pieces.begin(), data.pieces.end(), text);
      if (text.empty() || found == data.pieces.end()) return std::nullopt;
      return static_cast<TokenId>(found - data.pieces.begin());
    };
    data.bos = idOf(!before.empty() ? before : tokenText(config, "bos_token"));
    data.eos = idOf(!after.empty() ? after : tokenText(config, "eos_token"));
    data.addBos = !before.empty();
    data.addEos = !after.empty();
    data.chatTemplate = textOf(config, "chat_template");
    if (data.eos) data.stops.push_back(*data.eos);
    for (const char* name : {"generation_config.json", "config.json"})
      if (const auto other = readJson(folder / name)) addStops(*other, data);
  } catch (const json::exception& exception) {
    return fail(ErrorCode::badInput, std::string("the file has an unexpected shape: ") + exception.what(),
                where);
  }
  return makeBytePairTokenizer(std::move(data));
}

}  // namespace decoscope
