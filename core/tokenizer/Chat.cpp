#include "core/tokenizer/Chat.h"

#include <array>
#include <cstdio>

#include "core/tokenizer/jinja/Json.h"

namespace decoscope {

using jinja::Kind;
using jinja::Value;

namespace {

std::string textOf(const Value& content) {
  if (content.is(Kind::string)) return content.bytes();
  std::string text;
  if (!content.is(Kind::list)) return text;
  for (const Value& part : content.items()) {
    const Value* found = part.is(Kind::dict) ? part.entries().find(std::string_view("text")) : &part;
    if (!found || !found->is(Kind::string)) continue;
    if (!text.empty()) text += '\n';
    text += found->bytes();
  }
  return text;
}

std::string fieldText(const Value& message, std::string_view name) {
  const Value* found = message.entries().find(name);
  return found ? textOf(*found) : std::string();
}

}  // namespace

Result<Chat> parseChat(std::string_view json, const std::string& where) {
  DECOSCOPE_ASSIGN(const Value document, jinja::parseJson(json, where));
  Chat chat;
  const Value* list = &document;
  if (document.is(Kind::dict)) {
    list = document.entries().find(std::string_view("messages"));
    for (const auto& [key, value] : document.entries().items) {
      const std::string& name = key.bytes();
      if (name == "messages") continue;
      if (name == "tools" || name == "documents") {
        if (!value.is(Kind::list) && !value.is(Kind::none))
          return fail(ErrorCode::badInput, name + " must be a list", where);
        (name == "tools" ? chat.tools : chat.documents) = value;
      } else if (name == "add_generation_prompt") {
        if (!value.is(Kind::none)) chat.addGenerationPrompt = value.truth();
      } else if (name == "chat_template_kwargs" && (value.is(Kind::dict) || value.is(Kind::none))) {
        if (value.is(Kind::none)) continue;
        for (const auto& [variable, held] : value.entries().items)
          chat.variables.emplace_back(variable.bytes(), held);
      } else {
        chat.variables.emplace_back(name, value);
      }
    }
  }
  if (!list || !list->is(Kind::list) || list->items().empty())
    return fail(ErrorCode::badInput, "the chat has no messages", where,
                "Expected [{\"role\":\"user\",\"content\":\"…\"}].");
  for (const Value& message : list->items()) {
    if (!message.is(Kind::dict))
      return fail(ErrorCode::badInput, "a message must be an object",
                  where + ", message " + std::to_string(chat.messages.size()));
    chat.messages.push_back({fieldText(message, "role"), fieldText(message, "content"), message});
  }
  return chat;
}

Result<std::string> renderChat(std::string_view chatTemplate, const Chat& chat, const ChatOptions& options) {
  DECOSCOPE_ASSIGN(const jinja::Template compiled, jinja::Template::compile(chatTemplate));
  std::vector<Value> messages;
  for (const ChatMessage& message : chat.messages) messages.push_back(message.value);
  jinja::Variables variables = {
      {"messages", Value::list(std::move(messages))},
      {"tools", chat.tools},
      {"documents", chat.documents},
      {"add_generation_prompt",
       Value(options.addGenerationPrompt.value_or(chat.addGenerationPrompt.value_or(true)))}};
  if (options.bosToken) variables.emplace_back("bos_token", Value(*options.bosToken));
  if (options.eosToken) variables.emplace_back("eos_token", Value(*options.eosToken));
  for (const auto& [name, text] : options.namedTokens) variables.emplace_back(name, Value(text));
  variables.insert(variables.end(), chat.variables.begin(), chat.variables.end());
  jinja::RenderOptions render;
  render.now = options.date;
  return compiled.render(variables, render);
}

Result<std::string> renderChat(const Tokenizer& tokenizer, const Chat& chat, ChatOptions options) {
  const bool tools = !chat.tools.is(Kind::none) && !tokenizer.toolChatTemplate().empty();
  const std::string& chatTemplate = tools ? tokenizer.toolChatTemplate() : tokenizer.chatTemplate();
  if (chatTemplate.empty())
    return fail(ErrorCode::unsupported, "the model has no chat template", tokenizer.description(),
                "Use --prompt instead.");
  const auto take = [](std::optional<std::string>& token, std::string text) {
    if (!token && !text.empty()) token = std::move(text);
  };
  take(options.bosToken, tokenizer.bosText());
  take(options.eosToken, tokenizer.eosText());
  if (options.namedTokens.empty()) options.namedTokens = tokenizer.namedTokens();
  return renderChat(chatTemplate, chat, options);
}

Result<std::tm> parseChatDate(const std::string& text) {
  static constexpr std::array months = {"jan", "feb", "mar", "apr", "may", "jun",
                                        "jul", "aug", "sep", "oct", "nov", "dec"};
  std::tm date{};
  char name[16] = {};
  int day = 0, month = 0, year = 0, end = 0;
  bool valid = false;
  if (std::sscanf(text.c_str(), "%2d %15[A-Za-z] %4d%n", &day, name, &year, &end) == 3) {
    std::string lower;
    for (const char* c = name; *c; ++c) lower += static_cast<char>(*c | 0x20);
    for (std::size_t i = 0; i < months.size(); ++i)
      if (lower.starts_with(months[i])) month = static_cast<int>(i) + 1;
    valid = month > 0;
  } else if (end = 0; std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3) {
    valid = true;
  }
  if (valid && end < static_cast<int>(text.size())) {
    int used = 0;
    valid = (text[static_cast<std::size_t>(end)] == ' ' || text[static_cast<std::size_t>(end)] == 'T') &&
            std::sscanf(text.c_str() + end + 1, "%2d:%2d:%2d%n", &date.tm_hour, &date.tm_min, &date.tm_sec,
                        &used) == 3 &&
            end + 1 + used == static_cast<int>(text.size());
  }
  date.tm_mday = day;
  date.tm_mon = month - 1;
  date.tm_year = year - 1900;
  // Fills in the weekday; a day that does not exist comes back as another one.
  std::tm normal = date;
  if (valid) timegm(&normal);
  if (!valid || normal.tm_mday != day || normal.tm_mon != month - 1 || normal.tm_hour != date.tm_hour ||
      normal.tm_min != date.tm_min || normal.tm_sec != date.tm_sec)
    return fail(ErrorCode::usage, "not a date: " + text, "--date",
                "Write it as \"26 Jul 2024\" or 2024-07-26.");
  return normal;
}

}  // namespace decoscope
