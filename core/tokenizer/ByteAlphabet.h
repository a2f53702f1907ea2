// The byte-level alphabet (Radford et al. 2019, GPT-2): every byte has a printable character, so that any
// text is a sequence of characters that a vocabulary file can hold.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace decoscope {

// The character of a byte, in UTF-8. Valid for the life of the program.
const std::string& spellingOfByte(unsigned char byte);
// The byte of a character, if it has one.
std::optional<unsigned char> byteOfSpelling(char32_t character);
// Any bytes in the alphabet.
std::string spellBytes(std::string_view bytes);
// The bytes that a piece stands for; a piece with a character outside the alphabet stands for itself.
std::string unspellBytes(std::string_view piece);

// "<0x0A>": the byte of a byte-fallback piece, if it is one.
std::optional<unsigned char> byteOfFallbackPiece(std::string_view piece);
std::string fallbackPieceOf(unsigned char byte);

}  // namespace decoscope
