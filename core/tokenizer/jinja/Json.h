// JSON to values and back, the latter as Python's json.dumps writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/Status.h"
#include "core/tokenizer/jinja/Value.h"

namespace decoscope::jinja {

// Objects keep their order. Integers beyond 64 bits are refused. `where` names the source in errors.
Result<Value> parseJson(std::string_view text, const std::string& where);

struct JsonStyle {
  bool escapeNonAscii = false, sortKeys = false;
  std::optional<std::string> indent;  // of one level; without it all stands on one line
  std::string itemSeparator = ", ", keySeparator = ": ";
};
// Throws Failure for what json.dumps does not write.
std::string toJson(const Value& value, const JsonStyle& style = {});

}  // namespace decoscope::jinja
