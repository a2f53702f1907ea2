// Chat messages and their rendering to the text that a model was trained on.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Reads `[{"role":…,"content":…}]` or `{"messages":[…]}`; `where` names the file in errors.
Result<std::vector<ChatMessage>> parseChatMessages(std::string_view json, const std::string& where);

// Renders with the tokenizer's own template. Today the ChatML family as SmolLM2 ships it is known, its
// default system message included (recognised by the template's text); other templates are refused by name.
// The result is encoded with parseSpecial and without addSpecial.
Result<std::string> renderChat(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                               bool addGenerationPrompt = true);

}  // namespace decoscope
