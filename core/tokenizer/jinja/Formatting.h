// Python's two ways to format: "%5.2f" % x and "{:>5.2f}".format(x).
#pragma once

#include <string>

#include "core/tokenizer/jinja/Interpreter.h"

namespace decoscope::jinja {

// `format % values`: a tuple gives one value for each mark, a dict the named ones, anything else the only
// one.
Value percentFormat(const Value& format, const Value& values);
Value braceFormat(const Value& format, const Arguments& arguments);
// format(value, specification)
std::string formatted(const Value& value, const std::string& specification);
// Digits after the point, correctly rounded, never an exponent.
std::string fixed(double value, int digits);

}  // namespace decoscope::jinja
