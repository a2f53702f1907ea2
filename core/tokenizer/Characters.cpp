#include "core/tokenizer/Characters.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>

#include "core/tokenizer/CharacterTables.h"

namespace decoscope {

CodePoint codePointAt(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]) & 0x3Fu; };
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0 && text.size() >= 2) return {(lead & 0x1Fu) << 6 | byte(1), 2};
  if (lead < 0xF0 && text.size() >= 3) return {(lead & 0x0Fu) << 12 | byte(1) << 6 | byte(2), 3};
  if (text.size() >= 4) return {(lead & 0x07u) << 18 | byte(1) << 12 | byte(2) << 6 | byte(3), 4};
  return {lead, 1};
}

void appendUtf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

namespace {
std::uint32_t categoryMask(char32_t c) {
  return U_GET_GC_MASK(static_cast<UChar32>(c));
}

// Tokenizers' libraries carry tables of different age. A character that came later than theirs is unassigned
// to them, and texts must be cut as the model's makers cut them.
constexpr int kCategories = 8, kNormalForms = 9;
bool isYoungerThan(char32_t c, int unicodeVersion) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] > unicodeVersion || (age[0] == unicodeVersion && age[1] > 0);
}
bool isInCategory(char32_t c, std::uint32_t mask, int unicodeVersion) {
  return (categoryMask(c) & mask) != 0 && !isYoungerThan(c, unicodeVersion);
}
}  // namespace

bool isWhitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return u_isUWhiteSpace(static_cast<UChar32>(c));
}

bool isWordCharacter(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return (categoryMask(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_ALPHABETIC) || c == 0x200C || c == 0x200D ||
         isYoungerWordCharacter(c);
}

bool isPunctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  if (c == 0x166D || c == 0x111C9) return true;  // counted as something else since
  return isInCategory(c, U_GC_P_MASK, kCategories);
}

bool isNumeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return (categoryMask(c) & U_GC_N_MASK) != 0 || isYoungerNumber(c);
}

bool isMark(char32_t c) {
  if (c == 0x1CF2 || c == 0x1CF3) return true;
  return c >= 0x300 && c != 0x111C9 && isInCategory(c, U_GC_M_MASK, kNormalForms);
}

bool isNonSpacingMark(char32_t c) {
  if (c == 0x1734) return true;
  if (c == 0x1885 || c == 0x1886 || c == 0xA9BD || c == 0x111C9) return false;
  return c >= 0x300 && isInCategory(c, U_GC_MN_MASK, kCategories);
}

bool isOther(char32_t c) {
  return isInCategory(c, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CS_MASK | U_GC_CO_MASK, kCategories);
}

bool isChineseCharacter(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void appendLowercase(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == 0x130) {
    out += "i\u0307";
  } else {
    const auto lower = static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
    appendUtf8(out, lower == c ? youngerLowercase(c) : lower);
  }
}

int scriptOf(char32_t c) {
  if (c == ' ') return -1;
  if (c == 0x30FC) return USCRIPT_HAN;
  if (c == 0x589 || c == 0x61C) return USCRIPT_COMMON;
  UErrorCode error = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(static_cast<UChar32>(c), &error);
  if (U_FAILURE(error) || script == USCRIPT_UNKNOWN || isYoungerThan(c, kNormalForms)) return -1;
  return script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA ? USCRIPT_HAN : script;
}

std::string normalForm(std::string_view text, NormalForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = form == NormalForm::nfc    ? icu::Normalizer2::getNFCInstance(error)
                                       : form == NormalForm::nfd  ? icu::Normalizer2::getNFDInstance(error)
                                       : form == NormalForm::nfkc ? icu::Normalizer2::getNFKCInstance(error)
                                                                  : icu::Normalizer2::getNFKDInstance(error);
  if (U_FAILURE(error)) return std::string(text);
  std::string out;
  const auto put = [&](std::string_view part) {
    if (part.empty()) return;
    std::string normalised;
    icu::StringByteSink<std::string> sink(&normalised, static_cast<std::int32_t>(part.size()));
    UErrorCode failure = U_ZERO_ERROR;
    normalizer->normalizeUTF8(0, icu::StringPiece(part.data(), static_cast<std::int32_t>(part.size())), sink,
                              nullptr, failure);
    out += U_FAILURE(failure) ? std::string(part) : normalised;
  };
  // Characters without a place in the tables stay as they are, and nothing moves or joins across them.
  std::size_t from = 0;
  eachCharacter(text, [&](char32_t c, std::string_view bytes, std::size_t at) {
    if (c < 0x300 || !isYoungerThan(c, kNormalForms)) return;
    put(text.substr(from, at - from));
    out += bytes;
    from = at + bytes.size();
  });
  put(text.substr(from));
  return out;
}

}  // namespace decoscope
