#pragma once

#include <string_view>

namespace decoscope {

// Whether brackets and braces of a JSON text are open more than `limit` deep at some place; known before
// anything is built of it.
bool jsonNestsDeeper(std::string_view text, int limit);

}  // namespace decoscope
