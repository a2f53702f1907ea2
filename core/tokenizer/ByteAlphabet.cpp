#include "core/tokenizer/ByteAlphabet.h"

#include <array>

#include "core/tokenizer/Characters.h"

namespace decoscope {

namespace {

// Printable bytes stand for themselves; the other 68, in order, for U+0100 … U+0143.
struct Alphabet {
  std::array<std::string, 256> spelling;
  std::array<std::int16_t, 0x144> byte;
  Alphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const char32_t character = printable ? b : next++;
      appendUtf8(spelling[b], character);
      byte[character] = static_cast<std::int16_t>(b);
    }
  }
};
const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

const std::string& spellingOfByte(unsigned char byte) {
  return alphabet().spelling[byte];
}

std::optional<unsigned char> byteOfSpelling(char32_t character) {
  const auto& bytes = alphabet().byte;
  if (character >= bytes.size() || bytes[character] < 0) return std::nullopt;
  return static_cast<unsigned char>(bytes[character]);
}

std::string spellBytes(std::string_view bytes) {
  const auto& spelling = alphabet().spelling;
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) out += spelling[static_cast<unsigned char>(byte)];
  return out;
}

std::string unspellBytes(std::string_view piece) {
  std::string bytes;
  bytes.reserve(piece.size());
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint c = codePointAt(piece.substr(at));
    const auto byte = byteOfSpelling(c.value);
    if (!byte) return std::string(piece);
    bytes += static_cast<char>(*byte);
    at += c.length;
  }
  return bytes;
}

std::optional<unsigned char> byteOfFallbackPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(digit);
  }
  return static_cast<unsigned char>(value);
}

std::string fallbackPieceOf(unsigned char byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace decoscope
