#include "core/tokenizer/Charsmap.h"

#include <cstring>

#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

Result<Charsmap> Charsmap::read(std::string_view bytes, const std::string& where) {
  Charsmap map;
  if (bytes.empty()) return map;
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    return value;
  };
  if (bytes.size() < 4 || word(0) % 4 != 0 || word(0) > bytes.size() - 4)
    return fail(ErrorCode::badInput, "the precompiled character map is damaged", where);
  map.units_.resize(word(0) / 4);
  for (std::size_t i = 0; i < map.units_.size(); ++i) map.units_[i] = word(4 + 4 * i);
  map.replacements_ = bytes.substr(4 + 4 * map.units_.size());
  if (validUtf8(map.replacements_) != map.replacements_)
    return fail(ErrorCode::badInput, "the precompiled character map holds ill-formed UTF-8", where);
  return map;
}

namespace {
std::size_t offset(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}
}  // namespace

bool Charsmap::isClosed() const {
  if (!units_.empty() && (replacements_.empty() || replacements_.back() != '\0')) return false;
  for (std::size_t i = 0; i < units_.size(); ++i) {
    const std::uint32_t unit = units_[i];
    if (unit >> 31 != 0) continue;  // a value
    const std::size_t next = i ^ offset(unit);
    if ((next | 0xFF) >= units_.size()) return false;
    if ((unit >> 8 & 1) != 0 && (units_[next] & ~(1u << 31)) >= replacements_.size()) return false;
  }
  return true;
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const {
  if (units_.empty()) return std::nullopt;
  std::optional<Match> found;
  std::size_t node = offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size() || (units_[node] & (1u << 31 | 0xFF)) != byte) break;
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) break;
    const std::size_t at = units_[node] & ~(1u << 31);
    if (at > replacements_.size()) break;
    std::string_view replacement = std::string_view(replacements_).substr(at);
    replacement = replacement.substr(0, replacement.find('\0'));
    // An index into the middle of a character would make ill-formed text of a well-formed one.
    if (!replacement.empty() && (static_cast<unsigned char>(replacement[0]) & 0xC0) == 0x80) break;
    found = Match{i + 1, replacement};
    if (!longest) break;
  }
  return found;
}

}  // namespace decoscope
