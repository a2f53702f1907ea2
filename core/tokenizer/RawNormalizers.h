// Normalizers of GGUF vocabularies, as llama.cpp applies them. Unlike the others they take any bytes.
#pragma once

#include <string>

#include "core/tokenizer/Charsmap.h"
#include "core/tokenizer/Normalizers.h"

namespace decoscope {

// Spaces become U+2581; one more stands before the text if `prefix`.
NormalizerPointer makeSpaceEscaper(bool prefix);

struct UnigramNormalizerOptions {
  bool spacePrefix = false;  // a space before the text, or behind it if spaces are suffixes
  bool mergeSpaces = false;  // runs of spaces become one, none at the ends
  bool spaceAsSuffix = false;
  bool escapeSpaces = true;  // U+2581 for spaces
};
// The longest match in the map counts; ill-formed bytes become U+FFFD.
NormalizerPointer makeUnigramNormalizer(Charsmap map, UnigramNormalizerOptions options);

}  // namespace decoscope
