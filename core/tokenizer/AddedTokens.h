// Tokens that are found in the text before the pipeline sees it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tokenizer/ByteTrie.h"
#include "core/tokenizer/Normalizers.h"
#include "core/tokenizer/Piece.h"

namespace decoscope {

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;                        // matched only when special tokens are parsed
  bool singleWord = false;                     // not beside word characters
  bool stripLeft = false, stripRight = false;  // takes the white space beside it along
  bool normalized = false;                     // looked for in the normalised text
  std::string found;  // what is looked for, and what the decoder sees; filled in by AddedTokens
};

// Immutable; safe to share between threads. Time is that of a walk in a trie from every byte.
class AddedTokens {
 public:
  enum class Order {
    leftmostLongest,  // as Hugging Face's tokenizers: a special token that is not wanted still takes its
                      // place
    longestFirst      // as llama.cpp: longer tokens first, wherever they stand
  };
  AddedTokens() = default;
  // `normalizer` (may be null) is applied to the content of tokens that are looked for in normalised text.
  static Result<AddedTokens> make(std::vector<AddedToken> tokens, Order order, const Normalizer* normalizer);

  // Cuts the text into tokens and what lies between; `normalized` picks the set that is looked for. Parts
  // cover the piece except for white space that a token took along.
  void split(const Piece& piece, bool normalized, bool parseSpecial, std::vector<Piece>& out) const;
  bool empty() const { return tokens_.empty(); }
  // By id; null for ids that no added token has.
  const AddedToken* find(TokenId id) const {
    const auto found = byId_.find(id);
    return found == byId_.end() ? nullptr : &tokens_[found->second];
  }
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  void leftmost(const Piece& piece, bool normalized, bool parseSpecial, std::vector<Piece>& out) const;
  void longestFirst(const Piece& piece, bool parseSpecial, std::vector<Piece>& out) const;
  std::vector<AddedToken> tokens_;
  std::unordered_map<TokenId, std::size_t> byId_;
  ByteTrie plain_, normalized_;  // values are places in tokens_
  std::int32_t nothing_ =
      -1;  // the token whose normalised text is empty, which is found between all characters
  bool anyPlain_ = false, anyNormalized_ = false;
  Order order_ = Order::leftmostLongest;
};

}  // namespace decoscope
