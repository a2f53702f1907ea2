#include "core/tokenizer/Normalizers.h"

#include <unicode/brkiter.h>

#include <algorithm>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/CharacterTables.h"
#include "core/tokenizer/Charsmap.h"

namespace decoscope {

namespace {

bool isAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<NormalizerPointer> steps) : steps_(std::move(steps)) {}
  Status normalize(Piece& piece) const override {
    for (const auto& step : steps_) DECOSCOPE_TRY(step->normalize(piece));
    return {};
  }

 private:
  std::vector<NormalizerPointer> steps_;
};

// One character at a time.
template <typename Rewrite>
class CharacterNormalizer final : public Normalizer {
 public:
  explicit CharacterNormalizer(Rewrite rewrite) : rewrite_(std::move(rewrite)) {}
  Status normalize(Piece& piece) const override {
    PieceWriter writer(piece);
    eachCharacter(piece.text, [&](char32_t c, std::string_view bytes, std::size_t at) {
      const std::size_t before = writer.out().size();
      rewrite_(c, bytes, writer.out());
      if (writer.out().size() > before) writer.count(at);
    });
    writer.finish(piece);
    return {};
  }

 private:
  Rewrite rewrite_;
};
template <typename Rewrite>
NormalizerPointer perCharacter(Rewrite rewrite) {
  return std::make_unique<CharacterNormalizer<Rewrite>>(std::move(rewrite));
}

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalForm form) : form_(form) {}
  Status normalize(Piece& piece) const override {
    if (isAscii(piece.text)) return {};
    // The first character stands for what it became: its own normal form, or one that took in what follows.
    const std::string first = normalForm(std::string_view(piece.text).substr(0, piece.fromFirst), form_);
    const bool any = piece.fromFirst > 0;
    piece.text = normalForm(piece.text, form_);
    if (piece.text.starts_with(first))
      piece.fromFirst = first.size();
    else
      piece.fromFirst = any && !piece.text.empty() ? codePointAt(piece.text).length : 0;
    return {};
  }

 private:
  NormalForm form_;
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  Status normalize(Piece& piece) const override {
    std::size_t begin = 0, end = 0;
    bool started = false;
    eachCharacter(piece.text, [&](char32_t c, std::string_view bytes, std::size_t at) {
      if (isWhitespace(c)) return;
      if (!started) begin = at;
      started = true;
      end = at + bytes.size();
    });
    if (!started) begin = left_ || right_ ? piece.text.size() : 0;
    if (!left_ && started) begin = 0;
    if (!right_ || !started) end = piece.text.size();
    piece.fromFirst = piece.fromFirst > begin ? piece.fromFirst - begin : 0;
    piece.text = piece.text.substr(begin, end - begin);
    piece.fromFirst = std::min(piece.fromFirst, piece.text.size());
    return {};
  }

 private:
  bool left_, right_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  Status normalize(Piece& piece) const override {
    piece.prepend(prefix_);
    return {};
  }

 private:
  std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(std::shared_ptr<const Regex> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Status normalize(Piece& piece) const override {
    if (piece.text.empty()) return {};
    std::vector<Stretch> stretches;
    DECOSCOPE_TRY(pattern_->stretches(piece.text, stretches));
    PieceWriter writer(piece);
    for (const Stretch& stretch : stretches) {
      const std::string_view text =
          std::string_view(piece.text).substr(stretch.begin, stretch.end - stretch.begin);
      if (stretch.match) {
        // The new text stands for the last byte of what it replaces; at the very beginning, for the first.
        writer.emit(content_, stretch.end > 0 ? stretch.end - 1 : 0);
      } else {
        const std::size_t own =
            std::min(std::max(piece.fromFirst, stretch.begin), stretch.end) - stretch.begin;
        if (own > 0) writer.emit(text.substr(0, own), stretch.begin);
        if (own < text.size()) writer.emit(text.substr(own), stretch.begin + own);
      }
    }
    writer.finish(piece);
    return {};
  }

 private:
  std::shared_ptr<const Regex> pattern_;
  std::string content_;
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(BertNormalizerOptions options) : options_(options) {}
  Status normalize(Piece& piece) const override {
    if (options_.cleanText || options_.chineseCharacters) {
      PieceWriter writer(piece);
      eachCharacter(piece.text, [&](char32_t c, std::string_view bytes, std::size_t at) {
        if (options_.cleanText) {
          if (c == 0 || c == 0xFFFD) return;
          const bool blank = isWhitespace(c);
          if (!(c == '\t' || c == '\n' || c == '\r') && isOther(c)) return;
          if (blank) return writer.emit(" ", at);
        }
        if (options_.chineseCharacters && isChineseCharacter(c)) {
          writer.emit(" ", at);
          writer.emit(bytes, at);
          writer.emit(" ", at);
        } else {
          writer.emit(bytes, at);
        }
      });
      writer.finish(piece);
    }
    if (options_.stripAccents) {
      DECOSCOPE_TRY(UnicodeNormalizer(NormalForm::nfd).normalize(piece));
      DECOSCOPE_TRY(perCharacter([](char32_t c, std::string_view bytes, std::string& out) {
                      if (!isNonSpacingMark(c)) out += bytes;
                    })->normalize(piece));
    }
    if (options_.lowercase) DECOSCOPE_TRY(makeLowercaseNormalizer()->normalize(piece));
    return {};
  }

 private:
  BertNormalizerOptions options_;
};

