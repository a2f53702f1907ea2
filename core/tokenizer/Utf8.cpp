#include "core/tokenizer/Tokenizer.h"
#include "core/tokenizer/Utf8.h"

namespace decoscope {

// The well-formed ranges of the Unicode standard, table 3-7.
Utf8Step utf8Step(std::string_view bytes) {
  const auto lead = static_cast<unsigned char>(bytes[0]);
  if (lead < 0x80) return {1, true, false};
  std::size_t length = 0;
  unsigned low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= bytes.size()) return {i, false, true};
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (byte < low || byte > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

namespace {
constexpr const char* kReplacement = "\xEF\xBF\xBD";
}

std::string validUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = utf8Step(bytes);
    if (step.valid) out += bytes.substr(0, step.length);
    else out += kReplacement;
    bytes.remove_prefix(step.length);
  }
  return out;
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = utf8Step(rest);
    if (step.incomplete) break;
    if (step.valid) out += rest.substr(0, step.length);
    else out += kReplacement;
    rest.remove_prefix(step.length);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Stream::finish() {
  std::string out = validUtf8(pending_);
  pending_.clear();
  return out;
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, bool skipSpecial) const {
  std::string bytes;
  for (const TokenId token : tokens)
    if (!skipSpecial || !isSpecial(token)) bytes += bytesOf(token);
  return validUtf8(bytes);
}

}  // namespace decoscope
