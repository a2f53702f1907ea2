// Code points, and the classes of characters that tokenizers tell apart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace decoscope {

// The code point at the beginning of well-formed, non-empty text, and its length in bytes.
struct CodePoint {
  char32_t value = 0;
  std::size_t length = 1;
};
CodePoint codePointAt(std::string_view text);
void appendUtf8(std::string& out, char32_t value);

// Calls visit(code point, its bytes, offset) for each character of well-formed text.
template <typename Visit>
void eachCharacter(std::string_view text, Visit&& visit) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = codePointAt(text.substr(at));
    visit(c.value, text.substr(at, c.length), at);
    at += c.length;
  }
}

bool isWhitespace(char32_t c);        // Unicode White_Space
bool isWordCharacter(char32_t c);     // \w of UTS 18: alphabetic, marks, decimal digits, connectors, joiners
bool isPunctuation(char32_t c);       // ASCII punctuation (symbols included) and category P
bool isNumeric(char32_t c);           // category N
bool isMark(char32_t c);              // category M
bool isNonSpacingMark(char32_t c);    // category Mn
bool isOther(char32_t c);             // category C without unassigned code points
bool isChineseCharacter(char32_t c);  // the ideograph blocks that BERT sets apart
void appendLowercase(std::string& out, char32_t c);
// A number for the script, hiragana and katakana counted as Han; -1 for a plain space and unknown characters.
int scriptOf(char32_t c);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// Well-formed text in a Unicode normal form.
std::string normalForm(std::string_view text, NormalForm form);

}  // namespace decoscope
