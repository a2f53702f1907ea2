#include <algorithm>
#include <array>
#include <queue>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/Characters.h"
#include "core/tokenizer/SubwordModels.h"
#include "core/tokenizer/WordDivider.h"

namespace decoscope {

namespace {

// Pairs of symbols to what they become: open addressing, because a word asks for every neighbouring pair.
class MergeTable {
 public:
  struct Merge {
    std::uint64_t pair = kNone;
    std::uint32_t rank = 0;
    TokenId result = 0;
  };
  explicit MergeTable(std::size_t count) {
    std::size_t capacity = 16;
    while (capacity < 2 * count) capacity *= 2;
    slots_.resize(capacity);
    mask_ = capacity - 1;
  }
  void put(TokenId left, TokenId right, Merge merge, bool keepFirst) {
    merge.pair = key(left, right);
    Merge& slot = slots_[place(merge.pair)];
    if (slot.pair == kNone || !keepFirst) slot = merge;
  }
  const Merge* find(TokenId left, TokenId right) const {
    const Merge& slot = slots_[place(key(left, right))];
    return slot.pair == kNone ? nullptr : &slot;
  }

 private:
  static constexpr std::uint64_t kNone = ~0ull;
  static std::uint64_t key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t place(std::uint64_t pair) const {
    std::size_t at = (pair * 0x9E3779B97F4A7C15ull >> 20) & mask_;
    while (slots_[at].pair != kNone && slots_[at].pair != pair) at = (at + 1) & mask_;
    return at;
  }
  std::vector<Merge> slots_;
  std::size_t mask_ = 0;
};

class BytePairModel final : public SubwordModel {
 public:
  BytePairModel(Vocabulary vocabulary, std::size_t merges, BytePairOptions options)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)), merges_(merges) {}

