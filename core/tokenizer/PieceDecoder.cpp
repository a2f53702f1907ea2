#include "core/tokenizer/PieceDecoder.h"

#include <algorithm>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

namespace {

void replaceAll(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size())
    out.append(text, at, found - at).append(to);
  if (at > 0) text = out.append(text, at);
}

// English spacing as BERT's decoder tidies it.
void cleanUpSpaces(std::string& text) {
  constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) replaceAll(text, from, to);
}

class SequenceDecoder final : public PieceDecoder {
 public:
  explicit SequenceDecoder(std::vector<PieceDecoderPointer> steps) : steps_(std::move(steps)) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (const auto& step : steps_) step->decode(pieces);
  }
  bool middle(std::string& piece) const override {
    for (const auto& step : steps_)
      if (!step->middle(piece)) return false;
    return true;
  }

 private:
  std::vector<PieceDecoderPointer> steps_;
};

class ByteLevelDecoder final : public PieceDecoder {
 public:
  void decode(std::vector<std::string>& pieces) const override {
    std::string bytes;
    for (const std::string& piece : pieces) bytes += unspellBytes(piece);
    pieces.assign(1, validUtf8(bytes));
  }
  bool middle(std::string& piece) const override {
    piece = unspellBytes(piece);
    return false;
  }
};

class MetaspaceDecoder final : public PieceDecoder {
 public:
  MetaspaceDecoder(std::string replacement, bool dropFirst)
      : replacement_(std::move(replacement)), dropFirst_(dropFirst) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i)
      replaceAll(pieces[i], replacement_, i == 0 && dropFirst_ ? "" : " ");
  }
  bool middle(std::string& piece) const override {
    replaceAll(piece, replacement_, " ");
    return true;
  }

 private:
  std::string replacement_;
  bool dropFirst_;
};

class WordPieceDecoder final : public PieceDecoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanUp) : prefix_(std::move(prefix)), cleanUp_(cleanUp) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) space(pieces[i]);
      if (cleanUp_) cleanUpSpaces(pieces[i]);
    }
  }
  bool middle(std::string& piece) const override {
    space(piece);
    if (cleanUp_) cleanUpSpaces(piece);
    return true;
  }

 private:
  void space(std::string& piece) const {
    if (piece.starts_with(prefix_))
      piece.erase(0, prefix_.size());
    else
      piece.insert(0, " ");
  }
  std::string prefix_;
  bool cleanUp_;
};

class SuffixDecoder final : public PieceDecoder {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i)
      replaceAll(pieces[i], suffix_, i + 1 == pieces.size() ? "" : " ");
  }
  bool middle(std::string& piece) const override {
    replaceAll(piece, suffix_, " ");
    return true;
  }

 private:
  std::string suffix_;
};

class ByteFallbackDecoder final : public PieceDecoder {
 public:
  void decode(std::vector<std::string>& pieces) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      // A run of bytes that is not text as a whole is one replacement character for each byte.
      if (validUtf8(bytes) == bytes) {
        out.push_back(bytes);
      } else {
        for (std::size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\uFFFD");
      }
      bytes.clear();
    };
    for (std::string& piece : pieces) {
      if (const auto byte = byteOfFallbackPiece(piece)) {
        bytes += static_cast<char>(*byte);
      } else {
        flush();
        out.push_back(std::move(piece));
      }
    }
    flush();
    pieces.swap(out);
  }
  bool middle(std::string& piece) const override {
    const auto byte = byteOfFallbackPiece(piece);
    if (byte) piece.assign(1, static_cast<char>(*byte));
    return !byte;
  }
};

class FuseDecoder final : public PieceDecoder {
 public:
  void decode(std::vector<std::string>& pieces) const override {
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    pieces.assign(1, std::move(all));
  }
  // What follows sees the whole text.
  bool middle(std::string&) const override { return false; }
};

