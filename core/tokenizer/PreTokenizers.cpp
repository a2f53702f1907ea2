#include "core/tokenizer/PreTokenizers.h"

#include <algorithm>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/Characters.h"

namespace decoscope {

namespace {

// Applies a behaviour to stretches, in place of the pieces they name.
void cut(const Piece& piece, const std::vector<Stretch>& stretches, SplitBehaviour behaviour,
         std::vector<Piece>& out) {
  const auto put = [&](std::size_t begin, std::size_t end) {
    if (begin < end) out.push_back(piece.slice(begin, end));
  };
  switch (behaviour) {
    case SplitBehaviour::removed:
      for (const Stretch& stretch : stretches)
        if (!stretch.match) put(stretch.begin, stretch.end);
      return;
    case SplitBehaviour::isolated:
      for (const Stretch& stretch : stretches) put(stretch.begin, stretch.end);
      return;
    case SplitBehaviour::contiguous:
      for (std::size_t i = 0; i < stretches.size();) {
        std::size_t last = i;
        while (last + 1 < stretches.size() && stretches[last + 1].match == stretches[i].match) ++last;
        put(stretches[i].begin, stretches[last].end);
        i = last + 1;
      }
      return;
    case SplitBehaviour::mergedWithPrevious: {
      // A match joins what precedes it, unless that is a match too.
      std::vector<std::pair<std::size_t, std::size_t>> joined;
      bool previous = false;
      for (const Stretch& stretch : stretches) {
        if (stretch.match && !previous && !joined.empty())
          joined.back().second = stretch.end;
        else
          joined.emplace_back(stretch.begin, stretch.end);
        previous = stretch.match;
      }
      for (const auto& [begin, end] : joined) put(begin, end);
      return;
    }
    case SplitBehaviour::mergedWithNext: {
      std::vector<std::pair<std::size_t, std::size_t>> joined;
      bool previous = false;
      for (auto stretch = stretches.rbegin(); stretch != stretches.rend(); ++stretch) {
        if (stretch->match && !previous && !joined.empty())
          joined.back().first = stretch->begin;
        else
          joined.emplace_back(stretch->begin, stretch->end);
        previous = stretch->match;
      }
      for (auto range = joined.rbegin(); range != joined.rend(); ++range) put(range->first, range->second);
      return;
    }
  }
}

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<PreTokenizerPointer> steps) : steps_(std::move(steps)) {}
  Status split(Piece piece, std::vector<Piece>& out) const override {
    std::vector<Piece> pieces;
    pieces.push_back(std::move(piece));
    for (const auto& step : steps_) DECOSCOPE_TRY(preTokenize(*step, pieces));
    std::move(pieces.begin(), pieces.end(), std::back_inserter(out));
    return {};
  }

 private:
  std::vector<PreTokenizerPointer> steps_;
};

class PatternSplit final : public PreTokenizer {
 public:
  PatternSplit(std::shared_ptr<const Regex> pattern, SplitBehaviour behaviour, bool invert)
      : pattern_(std::move(pattern)), behaviour_(behaviour), invert_(invert) {}
  Status split(Piece piece, std::vector<Piece>& out) const override {
    std::vector<Stretch> stretches;
    DECOSCOPE_TRY(pattern_->stretches(piece.text, stretches));
    if (invert_)
      for (Stretch& stretch : stretches) stretch.match = !stretch.match;
    cut(piece, stretches, behaviour_, out);
    return {};
  }

 private:
  std::shared_ptr<const Regex> pattern_;
  SplitBehaviour behaviour_;
  bool invert_;
};

class CharacterSplit final : public PreTokenizer {
 public:
  CharacterSplit(std::function<bool(char32_t)> test, SplitBehaviour behaviour)
      : test_(std::move(test)), behaviour_(behaviour) {}
  Status split(Piece piece, std::vector<Piece>& out) const override {
    std::vector<Stretch> stretches;
    std::size_t from = 0;
    eachCharacter(piece.text, [&](char32_t c, std::string_view bytes, std::size_t at) {
      if (!test_(c)) return;
      if (from < at) stretches.push_back({from, at, false});
      stretches.push_back({at, at + bytes.size(), true});
      from = at + bytes.size();
    });
    if (from < piece.text.size()) stretches.push_back({from, piece.text.size(), false});
    cut(piece, stretches, behaviour_, out);
    return {};
  }

 private:
  std::function<bool(char32_t)> test_;
  SplitBehaviour behaviour_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(std::shared_ptr<const Regex> pattern, bool addPrefixSpace)
      : pattern_(std::move(pattern)), addPrefixSpace_(addPrefixSpace) {}
  Status split(Piece piece, std::vector<Piece>& out) const override {
    if (addPrefixSpace_ && !piece.text.starts_with(' ')) piece.prepend(" ");
    const std::size_t first = out.size();
    if (pattern_) {
      std::vector<Stretch> stretches;
      DECOSCOPE_TRY(pattern_->stretches(piece.text, stretches));
      cut(piece, stretches, SplitBehaviour::isolated, out);
    } else {
      out.push_back(std::move(piece));
    }
    for (std::size_t i = first; i < out.size(); ++i) {
      Piece& word = out[i];
      word.fromFirst = spellBytes(std::string_view(word.text).substr(0, word.fromFirst)).size();
      word.text = spellBytes(word.text);
    }
    return {};
  }

