// The second step of a tokenizer's pipeline: cutting text into the pieces that the model sees one by one.
// Each is what the class of the same name in Hugging Face's tokenizers does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Piece.h"

namespace decoscope {

// Immutable; safe to share between threads. Pieces that are tokens already, and empty ones, never come here.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Appends what becomes of `piece` to `out`.
  virtual Status split(Piece piece, std::vector<Piece>& out) const = 0;
};
using PreTokenizerPointer = std::unique_ptr<const PreTokenizer>;

// What becomes of the matches of a pattern.
enum class SplitBehaviour { removed, isolated, mergedWithPrevious, mergedWithNext, contiguous };

PreTokenizerPointer makePreTokenizerSequence(std::vector<PreTokenizerPointer> steps);
PreTokenizerPointer makeSplit(std::shared_ptr<const Regex> pattern, SplitBehaviour behaviour, bool invert);
// Every character for which the test holds is a match.
PreTokenizerPointer makeCharacterSplit(std::function<bool(char32_t)> test, SplitBehaviour behaviour);
// Spells bytes in the byte-level alphabet; with a pattern, cuts by it first.
PreTokenizerPointer makeByteLevel(std::shared_ptr<const Regex> pattern, bool addPrefixSpace);
enum class PrependScheme { first, always, never };
PreTokenizerPointer makeMetaspace(std::string replacement, PrependScheme scheme, bool split);
PreTokenizerPointer makeWords();  // Whitespace: runs of word characters, runs of others
PreTokenizerPointer makeUnicodeScripts();
PreTokenizerPointer makeFixedLength(std::size_t characters);

// Runs a step over all pieces that are not tokens yet; empty results are dropped.
Status preTokenize(const PreTokenizer& step, std::vector<Piece>& pieces);

}  // namespace decoscope
