// The way back: the pieces of tokens become text. Each step is what the class of the same name in Hugging
// Face's tokenizers does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Regex.h"

namespace decoscope {

// Immutable; safe to share between threads.
class PieceDecoder {
 public:
  virtual ~PieceDecoder() = default;
  // All pieces of a text, in order; what comes out is joined without anything between.
  virtual void decode(std::vector<std::string>& pieces) const = 0;
  // What a single piece adds to a text that has begun already: no step that looks at the beginning or end of
  // the text applies, and bytes are given as they are, also where they are only part of a character. False:
  // the steps that follow no longer apply.
  virtual bool middle(std::string& piece) const = 0;
};
using PieceDecoderPointer = std::unique_ptr<const PieceDecoder>;

PieceDecoderPointer makeDecoderSequence(std::vector<PieceDecoderPointer> steps);
PieceDecoderPointer makeByteLevelDecoder();
PieceDecoderPointer makeMetaspaceDecoder(std::string replacement, bool dropFirst);
PieceDecoderPointer makeWordPieceDecoder(std::string prefix, bool cleanUp);
PieceDecoderPointer makeSuffixDecoder(std::string suffix);  // BPEDecoder
PieceDecoderPointer makeByteFallbackDecoder();
PieceDecoderPointer makeFuseDecoder();
PieceDecoderPointer makeStripDecoder(std::string character, std::size_t start, std::size_t stop);
PieceDecoderPointer makeReplaceDecoder(std::shared_ptr<const Regex> pattern, std::string content);
PieceDecoderPointer makeCtcDecoder(std::string pad, std::string delimiter, bool cleanUp);
// Without a decoder pieces are words.
PieceDecoderPointer makeJoiningDecoder();

}  // namespace decoscope
