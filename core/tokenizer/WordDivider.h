// Cuts a document into words that merges cannot join, so that a model sees each different word once.
#pragma once

#include <string_view>
#include <vector>

#include "core/tokenizer/Vocabulary.h"

namespace decoscope {

// Where no piece of a vocabulary goes on with U+2581 after another character, no merge ever joins what stands
// on both sides of such a place, and the words between them can be encoded one by one with the same result.
class WordDivider {
 public:
  explicit WordDivider(const Vocabulary& vocabulary) {
    usable_ = vocabulary.find(kMark).has_value();
    for (const std::string& piece : vocabulary.pieces()) {
      if (!usable_) return;
      usable_ = next(piece, 0) == piece.size();
    }
  }

  // Appends what `encode(word, out)` makes of each word; the same word is encoded once.
  template <typename Encode>
  Status each(std::string_view text, std::vector<TokenId>& out, Encode&& encode) const {
    const std::size_t first = usable_ ? next(text, 0) : text.size();
    if (first == text.size()) return encode(text, out);
    struct Known {
      std::size_t begin, count;
    };
    std::unordered_map<std::string_view, Known> words;
    for (std::size_t begin = 0, end = first; begin < text.size(); begin = end, end = next(text, begin)) {
      const std::string_view word = text.substr(begin, end - begin);
      if (const auto known = words.find(word); known != words.end()) {
        for (std::size_t i = 0; i < known->second.count; ++i) out.push_back(out[known->second.begin + i]);
        continue;
      }
      const std::size_t before = out.size();
      DECOSCOPE_TRY(encode(word, out));
      words.emplace(word, Known{before, out.size() - before});
    }
    return {};
  }

 private:
  static constexpr std::string_view kMark = "\u2581";
  // The first place behind `begin` where a mark follows something else; the end if there is none.
  static std::size_t next(std::string_view text, std::size_t begin) {
    std::size_t at = begin;
    while (text.substr(at).starts_with(kMark)) at += kMark.size();
    const std::size_t found = text.find(kMark, at);
    return found == std::string_view::npos || found == begin ? text.size() : found;
  }
  bool usable_ = false;
};

}  // namespace decoscope
