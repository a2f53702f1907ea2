// The precompiled character map of a SentencePiece model: a double array (Darts-clone) from byte strings to
// replacements. Layout: u32 size of the array in bytes, the array, then zero-terminated replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

// Immutable. Nothing in the file is believed: every index is checked when it is followed.
class Charsmap {
 public:
  static Result<Charsmap> read(std::string_view bytes, const std::string& where);

  // Whether every walk stays inside, so that code that does not check its steps may follow it too.
  bool isClosed() const;

  struct Match {
    std::size_t length = 0;  // bytes of the text that are replaced
    std::string_view replacement;
  };
  // The shortest (longest) entry that `text` begins with.
  std::optional<Match> shortest(std::string_view text) const { return find(text, false); }
  std::optional<Match> longest(std::string_view text) const { return find(text, true); }
  bool empty() const { return units_.empty(); }

 private:
  std::optional<Match> find(std::string_view text, bool longest) const;
  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace decoscope
