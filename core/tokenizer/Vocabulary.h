// The pieces of a vocabulary, by id and by text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"

namespace decoscope {

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <typename Value>
using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

// Vocabularies have gaps, but none that outnumber their tokens by far: a small file cannot ask for much
// memory.
constexpr std::size_t idLimit(std::size_t entries) {
  return 2 * entries + 65'536;
}

class Vocabulary {
 public:
  // Ids in a row from 0; where a text stands twice, the last (`first`: the first) of its ids counts.
  static Vocabulary inOrder(std::vector<std::string> pieces, bool first = false) {
    Vocabulary vocabulary;
    vocabulary.ids_.reserve(pieces.size());
    for (std::size_t id = 0; id < pieces.size(); ++id) {
      if (first)
        vocabulary.ids_.try_emplace(pieces[id], static_cast<TokenId>(id));
      else
        vocabulary.ids_.insert_or_assign(pieces[id], static_cast<TokenId>(id));
    }
    vocabulary.pieces_ = std::move(pieces);
    return vocabulary;
  }
  void reserve(std::size_t count) { ids_.reserve(count), pieces_.reserve(count); }
  // `id` must be below idLimit() of what the file holds.
  void add(std::string piece, TokenId id) {
    if (pieces_.size() <= static_cast<std::size_t>(id)) pieces_.resize(static_cast<std::size_t>(id) + 1);
    ids_.insert_or_assign(piece, id);
    pieces_[static_cast<std::size_t>(id)] = std::move(piece);
  }

  // One more than the largest id.
  std::size_t size() const { return pieces_.size(); }
  // How many texts have an id.
  std::size_t entries() const { return ids_.size(); }
  std::optional<TokenId> find(std::string_view piece) const {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  // "" for ids that no piece has.
  const std::string& piece(TokenId id) const {
    static const std::string none;
    return id >= 0 && static_cast<std::size_t>(id) < pieces_.size() ? pieces_[static_cast<std::size_t>(id)]
                                                                    : none;
  }
  const std::vector<std::string>& pieces() const { return pieces_; }

 private:
  std::vector<std::string> pieces_;
  TextMap<TokenId> ids_;
};

}  // namespace decoscope