class StripDecoder final : public PieceDecoder {
 public:
  StripDecoder(std::string character, std::size_t start, std::size_t stop)
      : character_(std::move(character)), start_(start), stop_(stop) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) middle(piece);
  }
  bool middle(std::string& piece) const override {
    if (character_.empty()) return true;
    std::size_t begin = 0, end = piece.size();
    for (std::size_t i = 0; i < start_ && std::string_view(piece).substr(begin).starts_with(character_); ++i)
      begin += character_.size();
    for (std::size_t i = 0;
         i < stop_ && end > begin && std::string_view(piece).substr(0, end).ends_with(character_); ++i)
      end -= character_.size();
    piece = piece.substr(begin, std::max(begin, end) - begin);
    return true;
  }

 private:
  std::string character_;
  std::size_t start_, stop_;
};

class ReplaceDecoder final : public PieceDecoder {
 public:
  ReplaceDecoder(std::shared_ptr<const Regex> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) middle(piece);
  }
  bool middle(std::string& piece) const override {
    std::vector<Stretch> stretches;
    if (piece.empty() || !pattern_->stretches(piece, stretches)) return true;
    std::string out;
    for (const Stretch& stretch : stretches) {
      if (stretch.match)
        out += content_;
      else
        out.append(piece, stretch.begin, stretch.end - stretch.begin);
    }
    piece = std::move(out);
    return true;
  }

 private:
  std::shared_ptr<const Regex> pattern_;
  std::string content_;
};

class CtcDecoder final : public PieceDecoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, bool cleanUp)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanUp_(cleanUp) {}
  void decode(std::vector<std::string>& pieces) const override {
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (std::string& piece : pieces) middle(piece);
    pieces.erase(std::remove(pieces.begin(), pieces.end(), std::string()), pieces.end());
  }
  bool middle(std::string& piece) const override {
    replaceAll(piece, pad_, "");
    if (cleanUp_) {
      cleanUpSpaces(piece);
      replaceAll(piece, delimiter_, " ");
    }
    return true;
  }

 private:
  std::string pad_, delimiter_;
  bool cleanUp_;
};

class JoiningDecoder final : public PieceDecoder {
 public:
  void decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 1; i < pieces.size(); ++i) pieces[i].insert(0, " ");
  }
  bool middle(std::string& piece) const override {
    piece.insert(0, " ");
    return true;
  }
};

}  // namespace

PieceDecoderPointer makeDecoderSequence(std::vector<PieceDecoderPointer> steps) {
  return std::make_unique<SequenceDecoder>(std::move(steps));
}
PieceDecoderPointer makeByteLevelDecoder() {
  return std::make_unique<ByteLevelDecoder>();
}
PieceDecoderPointer makeMetaspaceDecoder(std::string replacement, bool dropFirst) {
  return std::make_unique<MetaspaceDecoder>(std::move(replacement), dropFirst);
}
PieceDecoderPointer makeWordPieceDecoder(std::string prefix, bool cleanUp) {
  return std::make_unique<WordPieceDecoder>(std::move(prefix), cleanUp);
}
PieceDecoderPointer makeSuffixDecoder(std::string suffix) {
  return std::make_unique<SuffixDecoder>(std::move(suffix));
}
PieceDecoderPointer makeByteFallbackDecoder() {
  return std::make_unique<ByteFallbackDecoder>();
}
PieceDecoderPointer makeFuseDecoder() {
  return std::make_unique<FuseDecoder>();
}
PieceDecoderPointer makeStripDecoder(std::string character, std::size_t start, std::size_t stop) {
  return std::make_unique<StripDecoder>(std::move(character), start, stop);
}
PieceDecoderPointer makeReplaceDecoder(std::shared_ptr<const Regex> pattern, std::string content) {
  return std::make_unique<ReplaceDecoder>(std::move(pattern), std::move(content));
}
PieceDecoderPointer makeCtcDecoder(std::string pad, std::string delimiter, bool cleanUp) {
  return std::make_unique<CtcDecoder>(std::move(pad), std::move(delimiter), cleanUp);
}
PieceDecoderPointer makeJoiningDecoder() {
  return std::make_unique<JoiningDecoder>();
}

}  // namespace decoscope