// The first match in the map counts, whole clusters of up to five bytes before single characters.
class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(Charsmap map) : map_(std::move(map)) {}
  Status normalize(Piece& piece) const override {
    PieceWriter writer(piece);
    const std::string_view text = piece.text;
    std::unique_ptr<icu::BreakIterator> clusters;
    icu::LocalUTextPointer view;
    std::size_t at = 0;
    while (at < text.size()) {
      std::size_t end = at + 1;
      const auto ascii = [&](std::size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
      const bool alone = ascii(at) && (end == text.size() || ascii(end)) &&
                         !(text[at] == '\r' && end < text.size() && text[end] == '\n');
      if (!alone) {
        if (!clusters) {
          UErrorCode error = U_ZERO_ERROR;
          clusters.reset(icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
          view.adoptInstead(
              utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &error));
          if (U_SUCCESS(error)) clusters->setText(view.getAlias(), error);
          if (U_FAILURE(error))
            return fail(ErrorCode::failed, "the boundaries of characters are not available");
        }
        end = at;
        do {
          const std::int32_t next = clusters->following(static_cast<std::int32_t>(end));
          end = next == icu::BreakIterator::DONE ? text.size() : static_cast<std::size_t>(next);
        } while (end < text.size() && isYoungerExtender(codePointAt(text.substr(end)).value));
      }
      cluster(text.substr(at, end - at), at, writer);
      at = end;
    }
    writer.finish(piece);
    return {};
  }

 private:
  void cluster(std::string_view bytes, std::size_t at, PieceWriter& writer) const {
    if (bytes.size() < 6) {
      if (const auto found = map_.shortest(bytes)) {
        if (!found->replacement.empty()) writer.emit(found->replacement, source(at, writer));
        return;
      }
    }
    eachCharacter(bytes, [&](char32_t, std::string_view character, std::size_t offset) {
      const auto found = map_.shortest(character);
      const std::string_view out = found ? found->replacement : character;
      if (!out.empty()) writer.emit(out, source(at + offset, writer));
    });
  }
  // In the reference, what the map removes at the very beginning leaves no trace: the first character that is
  // left takes its place.
  static std::size_t source(std::size_t at, PieceWriter& writer) { return writer.out().empty() ? 0 : at; }
  Charsmap map_;
};

}  // namespace

NormalizerPointer makeNormalizerSequence(std::vector<NormalizerPointer> steps) {
  return std::make_unique<SequenceNormalizer>(std::move(steps));
}

NormalizerPointer makeUnicodeNormalizer(NormalForm form) {
  return std::make_unique<UnicodeNormalizer>(form);
}

NormalizerPointer makeLowercaseNormalizer() {
  return perCharacter([](char32_t c, std::string_view, std::string& out) { appendLowercase(out, c); });
}

NormalizerPointer makeStripNormalizer(bool left, bool right) {
  return std::make_unique<StripNormalizer>(left, right);
}

NormalizerPointer makeStripAccentsNormalizer() {
  return perCharacter([](char32_t c, std::string_view bytes, std::string& out) {
    if (!isMark(c)) out += bytes;
  });
}

NormalizerPointer makePrependNormalizer(std::string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}

NormalizerPointer makeReplaceNormalizer(std::shared_ptr<const Regex> pattern, std::string content) {
  return std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content));
}

NormalizerPointer makeNmtNormalizer() {
  return perCharacter([](char32_t c, std::string_view bytes, std::string& out) {
    const bool dropped =
        (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
    if (dropped) return;
    const bool blank = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    if (blank)
      out += ' ';
    else
      out += bytes;
  });
}

NormalizerPointer makeByteLevelNormalizer() {
  return perCharacter([](char32_t, std::string_view bytes, std::string& out) {
    for (const char byte : bytes) out += spellingOfByte(static_cast<unsigned char>(byte));
  });
}

NormalizerPointer makeBertNormalizer(BertNormalizerOptions options) {
  return std::make_unique<BertNormalizer>(options);
}

Result<NormalizerPointer> makePrecompiledNormalizer(std::string charsmap, const std::string& where) {
  DECOSCOPE_ASSIGN(Charsmap map, Charsmap::read(charsmap, where));
  return NormalizerPointer(std::make_unique<PrecompiledNormalizer>(std::move(map)));
}

}  // namespace decoscope
