#pragma once

#include <cstddef>
#include <string_view>

namespace decoscope {

// What stands at the beginning of `bytes` (not empty): a well-formed sequence, or a maximal ill-formed one,
// which is incomplete when only the end of the input makes it so.
struct Utf8Step {
  std::size_t length = 1;
  bool valid = false;
  bool incomplete = false;
};
Utf8Step utf8Step(std::string_view bytes);

}  // namespace decoscope
