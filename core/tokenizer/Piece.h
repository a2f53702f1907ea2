// What travels through a tokenizer's pipeline: stretches of text on their way to become tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/Ids.h"
#include "core/tokenizer/Regex.h"

namespace decoscope {

// A stretch of well-formed text that is being normalised, or a token that is already decided.
struct Piece {
  std::string text;
  // How many leading bytes of `text` stand for the very first character of the original text, and whether the
  // piece began with that character when it was cut out. Metaspace's prepend scheme "first" asks for this.
  std::size_t fromFirst = 0;
  bool atStart = false;
  std::optional<TokenId> token;

  // Bytes [begin, end) as a piece of its own.
  Piece slice(std::size_t begin, std::size_t end) const {
    Piece part;
    part.text = text.substr(begin, end - begin);
    part.atStart = atStart && begin < fromFirst;
    part.fromFirst = part.atStart ? std::min(fromFirst, end) - begin : 0;
    return part;
  }
  void prepend(std::string_view prefix) {
    if (text.empty()) return;
    text.insert(0, prefix);
    if (fromFirst > 0) fromFirst += prefix.size();
  }
};

// Rewrites a piece: `emit(bytes, source)` appends bytes that stand for the source byte at that offset.
class PieceWriter {
 public:
  explicit PieceWriter(const Piece& piece) : piece_(piece) { out_.reserve(piece.text.size() + 16); }
  void emit(std::string_view bytes, std::size_t source) {
    out_ += bytes;
    count(source);
  }
  std::string& out() { return out_; }  // append here, then count()
  void count(std::size_t source) {
    if (!closed_ && source < piece_.fromFirst)
      fromFirst_ = out_.size();
    else
      closed_ = true;
  }
  void finish(Piece& piece) {
    piece.text = std::move(out_);
    piece.fromFirst = fromFirst_;
  }

 private:
  const Piece& piece_;
  std::string out_;
  std::size_t fromFirst_ = 0;
  bool closed_ = false;
};

}  // namespace decoscope
