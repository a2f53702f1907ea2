#include "core/train/BytePairTrainer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <queue>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/Characters.h"
#include "core/tokenizer/Patterns.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

namespace {

constexpr int kLargestSize = 1 << 20;

struct Pair {
  TokenId left = 0, right = 0;
  auto operator<=>(const Pair&) const = default;
};

struct PairHash {
  std::size_t operator()(const Pair& pair) const {
    const auto key = static_cast<std::uint64_t>(static_cast<std::uint32_t>(pair.left)) << 32 |
                     static_cast<std::uint32_t>(pair.right);
    return static_cast<std::size_t>((key ^ key >> 29) * 0xBF58476D1CE4E5B9ull);
  }
};

struct Word {
  std::vector<TokenId> symbols;
  std::int64_t count = 0;
};

// Where a pair occurs: `words` may name words that have lost it since, and name a word twice.
struct Occurrences {
  std::int64_t count = 0;
  std::vector<std::uint32_t> words;
};

struct Candidate {
  std::int64_t count = 0;
  Pair pair;
  // The largest is merged first.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// The words as sequences of symbols, with the counts of their pairs kept up to date merge by merge.
class Merger {
 public:
  explicit Merger(std::vector<Word> words) : words_(std::move(words)) {
    for (std::size_t i = 0; i < words_.size(); ++i) count(static_cast<std::uint32_t>(i), +1);
    for (const auto& [pair, found] : pairs_) queue_.push({found.count, pair});
  }

  // The pair to merge next; nothing where none is frequent enough.
  std::optional<Pair> next(std::int64_t leastCount) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(top.pair);
      const std::int64_t now = found == pairs_.end() ? 0 : found->second.count;
      if (now == top.count && now >= std::max<std::int64_t>(leastCount, 1)) return top.pair;
      // Counts of waiting candidates only sink; one that has sunk waits again at its place.
      if (now > 0 && now < top.count) queue_.push({now, top.pair});
    }
    return std::nullopt;
  }

  void merge(Pair pair, TokenId merged) {
    std::vector<std::uint32_t> places = std::move(pairs_[pair].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    risen_.clear();
    for (const std::uint32_t place : places) {
      std::vector<TokenId>& symbols = words_[place].symbols;
      if (!holds(symbols, pair)) continue;
      count(place, -1);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < symbols.size(); ++kept) {
        const bool here = i + 1 < symbols.size() && symbols[i] == pair.left && symbols[i + 1] == pair.right;
        symbols[kept] = here ? merged : symbols[i];
        i += here ? 2 : 1;
      }
      symbols.resize(kept);
      count(place, +1, merged);
    }
    std::sort(risen_.begin(), risen_.end());
    risen_.erase(std::unique(risen_.begin(), risen_.end()), risen_.end());
    for (const Pair& one : risen_)
      if (const std::int64_t now = pairs_[one].count; now > 0) queue_.push({now, one});
  }

  std::int64_t tokens() const {
    std::int64_t sum = 0;
    for (const Word& word : words_) sum += word.count * static_cast<std::int64_t>(word.symbols.size());
    return sum;
  }

 private:
  static bool holds(const std::vector<TokenId>& symbols, Pair pair) {
    for (std::size_t i = 1; i < symbols.size(); ++i)
      if (symbols[i - 1] == pair.left && symbols[i] == pair.right) return true;
    return false;
  }
  // Adds (or takes away) the pairs of a word. Pairs with the symbol `fresh` are new to it; at the beginning,
  // with none, all are.
  void count(std::uint32_t place, int sign, TokenId fresh = -1) {
    const Word& word = words_[place];
    for (std::size_t i = 1; i < word.symbols.size(); ++i) {
      const Pair pair{word.symbols[i - 1], word.symbols[i]};
      Occurrences& found = pairs_[pair];
      found.count += sign * word.count;
      if (sign < 0) continue;
      if (fresh < 0 || pair.left == fresh || pair.right == fresh) {
        if (found.words.empty() || found.words.back() != place) found.words.push_back(place);
        if (fresh >= 0) risen_.push_back(pair);
      }
    }
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> risen_;
};

// The bytes in the order of the characters that spell them.
std::vector<std::string> alphabetInOrder() {
  std::vector<std::string> spellings;
  for (int byte = 0; byte < 256; ++byte)
    spellings.push_back(spellingOfByte(static_cast<unsigned char>(byte)));
  // UTF-8 sorts as its code points do.
  std::sort(spellings.begin(), spellings.end());
  return spellings;
}

}  // namespace

