// Whole-number arithmetic over named numbers, as prompt grammars write it: + − * / and parentheses.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/base/Status.h"

namespace decoscope {

using Numbers = std::map<std::string, std::int64_t, std::less<>>;

// The value of "a * (b - 2)". A division must come out even. Errors: badInput for what is malformed, names no
// number of `numbers`, divides unevenly or leaves ±10^15; nesting is at most 32 deep.
Result<std::int64_t> evaluate(std::string_view expression, const Numbers& numbers);

}  // namespace decoscope
