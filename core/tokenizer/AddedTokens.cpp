#include "core/tokenizer/AddedTokens.h"

#include <algorithm>

#include "core/tokenizer/Characters.h"

namespace decoscope {

namespace {

bool endsWithWord(std::string_view text) {
  if (text.empty()) return false;
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return isWordCharacter(codePointAt(text.substr(at)).value);
}

bool startsWithWord(std::string_view text) {
  return !text.empty() && isWordCharacter(codePointAt(text).value);
}

std::size_t blanksAtStart(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const CodePoint c = codePointAt(text.substr(at));
    if (!isWhitespace(c.value)) break;
    at += c.length;
  }
  return at;
}

// Where the white space at the end begins, but not before `from`.
std::size_t blanksAtEnd(std::string_view text, std::size_t from) {
  std::size_t end = text.size();
  while (end > from) {
    std::size_t at = end - 1;
    while (at > from && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    if (!isWhitespace(codePointAt(text.substr(at)).value)) break;
    end = at;
  }
  return end;
}

}  // namespace

Result<AddedTokens> AddedTokens::make(std::vector<AddedToken> tokens, Order order,
                                      const Normalizer* normalizer) {
  AddedTokens added;
  added.order_ = order;
  // Of two tokens with the same text the first counts, special ones before others.
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.special && !b.special; });
  added.tokens_ = std::move(tokens);
  std::vector<std::pair<std::string_view, std::int32_t>> plain, normalized;
  for (std::size_t i = added.tokens_.size(); i-- > 0;) {
    AddedToken& token = added.tokens_[i];
    added.byId_[token.id] = i;
    token.found = token.content;
    if (token.normalized && normalizer) {
      Piece piece;
      piece.text = token.content;
      DECOSCOPE_TRY(normalizer->normalize(piece));
      token.found = std::move(piece.text);
    }
    if (token.found.empty() && token.normalized) added.nothing_ = static_cast<std::int32_t>(i);
    if (!token.found.empty())
      (token.normalized ? normalized : plain).emplace_back(token.found, static_cast<std::int32_t>(i));
  }
  added.anyPlain_ = !plain.empty();
  added.anyNormalized_ = !normalized.empty() || added.nothing_ >= 0;
  added.plain_ = ByteTrie(std::move(plain));
  added.normalized_ = ByteTrie(std::move(normalized));
  return added;
}

void AddedTokens::split(const Piece& piece, bool normalized, bool parseSpecial,
                        std::vector<Piece>& out) const {
  if (piece.text.empty()) return;
  if (!(normalized ? anyNormalized_ : anyPlain_)) {
    out.push_back(piece.slice(0, piece.text.size()));
    return;
  }
  if (order_ == Order::longestFirst)
    longestFirst(piece, parseSpecial, out);
  else
    leftmost(piece, normalized, parseSpecial, out);
}

void AddedTokens::leftmost(const Piece& piece, bool normalized, bool parseSpecial,
                           std::vector<Piece>& out) const {
  const ByteTrie& trie = normalized ? normalized_ : plain_;
  const std::string_view text = piece.text;
  std::size_t covered = 0;
  std::optional<std::size_t> last;  // where the last match ended
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0;
    std::int32_t which = -1;
    if (trie.mayStartWith(text[at]))
      trie.prefixes(text.substr(at), [&](std::size_t size, std::int32_t value) {
        length = size;
        which = value;
      });
    if (which < 0 && normalized && last != at && (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80)
      which = nothing_;
    if (which < 0) {
      ++at;
      continue;
    }
    last = at + length;
    const AddedToken& token = tokens_[static_cast<std::size_t>(which)];
    std::size_t begin = at, end = at + length;
    at = end;
    if (token.special && !parseSpecial) continue;
    if (token.singleWord && (endsWithWord(text.substr(0, begin)) || startsWithWord(text.substr(end))))
      continue;
    if (token.stripLeft)
      begin = std::max(blanksAtEnd(text.substr(0, begin), std::min(covered, begin)), covered);
    if (token.stripRight) end += blanksAtStart(text.substr(end));
    if (covered < begin) out.push_back(piece.slice(covered, begin));
    // A token whose place the one before has taken along as white space is lost, as in the reference.
    if (begin < end) {
      Piece found;
      found.token = token.id;
      out.push_back(std::move(found));
    }
    covered = end;
  }
  if (covered < text.size()) out.push_back(piece.slice(covered, text.size()));
}

void AddedTokens::longestFirst(const Piece& piece, bool parseSpecial, std::vector<Piece>& out) const {
  struct Occurrence {
    std::size_t begin, length;
    std::int32_t which;
  };
  const std::string_view text = piece.text;
  std::vector<Occurrence> occurrences;
  for (std::size_t at = 0; at < text.size(); ++at)
    if (plain_.mayStartWith(text[at]))
      plain_.prefixes(text.substr(at), [&](std::size_t length, std::int32_t which) {
        if (parseSpecial || !tokens_[static_cast<std::size_t>(which)].special)
          occurrences.push_back({at, length, which});
      });
  std::stable_sort(occurrences.begin(), occurrences.end(), [](const Occurrence& a, const Occurrence& b) {
    if (a.length != b.length) return a.length > b.length;
    if (a.which != b.which) return a.which < b.which;
    return a.begin < b.begin;
  });
  std::vector<bool> taken(text.size());
  std::vector<Occurrence> chosen;
  const auto blank = [&](std::size_t at) {
    return text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r');
  };
  for (const Occurrence& o : occurrences) {
    const auto from = taken.begin() + static_cast<std::ptrdiff_t>(o.begin);
    if (std::find(from, from + static_cast<std::ptrdiff_t>(o.length), true) !=
        from + static_cast<std::ptrdiff_t>(o.length))
      continue;
    std::size_t begin = o.begin, end = o.begin + o.length;
    const AddedToken& token = tokens_[static_cast<std::size_t>(o.which)];
    if (token.stripLeft)
      while (begin > 0 && !taken[begin - 1] && blank(begin - 1)) --begin;
    if (token.stripRight)
      while (end < text.size() && !taken[end] && blank(end)) ++end;
    std::fill(taken.begin() + static_cast<std::ptrdiff_t>(begin),
              taken.begin() + static_cast<std::ptrdiff_t>(end), true);
    chosen.push_back({begin, end - begin, o.which});
  }
  std::sort(chosen.begin(), chosen.end(),
            [](const Occurrence& a, const Occurrence& b) { return a.begin < b.begin; });
  std::size_t covered = 0;
  for (const Occurrence& o : chosen) {
    if (covered < o.begin) out.push_back(piece.slice(covered, o.begin));
    Piece found;
    found.token = tokens_[static_cast<std::size_t>(o.which)].id;
    out.push_back(std::move(found));
    covered = o.begin + o.length;
  }
  if (covered < text.size()) out.push_back(piece.slice(covered, text.size()));
}

}  // namespace decoscope
