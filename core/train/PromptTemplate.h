// One template of a prompt grammar, read once. Internal to the grammar; PromptGrammar.h has the notation.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

struct TemplatePart;
using TemplateParts = std::vector<TemplatePart>;

struct TemplatePart {
  enum class Sort { literal, alternatives, reference, expression } sort = Sort::literal;
  std::string text;  // the literal, the expression, or the name of a list or number
  std::vector<TemplateParts> alternatives;
  int which = 1;  // of a reference: which of the items chosen from its list
  std::string field = "text";
  bool article = false, capital = false;
};

// Error badInput for braces that do not match or hold nothing that is known; nesting is at most 16 deep.
Result<TemplateParts> parseTemplate(std::string_view text);

}  // namespace decoscope