Result<BytePairTrainer> BytePairTrainer::make() {
  DECOSCOPE_ASSIGN(auto pattern, Regex::compile(kGpt2Pattern, "the pattern of words"));
  std::vector<PreTokenizerPointer> steps;
  steps.push_back(makeCharacterSplit(isNumeric, SplitBehaviour::isolated));
  steps.push_back(makeByteLevel(std::move(pattern), false));
  return BytePairTrainer(makePreTokenizerSequence(std::move(steps)));
}

Status BytePairTrainer::add(std::string_view text) {
  if (validUtf8(text) != text)
    return fail(ErrorCode::badInput, "the text is not well-formed UTF-8", "text " + std::to_string(texts_));
  std::vector<Piece> pieces(1);
  pieces.front().text = text;
  DECOSCOPE_TRY(preTokenize(*preTokenizer_, pieces));
  for (Piece& piece : pieces) ++words_[std::move(piece.text)];
  ++texts_;
  bytes_ += static_cast<std::int64_t>(text.size());
  return {};
}

Result<BytePairVocabulary> BytePairTrainer::learn(const VocabularyOptions& options,
                                                  const StopToken& stop) const {
  BytePairVocabulary vocabulary;
  vocabulary.pieces = options.special;
  vocabulary.specialTokens = static_cast<int>(options.special.size());
  const std::vector<std::string> alphabet = alphabetInOrder();
  vocabulary.pieces.insert(vocabulary.pieces.end(), alphabet.begin(), alphabet.end());
  const auto size = static_cast<std::size_t>(std::clamp(options.size, 0, kLargestSize));
  if (size < vocabulary.pieces.size() || options.size > kLargestSize)
    return fail(ErrorCode::usage, "a vocabulary of " + std::to_string(options.size) + " entries", "size",
                "From " + std::to_string(vocabulary.pieces.size()) + " to " + std::to_string(kLargestSize) +
                    " are possible.");
  std::unordered_map<std::string, TokenId> ids;
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id)
    if (!ids.try_emplace(vocabulary.pieces[id], static_cast<TokenId>(id)).second)
      return fail(ErrorCode::usage, "the special token '" + vocabulary.pieces[id] + "' is there twice");
  std::array<TokenId, 256> idOfByte{};
  for (int byte = 0; byte < 256; ++byte)
    idOfByte[static_cast<std::size_t>(byte)] = ids.at(spellingOfByte(static_cast<unsigned char>(byte)));

  std::vector<Word> words;
  words.reserve(words_.size());
  for (const auto& [spelled, count] : words_) {
    Word word{{}, count};
    for (const char byte : unspellBytes(spelled))
      word.symbols.push_back(idOfByte[static_cast<unsigned char>(byte)]);
    words.push_back(std::move(word));
  }
  Merger merger(std::move(words));
  while (vocabulary.pieces.size() < size) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    const auto pair = merger.next(options.leastCount);
    if (!pair)
      return fail(ErrorCode::badInput,
                  "the texts have pairs for " + std::to_string(vocabulary.pieces.size()) +
                      " entries only, not " + std::to_string(size),
                  std::to_string(texts_) + " texts of " + std::to_string(bytes_) + " bytes",
                  "Give more texts or a smaller size.");
    std::string piece = vocabulary.pieces[static_cast<std::size_t>(pair->left)] +
                        vocabulary.pieces[static_cast<std::size_t>(pair->right)];
    const auto [entry, added] = ids.try_emplace(piece, static_cast<TokenId>(vocabulary.pieces.size()));
    // A text that spells out a special token does not make it an ordinary piece.
    if (!added && entry->second < vocabulary.specialTokens) continue;
    if (added) vocabulary.pieces.push_back(std::move(piece));
    vocabulary.merges.emplace_back(pair->left, pair->right);
    merger.merge(*pair, entry->second);
  }
  vocabulary.texts = texts_;
  vocabulary.bytes = bytes_;
  vocabulary.distinctWords = static_cast<std::int64_t>(words_.size());
  vocabulary.tokens = merger.tokens();
  return vocabulary;
}

}  // namespace decoscope
