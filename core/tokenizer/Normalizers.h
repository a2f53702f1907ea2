// The first step of a tokenizer's pipeline: rewriting text before it is cut. Each is what the class of the
// same name in Hugging Face's tokenizers does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Characters.h"
#include "core/tokenizer/Piece.h"

namespace decoscope {

// Immutable; safe to share between threads. The text of a piece is, and stays, well-formed UTF-8.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual Status normalize(Piece& piece) const = 0;
};
using NormalizerPointer = std::unique_ptr<const Normalizer>;

NormalizerPointer makeNormalizerSequence(std::vector<NormalizerPointer> steps);
NormalizerPointer makeUnicodeNormalizer(NormalForm form);
NormalizerPointer makeLowercaseNormalizer();
NormalizerPointer makeStripNormalizer(bool left, bool right);
NormalizerPointer makeStripAccentsNormalizer();
NormalizerPointer makePrependNormalizer(std::string prefix);
NormalizerPointer makeReplaceNormalizer(std::shared_ptr<const Regex> pattern, std::string content);
NormalizerPointer makeNmtNormalizer();
NormalizerPointer makeByteLevelNormalizer();
struct BertNormalizerOptions {
  bool cleanText = true, chineseCharacters = true, stripAccents = true, lowercase = true;
};
NormalizerPointer makeBertNormalizer(BertNormalizerOptions options);
// `charsmap` is the binary map of a SentencePiece model. Errors: one that is not well-formed.
Result<NormalizerPointer> makePrecompiledNormalizer(std::string charsmap, const std::string& where);

}  // namespace decoscope
