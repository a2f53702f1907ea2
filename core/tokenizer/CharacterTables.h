// Characters that are younger than the Unicode versions of this program's libraries.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace decoscope {

struct CharacterRange {
  char32_t first, last;
};
// Those that a property of regular expressions has in the tokenizers' library beyond what Oniguruma 6.9.8
// gives it: "l", "lu", "uppercaseletter", "han", and "w" and "d" for the escapes. Empty for a property
// without any.
std::span<const CharacterRange> youngerCharacters(std::string_view property);

bool isYoungerWordCharacter(char32_t c);
bool isYoungerNumber(char32_t c);
// Characters that join the cluster before them.
bool isYoungerExtender(char32_t c);
// The lower case of a letter whose case ICU 72 does not know; others are given back.
char32_t youngerLowercase(char32_t c);

}  // namespace decoscope
