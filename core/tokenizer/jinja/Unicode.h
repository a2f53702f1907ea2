// Characters and text by Python's rules: what counts as white space, a letter, upper case, printable; case
// mapping; slicing and searching by code points. Texts are well-formed UTF-8 throughout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decoscope::jinja {

// The code point at `at`, which moves behind it.
char32_t nextCodePoint(std::string_view text, std::size_t& at);
void appendCodePoint(std::string& out, char32_t c);
std::u32string codePoints(std::string_view text);
std::string utf8(std::u32string_view text);
// The code point of a Unicode character name.
std::optional<char32_t> characterNamed(const std::string& name);
// "xe9", "u20ac", "U0001f600": Python's backslashreplace without the backslash.
std::string asciiEscape(char32_t c);

bool isSpace(char32_t c);
bool isIdentifierStart(char32_t c);
bool isIdentifierPart(char32_t c);
bool isWordCharacter(char32_t c);  // \w of a regular expression
bool isAlphabetic(char32_t c);
bool isDecimal(char32_t c);
bool isDigitCharacter(char32_t c);
bool isNumericCharacter(char32_t c);
bool isUpperCase(char32_t c);
bool isLowerCase(char32_t c);
bool isTitleCase(char32_t c);
bool isPrintable(char32_t c);
int decimalValue(char32_t c);  // 0…9, or -1

std::string toUpper(std::string_view text);
std::string toLower(std::string_view text);
std::string toTitle(std::string_view text);        // str.title()
std::string toCapitalized(std::string_view text);  // str.capitalize()
std::string swapCase(std::string_view text);
std::string foldCase(std::string_view text);

std::string_view stripLeft(std::string_view text);
std::string_view stripRight(std::string_view text);
std::string_view strip(std::string_view text);
// With the characters of `characters` instead of white space.
std::string_view stripLeft(std::string_view text, std::string_view characters);
std::string_view stripRight(std::string_view text, std::string_view characters);

// str.splitlines()
std::vector<std::string> splitLines(std::string_view text, bool keepEnds);

// Byte position of the code point with that index (at most the length).
std::size_t byteOffset(std::string_view text, std::size_t index, bool ascii);
std::size_t countCodePoints(std::string_view text);

}  // namespace decoscope::jinja
