// Chats and their rendering to the text that a model was trained on, by the model's own chat template.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Tokenizer.h"
#include "core/tokenizer/jinja/Template.h"

namespace decoscope {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool", …; empty where the message names none
  std::string
      content;  // its text, empty for null; of content in parts, the text parts with a line break between
  jinja::Value value;  // the whole message as the template sees it
};

struct Chat {
  std::vector<ChatMessage> messages;
  jinja::Value tools = nullptr, documents = nullptr;  // lists, or none
  // Further variables for the template, such as enable_thinking; these win over everything else.
  jinja::Variables variables;
  std::optional<bool> addGenerationPrompt;  // what the chat itself says
};

// Reads `[{"role":…,"content":…},…]`, or `{"messages":[…]}` with `tools`, `documents` and
// `add_generation_prompt` beside it; every other key, and what `chat_template_kwargs` holds, becomes a
// variable of the template. A message may have any keys. A null is none to the template, in messages as in
// variables; those four keys then say nothing. `where` names the source in errors.
Result<Chat> parseChat(std::string_view json, const std::string& where);

struct ChatOptions {
  // Open the assistant's turn; wins over what the chat says. Neither says anything: yes.
  std::optional<bool> addGenerationPrompt;
  std::optional<std::tm> date;                    // what strftime_now formats; absent: now, local time
  std::optional<std::string> bosToken, eosToken;  // undefined to the template if absent
  // Further tokens by their name in the template: {"unk_token", "<unk>"}.
  std::vector<std::pair<std::string, std::string>> namedTokens;
};

// Renders a chat as transformers' apply_chat_template does. Errors: see jinja::Template; where the template
// calls raise_exception, ErrorCode::badInput with its words as the message.
Result<std::string> renderChat(std::string_view chatTemplate, const Chat& chat,
                               const ChatOptions& options = {});

// With the template of a tokenizer (for a chat with tools the one for tools, where there is one), and its
// special tokens where the options name none. The result is encoded with parseSpecial and without addSpecial.
Result<std::string> renderChat(const Tokenizer& tokenizer, const Chat& chat, ChatOptions options = {});

// "26 Jul 2024", "2024-07-26" or "2024-07-26 18:30:00" (also with a T between).
Result<std::tm> parseChatDate(const std::string& text);

}  // namespace decoscope
