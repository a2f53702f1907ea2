// What makes a generated text fit for a corpus. The measures are data (a recipe's "filter"); no words of any
// language stand in code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/train/PromptGrammar.h"

namespace decoscope {

enum class Characters {
  any,
  printable,  // well-formed UTF-8 without control characters other than line feeds and tabs
  ascii,      // printable ASCII and line feeds
};

struct FilterSettings {
  bool finished = true;                  // only texts that the model ended itself
  int leastWords = 1, mostWords = -1;    // between spaces; −1: no bound
  int leastLines = 0, mostLines = -1;    // that are not empty
  int repeatWords = 6, repeatTimes = 3;  // no run of so many words so many times; 0: no bound
  int sameLetters = 0, sameTimes = 0;    // no word of so many letters more than so many times; 0: no bound
  int longestWord = 0;                   // in letters; 0: no bound
  Characters characters = Characters::printable;
  bool sums = false;                   // every "a + b = c" that the text states must hold
  std::string endings;                 // the characters that may stand last; empty: any
  std::vector<std::string> openings;   // what a text must not begin with, whatever its case
  std::vector<std::string> forbidden;  // what it must not hold: whole words, whatever their case
};

// Why a text is left out, as reports name it ("unfinished", "wrong answer"); nothing for a good one.
std::optional<std::string> objection(const FilterSettings& settings, const Prompt& prompt,
                                     std::string_view text, bool finished);

// Whether `text` holds `words` between boundaries of words, whatever the case of ASCII letters.
bool mentions(std::string_view text, std::string_view words);
// The last whole number in a text ("1,204" is one; so is "−3"), if there is one.
std::optional<std::int64_t> lastNumber(std::string_view text);
// Whether every "a + b = c" (also −, ×, x, *, ÷, /, and chains of them, left to right by precedence) in the
// text holds.
bool sumsHold(std::string_view text);

}  // namespace decoscope
