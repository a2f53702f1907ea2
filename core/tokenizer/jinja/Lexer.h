// Splits a template into tokens, as Jinja2 does with trim_blocks and lstrip_blocks on and
// keep_trailing_newline off (the settings that chat templates are written for).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace decoscope::jinja {

struct Token {
  enum class Type {
    data,
    blockBegin,
    blockEnd,
    variableBegin,
    variableEnd,
    name,
    string,
    integer,
    real,
    symbol,  // an operator or bracket; `text` is its spelling
    end,
  };
  Type type = Type::end;
  std::string text;  // data, name, symbol as written; strings without quotes and escapes
  std::int64_t integer = 0;
  double real = 0;
  int line = 1;
};

// `source` is well-formed UTF-8. Throws Failure. The last token is `end`.
std::vector<Token> tokenize(std::string_view source);

// "end of print statement" and the like, as Jinja2's messages name tokens.
std::string describe(const Token& token);

}  // namespace decoscope::jinja
