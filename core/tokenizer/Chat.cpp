#include "core/tokenizer/Chat.h"

#include <nlohmann/json.hpp>

namespace decoscope {

Result<std::vector<ChatMessage>> parseChatMessages(std::string_view text, const std::string& where) {
  const auto document = nlohmann::json::parse(text, nullptr, false);
  if (document.is_discarded()) return fail(ErrorCode::badInput, "the chat is not JSON", where);
  const auto& list = document.is_object() && document.contains("messages") ? document["messages"] : document;
  if (!list.is_array() || list.empty())
    return fail(ErrorCode::badInput, "the chat has no messages", where,
                "Expected [{\"role\":\"user\",\"content\":\"…\"}].");
  std::vector<ChatMessage> messages;
  for (const auto& entry : list) {
    if (!entry.is_object() || !entry.contains("role") || !entry["role"].is_string() ||
        !entry.contains("content") || !entry["content"].is_string())
      return fail(ErrorCode::badInput, "a message needs the strings role and content",
                  where + ", message " + std::to_string(messages.size()));
    messages.push_back({entry["role"].get<std::string>(), entry["content"].get<std::string>()});
  }
  return messages;
}

namespace {

// The system message that a ChatML template inserts when the chat begins without one: the literal between its
// markers.
std::string defaultSystem(const std::string& chatTemplate) {
  const std::string open = "<|im_start|>system\n", close = "<|im_end|>";
  auto begin = chatTemplate.find(open);
  std::size_t length = open.size();
  if (begin == std::string::npos) {
    // Inside a JSON-like literal the line break may be spelled with a backslash.
    begin = chatTemplate.find("<|im_start|>system\\n");
    length = open.size() + 1;
  }
  if (begin == std::string::npos) return {};
  begin += length;
  const auto end = chatTemplate.find(close, begin);
  return end == std::string::npos ? std::string() : chatTemplate.substr(begin, end - begin);
}

}  // namespace

Result<std::string> renderChat(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                               bool addGenerationPrompt) {
  const std::string& chatTemplate = tokenizer.chatTemplate();
  if (chatTemplate.empty())
    return fail(ErrorCode::unsupported, "the model has no chat template", tokenizer.description(),
                "Use --prompt instead.");
  // ChatML as SmolLM2 writes it: one turn format, and a system message if the first message is not one.
  const bool chatMl =
      chatTemplate.find(
          "'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'") !=
          std::string::npos ||
      chatTemplate.find(
          "'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'") !=
          std::string::npos;
  if (!chatMl || chatTemplate.find("tools") != std::string::npos)
    return fail(
        ErrorCode::unsupported, "this chat template is not supported yet", tokenizer.description(),
        "Supported: ChatML as SmolLM2 ships it. Render the chat yourself and give it with --prompt-ids.");
  std::string text;
  const std::string system = defaultSystem(chatTemplate);
  if (!messages.empty() && messages.front().role != "system" && !system.empty())
    text += "<|im_start|>system\n" + system + "<|im_end|>\n";
  for (const ChatMessage& message : messages)
    text += "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n";
  if (addGenerationPrompt) text += "<|im_start|>assistant\n";
  return text;
}

}  // namespace decoscope
