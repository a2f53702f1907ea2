#include "core/tokenizer/jinja/Unicode.h"

#include <unicode/uchar.h>
#include <unicode/ustring.h>
#include <unicode/utf8.h>

#include <algorithm>

namespace decoscope::jinja {

char32_t nextCodePoint(std::string_view text, std::size_t& at) {
  UChar32 c = 0;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  U8_NEXT(bytes, at, text.size(), c);
  return c < 0 ? 0xFFFD : static_cast<char32_t>(c);
}

void appendCodePoint(std::string& out, char32_t c) {
  char bytes[U8_MAX_LENGTH];
  std::int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, static_cast<UChar32>(c));
  out.append(bytes, static_cast<std::size_t>(length));
}

std::u32string codePoints(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) out += nextCodePoint(text, at);
  return out;
}

std::string utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) appendCodePoint(out, c);
  return out;
}

std::optional<char32_t> characterNamed(const std::string& name) {
  UErrorCode status = U_ZERO_ERROR;
  const UChar32 c = u_charFromName(U_EXTENDED_CHAR_NAME, name.c_str(), &status);
  if (U_SUCCESS(status)) return static_cast<char32_t>(c);
  status = U_ZERO_ERROR;
  const UChar32 alias = u_charFromName(U_CHAR_NAME_ALIAS, name.c_str(), &status);
  if (U_SUCCESS(status)) return static_cast<char32_t>(alias);
  return std::nullopt;
}

std::string asciiEscape(char32_t c) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string out(1, c < 0x100 ? 'x' : c < 0x10000 ? 'u' : 'U');
  for (int shift = c < 0x100 ? 4 : c < 0x10000 ? 12 : 28; shift >= 0; shift -= 4) out += hex[c >> shift & 15];
  return out;
}

bool isSpace(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool isIdentifierStart(char32_t c) {
  return c == '_' || u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_START);
}

bool isIdentifierPart(char32_t c) {
  return c == '_' || u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_CONTINUE);
}

bool isAlphabetic(char32_t c) {
  return u_isalpha(static_cast<UChar32>(c));
}

namespace {
int numericType(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE);
}
}  // namespace

bool isDecimal(char32_t c) {
  return numericType(c) == U_NT_DECIMAL;
}

bool isDigitCharacter(char32_t c) {
  const int type = numericType(c);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}

bool isNumericCharacter(char32_t c) {
  return numericType(c) != U_NT_NONE;
}

bool isWordCharacter(char32_t c) {
  return c == '_' || isAlphabetic(c) || isNumericCharacter(c);
}

bool isUpperCase(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_UPPERCASE);
}
bool isLowerCase(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_LOWERCASE);
}
bool isTitleCase(char32_t c) {
  return u_charType(static_cast<UChar32>(c)) == U_TITLECASE_LETTER;
}

bool isPrintable(char32_t c) {
  if (c == ' ') return true;
  constexpr std::uint32_t hidden =
      U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CS_MASK | U_GC_CO_MASK | U_GC_CN_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & hidden) == 0;
}

int decimalValue(char32_t c) {
  return u_charDigitValue(static_cast<UChar32>(c));
}

namespace {

using Mapping = std::int32_t (*)(UChar*, std::int32_t, const UChar*, std::int32_t, const char*, UErrorCode*);

std::string mapped(std::string_view text, Mapping mapping) {
  UErrorCode status = U_ZERO_ERROR;
  std::int32_t length = 0;
  std::u16string from(text.size(), u'\0');
  u_strFromUTF8(from.data(), static_cast<std::int32_t>(from.size()), &length, text.data(),
                static_cast<std::int32_t>(text.size()), &status);
  from.resize(static_cast<std::size_t>(length));
  std::u16string to(from.size() * 3 + 8, u'\0');
  status = U_ZERO_ERROR;
  length = mapping(to.data(), static_cast<std::int32_t>(to.size()), from.data(),
                   static_cast<std::int32_t>(from.size()), "", &status);
  std::string out(static_cast<std::size_t>(length) * 3 + 1, '\0');
  status = U_ZERO_ERROR;
  u_strToUTF8(out.data(), static_cast<std::int32_t>(out.size()), &length, to.data(), length, &status);
  out.resize(static_cast<std::size_t>(length));
  return out;
}

// Full title-case mapping of one character, without looking for word boundaries.
std::int32_t titleOfOne(UChar* to, std::int32_t capacity, const UChar* from, std::int32_t length, const char*,
                        UErrorCode* status) {
  std::int32_t at = 0;
  UChar32 c = 0;
  U16_NEXT(from, at, length, c);
  // Few characters have a title case of several characters; upper case followed by lower case is it for them.
  std::int32_t written = u_strToUpper(to, capacity, from, length, "", status);
  std::int32_t first = 0;
  UChar32 head = 0;
  U16_NEXT(to, first, written, head);
  if (first == written || u_totitle(c) != c) {
    const UChar32 title = u_totitle(c);
    std::int32_t end = 0;
    U16_APPEND_UNSAFE(to, end, title);
    return end;
  }
  UChar rest[16];
  UErrorCode lowerStatus = U_ZERO_ERROR;
  const std::int32_t lower = u_strToLower(rest, 16, to + first, written - first, "", &lowerStatus);
  std::copy(rest, rest + lower, to + first);
  return first + lower;
}

std::string title(std::string_view character) {
  return mapped(character, titleOfOne);
}

bool isCased(char32_t c) {
  return isUpperCase(c) || isLowerCase(c) || isTitleCase(c);
}

}  // namespace