 private:
  std::shared_ptr<const Regex> pattern_;
  bool addPrefixSpace_;
};

class Metaspace final : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(split) {}
  Status split(Piece piece, std::vector<Piece>& out) const override {
    if (piece.text.find(' ') != std::string::npos) {
      PieceWriter writer(piece);
      for (std::size_t at = 0; at < piece.text.size(); ++at)
        writer.emit(piece.text[at] == ' ' ? std::string_view(replacement_)
                                          : std::string_view(piece.text).substr(at, 1),
                    at);
      writer.finish(piece);
    }
    const bool wanted =
        scheme_ == PrependScheme::always || (scheme_ == PrependScheme::first && piece.atStart);
    if (wanted && !piece.text.starts_with(replacement_)) piece.prepend(replacement_);
    if (!split_) {
      out.push_back(std::move(piece));
      return {};
    }
    // A replacement character begins a piece.
    std::size_t from = 0;
    for (std::size_t at = piece.text.find(replacement_); at != std::string::npos;
         at = piece.text.find(replacement_, at + replacement_.size())) {
      if (at > from) out.push_back(piece.slice(from, at));
      from = at;
    }
    out.push_back(piece.slice(from, piece.text.size()));
    return {};
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
  bool split_;
};

class Words final : public PreTokenizer {
 public:
  Status split(Piece piece, std::vector<Piece>& out) const override {
    enum class Kind { blank, word, other };
    Kind current = Kind::blank;
    std::size_t from = 0;
    eachCharacter(piece.text, [&](char32_t c, std::string_view, std::size_t at) {
      const Kind kind = isWordCharacter(c) ? Kind::word : isWhitespace(c) ? Kind::blank : Kind::other;
      if (kind == current) return;
      if (current != Kind::blank) out.push_back(piece.slice(from, at));
      current = kind;
      from = at;
    });
    if (current != Kind::blank) out.push_back(piece.slice(from, piece.text.size()));
    return {};
  }
};

class UnicodeScripts final : public PreTokenizer {
 public:
  Status split(Piece piece, std::vector<Piece>& out) const override {
    // A piece begins where the script changes; -1 stands for characters of any script. What comes before the
    // first character with a script belongs to no piece.
    std::optional<int> last;
    std::vector<std::size_t> begins;
    eachCharacter(piece.text, [&](char32_t c, std::string_view, std::size_t at) {
      const int script = scriptOf(c);
      if (script == -1) return;
      if (last != script) begins.push_back(at);
      last = script;
    });
    begins.push_back(piece.text.size());
    for (std::size_t i = 0; i + 1 < begins.size(); ++i) out.push_back(piece.slice(begins[i], begins[i + 1]));
    return {};
  }
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(std::size_t characters) : characters_(characters) {}
  Status split(Piece piece, std::vector<Piece>& out) const override {
    std::size_t count = 0, from = 0;
    eachCharacter(piece.text, [&](char32_t, std::string_view, std::size_t at) {
      if (count > 0 && count % characters_ == 0) {
        out.push_back(piece.slice(from, at));
        from = at;
      }
      ++count;
    });
    out.push_back(piece.slice(from, piece.text.size()));
    return {};
  }

 private:
  std::size_t characters_;
};

}  // namespace

Status preTokenize(const PreTokenizer& step, std::vector<Piece>& pieces) {
  std::vector<Piece> next;
  next.reserve(pieces.size());
  for (Piece& piece : pieces) {
    if (piece.token) {
      next.push_back(std::move(piece));
      continue;
    }
    const std::size_t first = next.size();
    DECOSCOPE_TRY(step.split(std::move(piece), next));
    next.erase(std::remove_if(next.begin() + static_cast<std::ptrdiff_t>(first), next.end(),
                              [](const Piece& part) { return !part.token && part.text.empty(); }),
               next.end());
  }
  pieces.swap(next);
  return {};
}

PreTokenizerPointer makePreTokenizerSequence(std::vector<PreTokenizerPointer> steps) {
  return std::make_unique<SequencePreTokenizer>(std::move(steps));
}

PreTokenizerPointer makeSplit(std::shared_ptr<const Regex> pattern, SplitBehaviour behaviour, bool invert) {
  return std::make_unique<PatternSplit>(std::move(pattern), behaviour, invert);
}

PreTokenizerPointer makeCharacterSplit(std::function<bool(char32_t)> test, SplitBehaviour behaviour) {
  return std::make_unique<CharacterSplit>(std::move(test), behaviour);
}

PreTokenizerPointer makeByteLevel(std::shared_ptr<const Regex> pattern, bool addPrefixSpace) {
  return std::make_unique<ByteLevel>(std::move(pattern), addPrefixSpace);
}

PreTokenizerPointer makeMetaspace(std::string replacement, PrependScheme scheme, bool split) {
  return std::make_unique<Metaspace>(std::move(replacement), scheme, split);
}

PreTokenizerPointer makeWords() {
  return std::make_unique<Words>();
}

PreTokenizerPointer makeUnicodeScripts() {
  return std::make_unique<UnicodeScripts>();
}

PreTokenizerPointer makeFixedLength(std::size_t characters) {
  return std::make_unique<FixedLength>(characters);
}

}  // namespace decoscope