  Status build(const Merges& merges, const std::string& where) {
    TextMap<TokenId> extra;  // symbols that merges name but the vocabulary lacks
    const auto symbol = [&](std::string_view text) -> std::optional<TokenId> {
      if (const auto id = vocabulary_.find(text)) return id;
      if (!options_.lenient) return std::nullopt;
      const auto id = static_cast<TokenId>(vocabulary_.size() + extra.size());
      return extra.try_emplace(std::string(text), id).first->second;
    };
    std::string joined;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left, right] = merges[rank];
      const std::size_t skip = options_.continuingPrefix.size();
      if (right.size() < skip)
        return fail(ErrorCode::badInput, "merge " + std::to_string(rank) + " is shorter than the prefix",
                    where);
      joined.assign(left).append(right, skip);
      const auto a = symbol(left), b = symbol(right), both = symbol(joined);
      if (!a || !b || !both)
        return fail(ErrorCode::badInput,
                    "merge " + std::to_string(rank) + " names a piece that is not in the vocabulary", where);
      merges_.put(*a, *b, {0, static_cast<std::uint32_t>(rank), *both}, options_.lenient);
    }
    for (const auto& [text, id] : extra)
      if (!text.empty() && codePointAt(text).length == text.size()) extraCharacters_.emplace(text, id);
    if (options_.unknown) unknown_ = vocabulary_.find(*options_.unknown);
    if (options_.byteFallback || options_.leftover == BytePairOptions::Leftover::hexBytes)
      for (unsigned b = 0; b < 256; ++b)
        byteTokens_[b] = vocabulary_.find(fallbackPieceOf(static_cast<unsigned char>(b))).value_or(-1);
    for (unsigned b = 0; b < 256; ++b)
      rawTokens_[b] = vocabulary_.find(std::string(1, static_cast<char>(b))).value_or(-1);
    plain_ = options_.continuingPrefix.empty() && options_.wordSuffix.empty();
    for (char32_t c = 0; c < characters_.size(); ++c) {
      std::string text;
      appendUtf8(text, c);
      characters_[c] = vocabulary_.find(text).value_or(-1);
    }
    // Prefixes, suffixes and symbols beyond the vocabulary make a word depend on more than its own
    // characters.
    if (plain_ && !options_.lenient && !options_.ignoreMerges) divider_.emplace(vocabulary_);
    where_ = where;
    return {};
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string kind() const override { return "BPE"; }

  Status encode(std::string_view piece, std::vector<TokenId>& out) const override {
    if (piece.empty()) return {};
    if (options_.ignoreMerges)
      if (const auto whole = vocabulary_.find(piece)) {
        out.push_back(*whole);
        return {};
      }
    if (!divider_) return encodeWord(piece, out);
    return divider_->each(piece, out, [this](std::string_view word, std::vector<TokenId>& ids) {
      return encodeWord(word, ids);
    });
  }

 private:
  Status encodeWord(std::string_view piece, std::vector<TokenId>& out) const {
    std::vector<Symbol> symbols;
    symbols.reserve(piece.size());
    DECOSCOPE_TRY(spell(piece, symbols));
    merge(symbols);
    for (int at = symbols.empty() ? -1 : 0; at >= 0; at = symbols[static_cast<std::size_t>(at)].next) {
      const Symbol& symbol = symbols[static_cast<std::size_t>(at)];
      if (symbol.token >= 0 && static_cast<std::size_t>(symbol.token) < vocabulary_.size())
        out.push_back(symbol.token);
      else
        leftover(piece.substr(symbol.begin, symbol.length), out);
    }
    return {};
  }

  struct Symbol {
    TokenId token;  // -1: a character without a token
    int previous, next;
    std::uint32_t begin, length;  // bytes of the piece; length 0: merged away
  };

  std::optional<TokenId> character(char32_t c, std::string_view bytes) const {
    if (c < characters_.size()) return characters_[c] < 0 ? std::nullopt : std::optional(characters_[c]);
    return vocabulary_.find(bytes);
  }

  Status spell(std::string_view piece, std::vector<Symbol>& symbols) const {
    const auto add = [&](TokenId token, std::size_t begin, std::size_t length) {
      const int index = static_cast<int>(symbols.size());
      if (index > 0) symbols.back().next = index;
      symbols.push_back(
          {token, index - 1, -1, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(length)});
    };
    std::optional<std::pair<std::size_t, std::size_t>> pending;  // an unknown stretch: begin, length
    const auto flush = [&] {
      if (pending) add(*unknown_, pending->first, pending->second);
      pending.reset();
    };
    std::string decorated;
    for (std::size_t at = 0; at < piece.size();) {
      const CodePoint c = codePointAt(piece.substr(at));
      const std::size_t begin = at, length = c.length;
      at += length;
      std::string_view text = piece.substr(begin, length);
      std::optional<TokenId> token;
      if (plain_) {
        token = character(c.value, text);
      } else {
        decorated.clear();
        if (begin > 0) decorated += options_.continuingPrefix;
        decorated += text;
        if (at >= piece.size()) decorated += options_.wordSuffix;
        text = decorated;
        token = vocabulary_.find(text);
      }
      if (token) {
        flush();
        add(*token, begin, length);
        continue;
      }
      if (options_.lenient) {
        const auto extra = extraCharacters_.find(text);
        add(extra == extraCharacters_.end() ? -1 : extra->second, begin, length);
        continue;
      }
      if (options_.byteFallback && std::all_of(text.begin(), text.end(), [&](char byte) {
            return byteTokens_[static_cast<unsigned char>(byte)] >= 0;
          })) {
        // A pending unknown stretch stays pending: it comes after these bytes, as in the reference.
        for (const char byte : text) add(byteTokens_[static_cast<unsigned char>(byte)], begin, 1);
        continue;
      }
      if (!options_.unknown) continue;
      if (!unknown_)
        return fail(ErrorCode::badInput,
                    "the unknown token '" + *options_.unknown + "' is not in the vocabulary", where_);
      if (pending && options_.fuseUnknown) {
        pending->second += length;
      } else {
        flush();
        pending = std::pair(begin, length);
      }
    }
    flush();
    return {};
  }

  void merge(std::vector<Symbol>& symbols) const {
    struct Candidate {
      std::uint32_t rank;
      int left;
      TokenId result;
      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto at = [&](int index) -> Symbol& { return symbols[static_cast<std::size_t>(index)]; };
    const auto offer = [&](int left) {
      if (left < 0 || at(left).next < 0) return;
      const TokenId a = at(left).token, b = at(at(left).next).token;
      if (a < 0 || b < 0) return;
      if (const auto* found = merges_.find(a, b)) queue.push({found->rank, left, found->result});
    };
    for (int i = 0; i + 1 < static_cast<int>(symbols.size()); ++i) offer(i);
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& left = at(best.left);
      if (left.length == 0 || left.next < 0) continue;
      Symbol& right = at(left.next);
      // Stale where one side was merged in the meantime, unless the new pair becomes the same token.
      const auto* now = left.token < 0 || right.token < 0 ? nullptr : merges_.find(left.token, right.token);
      if (!now || now->result != best.result) continue;
      left.token = best.result;
      left.length += right.length;
      right.length = 0;
      left.next = right.next;
      if (left.next >= 0) at(left.next).previous = best.left;
      offer(left.previous);
      offer(best.left);
    }
  }

  void leftover(std::string_view text, std::vector<TokenId>& out) const {
    if (options_.leftover == BytePairOptions::Leftover::drop) return;
    const auto& table = options_.leftover == BytePairOptions::Leftover::hexBytes ? byteTokens_ : rawTokens_;
    for (const char byte : text)
      if (const TokenId token = table[static_cast<unsigned char>(byte)]; token >= 0) out.push_back(token);
  }

  Vocabulary vocabulary_;
  BytePairOptions options_;
  MergeTable merges_;
  TextMap<TokenId> extraCharacters_;
  std::optional<TokenId> unknown_;
  std::array<TokenId, 256> byteTokens_{}, rawTokens_{};
  std::array<TokenId, 0x180> characters_{};
  bool plain_ = true;
  std::optional<WordDivider> divider_;
  std::string where_;
};

}  // namespace

Result<SubwordModelPointer> makeBytePairModel(Vocabulary vocabulary, const Merges& merges,
                                              BytePairOptions options, const std::string& where) {
  auto model = std::make_unique<BytePairModel>(std::move(vocabulary), merges.size(), std::move(options));
  DECOSCOPE_TRY(model->build(merges, where));
  return SubwordModelPointer(std::move(model));
}

}  // namespace decoscope