std::string toUpper(std::string_view text) {
  return mapped(text, u_strToUpper);
}
std::string toLower(std::string_view text) {
  return mapped(text, u_strToLower);
}

std::string toTitle(std::string_view text) {
  const std::string lower = toLower(text);
  // Lower-casing may change the number of characters, so words are found in the original.
  if (lower.size() != text.size()) {
    std::string out;
    bool inWord = false;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t from = at;
      const char32_t c = nextCodePoint(text, at);
      const std::string_view one = text.substr(from, at - from);
      out += inWord ? toLower(one) : title(one);
      inWord = isCased(c);
    }
    return out;
  }
  std::string out;
  bool inWord = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(text, at);
    out += inWord ? lower.substr(from, at - from) : title(text.substr(from, at - from));
    inWord = isCased(c);
  }
  return out;
}

std::string toCapitalized(std::string_view text) {
  if (text.empty()) return {};
  std::size_t at = 0;
  nextCodePoint(text, at);
  // Lower-cased together with its first character, so that a final sigma is seen as one.
  const std::string lower = toLower(text), head = toLower(text.substr(0, at));
  return title(text.substr(0, at)) +
         (lower.compare(0, head.size(), head) == 0 ? lower.substr(head.size()) : toLower(text.substr(at)));
}

std::string swapCase(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(text, at);
    const std::string_view one = text.substr(from, at - from);
    out += isUpperCase(c) ? toLower(one) : isLowerCase(c) ? toUpper(one) : std::string(one);
  }
  return out;
}

std::string foldCase(std::string_view text) {
  return mapped(text, [](UChar* to, std::int32_t capacity, const UChar* from, std::int32_t length,
                         const char*, UErrorCode* status) {
    return u_strFoldCase(to, capacity, from, length, U_FOLD_CASE_DEFAULT, status);
  });
}

namespace {

template <typename Strips>
std::string_view strippedLeft(std::string_view text, Strips strips) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t next = at;
    if (!strips(nextCodePoint(text, next))) break;
    at = next;
  }
  return text.substr(at);
}

template <typename Strips>
std::string_view strippedRight(std::string_view text, Strips strips) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t from = end - 1;
    while (from > 0 && (text[from] & 0xC0) == 0x80) --from;
    std::size_t at = from;
    if (!strips(nextCodePoint(text, at))) break;
    end = from;
  }
  return text.substr(0, end);
}

}  // namespace

std::string_view stripLeft(std::string_view text) {
  return strippedLeft(text, isSpace);
}
std::string_view stripRight(std::string_view text) {
  return strippedRight(text, isSpace);
}
std::string_view strip(std::string_view text) {
  return stripLeft(stripRight(text));
}

namespace {
std::u32string sortedCharacters(std::string_view characters) {
  std::u32string set = codePoints(characters);
  std::sort(set.begin(), set.end());
  return set;
}
}  // namespace

std::string_view stripLeft(std::string_view text, std::string_view characters) {
  const std::u32string set = sortedCharacters(characters);
  return strippedLeft(text, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::string_view stripRight(std::string_view text, std::string_view characters) {
  const std::u32string set = sortedCharacters(characters);
  return strippedRight(text, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::vector<std::string> splitLines(std::string_view text, bool keepEnds) {
  std::vector<std::string> lines;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(text, at);
    const bool ends = (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(start, (keepEnds ? at : from) - start));
    start = at;
  }
  if (start < text.size()) lines.emplace_back(text.substr(start));
  return lines;
}

std::size_t byteOffset(std::string_view text, std::size_t index, bool ascii) {
  if (ascii) return std::min(index, text.size());
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    ++at;
    while (at < text.size() && (text[at] & 0xC0) == 0x80) ++at;
  }
  return at;
}

std::size_t countCodePoints(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace decoscope::jinja
