#include "core/tokenizer/Folder.h"

#include <algorithm>

#include "core/base/Files.h"
#include "core/tokenizer/TokenizerJson.h"

namespace decoscope {

using nlohmann::json;
using tokenizerJson::flagOf;
using tokenizerJson::memberOf;
using tokenizerJson::textOf;
using tokenizerJson::tokenText;
namespace fs = std::filesystem;

Result<std::string> readWhole(const fs::path& path, std::uintmax_t limit) {
  return readWholeFile(path.string(), limit, "the file cannot be read",
                       "the file is larger than " + std::to_string(limit >> 20) + " MiB");
}

Result<json> readJsonObject(const fs::path& path) {
  DECOSCOPE_ASSIGN(const std::string text, readWhole(path));
  return tokenizerJson::parseObject(text, path.string());
}

TokenizerFolder openTokenizerFolder(const fs::path& path) {
  TokenizerFolder folder{path, json::object(), json::object()};
  if (auto config = readJsonObject(path / "tokenizer_config.json")) folder.config = std::move(*config);
  if (auto specials = readJsonObject(path / "special_tokens_map.json"))
    folder.specials = std::move(*specials);
  return folder;
}

std::string TokenizerFolder::tokenizerClass() const {
  std::string name = textOf(config, "tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

std::string TokenizerFolder::tokenNamed(const char* key) const {
  const std::string own = tokenText(config, key);
  return own.empty() ? tokenText(specials, key) : own;
}

bool TokenizerFolder::flag(const char* key, bool fallback) const {
  return flagOf(config, key, fallback);
}

Result<std::vector<AddedToken>> TokenizerFolder::addedTokens(std::size_t vocabularySize) const {
  std::vector<AddedToken> tokens;
  const json& decoder = memberOf(config, "added_tokens_decoder");
  json plain = json::object();
  if (auto read = readJsonObject(path / "added_tokens.json")) plain = std::move(*read);
  const std::uint64_t limit = idLimit(vocabularySize + decoder.size() + plain.size());
  const auto outOfRange = [&](const std::string& what) {
    return fail(ErrorCode::badInput, "an added token has no usable id",
                path.string() + ", token '" + what + "'");
  };
  if (decoder.is_object()) {
    for (const auto& [key, entry] : decoder.items()) {
      AddedToken token;
      token.content = textOf(entry, "content");
      if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos ||
          std::stoull(key) >= limit)
        return outOfRange(token.content);
      token.id = static_cast<TokenId>(std::stoull(key));
      token.special = flagOf(entry, "special", false);
      token.singleWord = flagOf(entry, "single_word", false);
      token.stripLeft = flagOf(entry, "lstrip", false);
      token.stripRight = flagOf(entry, "rstrip", false);
      token.normalized = flagOf(entry, "normalized", !token.special);
      if (!token.content.empty()) tokens.push_back(std::move(token));
    }
  }
  for (const auto& item : plain.items()) {
    const std::string& content = item.key();
    const json& id = item.value();
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= limit) return outOfRange(content);
    const bool known = std::any_of(tokens.begin(), tokens.end(),
                                   [&](const AddedToken& token) { return token.content == content; });
    if (known || content.empty()) continue;
    AddedToken token;
    token.content = content;
    token.id = static_cast<TokenId>(id.get<std::uint64_t>());
    for (const char* key :
         {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"})
      token.special = token.special || tokenNamed(key) == content;
    token.normalized = !token.special;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

namespace {

void addStops(const json& document, std::vector<TokenId>& stops) {
  const auto add = [&](const json& id) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > 0x7FFFFFFF) return;
    const auto token = static_cast<TokenId>(id.get<std::uint64_t>());
    if (std::find(stops.begin(), stops.end(), token) == stops.end()) stops.push_back(token);
  };
  const auto found = document.find("eos_token_id");
  if (found == document.end()) return;
  if (found->is_array())
    for (const json& id : *found) add(id);
  else
    add(*found);
}

void readChatTemplates(const TokenizerFolder& folder, PipelineParts& parts) {
  const auto take = [&](const json& value) {
    if (value.is_string()) parts.chatTemplate = value.get<std::string>();
    if (!value.is_array()) return;
    for (const json& entry : value) {
      const std::string name = textOf(entry, "name"), text = textOf(entry, "template");
      if (name == "default") parts.chatTemplate = text;
      if (name == "tool_use") parts.toolTemplate = text;
    }
    if (parts.chatTemplate.empty() && value.size() == 1) parts.chatTemplate = textOf(value[0], "template");
  };
  if (const auto found = folder.config.find("chat_template"); found != folder.config.end()) take(*found);
  // Files of their own win over the configuration.
  if (const auto read = readJsonObject(folder.path / "chat_template.json"))
    if (const auto found = read->find("chat_template"); found != read->end()) take(*found);
  if (auto text = readWhole(folder.path / "chat_template.jinja")) parts.chatTemplate = std::move(*text);
  if (auto text = readWhole(folder.path / "additional_chat_templates" / "tool_use.jinja"))
    parts.toolTemplate = std::move(*text);
}

}  // namespace

void describeText(const TokenizerFolder& folder, PipelineParts& parts) {
  json model = json::object(), generation = json::object();
  if (auto read = readJsonObject(folder.path / "config.json")) model = std::move(*read);
  if (auto read = readJsonObject(folder.path / "generation_config.json")) generation = std::move(*read);
  const auto numbered = [&](const char* key) -> std::optional<TokenId> {
    for (const json* document : {&generation, &model})
      if (const auto found = document->find(key); found != document->end() && found->is_number_unsigned() &&
                                                  found->get<std::uint64_t>() < parts.size())
        return static_cast<TokenId>(found->get<std::uint64_t>());
    return std::nullopt;
  };
  // The first and last token of the templates, where no file says more.
  std::optional<TokenId> before, after;
  for (const TokenTemplate& around : parts.templates) {
    if (!around.empty() && around.front()) before = around.front();
    if (!around.empty() && around.back()) after = around.back();
  }
  const auto textAt = [&](std::optional<TokenId> id) {
    if (!id) return std::string();
    for (const AddedToken& token : parts.added)
      if (token.id == *id) return token.content;
    return parts.model ? parts.model->vocabulary().piece(*id) : std::string();
  };
  parts.bosText = folder.tokenNamed("bos_token");
  parts.eosText = folder.tokenNamed("eos_token");
  parts.bos = parts.idOf(parts.bosText);
  parts.eos = parts.idOf(parts.eosText);
  if (parts.bosText.empty()) {
    parts.bos = before ? before : numbered("bos_token_id");
    parts.bosText = textAt(parts.bos);
  }
  if (parts.eosText.empty()) {
    parts.eos = after ? after : numbered("eos_token_id");
    parts.eosText = textAt(parts.eos);
  }
  for (const char* key : {"unk_token", "pad_token", "sep_token", "cls_token", "mask_token"})
    if (std::string text = folder.tokenNamed(key); !text.empty())
      parts.named.emplace_back(key, std::move(text));
  if (parts.eos) parts.stops.push_back(*parts.eos);
  addStops(generation, parts.stops);
  addStops(model, parts.stops);
  readChatTemplates(folder, parts);
}

}  // namespace decoscope
