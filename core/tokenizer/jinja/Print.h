// Values as text: Python's str(), repr(), and pprint.
#pragma once

#include <string>

#include "core/tokenizer/jinja/Value.h"

namespace decoscope::jinja {

std::string str(const Value& value);
std::string repr(const Value& value);
std::string reprOfText(std::string_view text);
// "1.0", "1e+16", "nan": the shortest text that reads back as the same number.
std::string reprOfReal(double value);
std::string prettyPrinted(const Value& value);

}  // namespace decoscope::jinja
