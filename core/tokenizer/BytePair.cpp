// Byte-level byte-pair encoding: text is cut into words by regular expressions, each word's bytes are merged
// by rank. Source: Radford et al. 2019 (GPT-2); Sennrich et al. 2016.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <queue>
#include <unordered_map>

#include "core/base/Utf8.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

namespace {

void appendUtf8(std::string& out, unsigned codePoint) {
  if (codePoint < 0x80)
    out += static_cast<char>(codePoint);
  else {
    out += static_cast<char>(0xC0 | codePoint >> 6);
    out += static_cast<char>(0x80 | (codePoint & 0x3F));
  }
}

// Printable bytes stand for themselves; the other 68, in order, for U+0100 … U+0143.
struct ByteAlphabet {
  std::array<std::string, 256> spelling;
  std::unordered_map<std::string, unsigned char> byte;
  ByteAlphabet() {
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      appendUtf8(spelling[b], printable ? b : next++);
      byte[spelling[b]] = static_cast<unsigned char>(b);
    }
  }
};
const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

// The bytes that a piece stands for; characters outside the alphabet (added tokens) keep their own.
std::string pieceBytes(const std::string& piece) {
  std::string bytes;
  std::string_view rest = piece;
  while (!rest.empty()) {
    const std::size_t length = utf8Step(rest).length;
    const std::string character(rest.substr(0, length));
    const auto found = alphabet().byte.find(character);
    if (found != alphabet().byte.end())
      bytes += static_cast<char>(found->second);
    else
      bytes += character;
    rest.remove_prefix(length);
  }
  return bytes;
}

class Pattern {
 public:
  static Result<std::shared_ptr<Pattern>> compile(const std::string& source, const std::string& where) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    if (!code) {
      PCRE2_UCHAR text[160];
      pcre2_get_error_message(error, text, sizeof text);
      return fail(ErrorCode::badInput,
                  std::string("the split pattern does not compile: ") + reinterpret_cast<const char*>(text),
                  where + ", pattern character " + std::to_string(offset));
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    return std::shared_ptr<Pattern>(new Pattern(code));
  }
  ~Pattern() { pcre2_code_free(code_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  // Cuts well-formed text into matches and the stretches between them. Errors: a pattern that needs more work
  // than PCRE2 allows.
  Status split(std::string_view text, std::vector<std::string_view>& out) const {
    pcre2_match_data* match = pcre2_match_data_create_from_pattern(code_, nullptr);
    std::size_t at = 0, from = 0;
    while (at <= text.size()) {
      const int count = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                    PCRE2_NO_UTF_CHECK, match, nullptr);
      if (count == PCRE2_ERROR_NOMATCH) break;
      if (count < 0) {
        pcre2_match_data_free(match);
        PCRE2_UCHAR message[160];
        pcre2_get_error_message(count, message, sizeof message);
        return fail(
            ErrorCode::badInput,
            std::string("the tokenizer's split pattern failed: ") + reinterpret_cast<const char*>(message),
            "text byte " + std::to_string(at));
      }
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match);
      if (range[1] == range[0]) {
        // An empty match: go on behind the next character.
        if (range[1] >= text.size()) break;
        at = range[1] + utf8Step(text.substr(range[1])).length;
        continue;
      }
      if (range[0] > from) out.push_back(text.substr(from, range[0] - from));
      out.push_back(text.substr(range[0], range[1] - range[0]));
      at = from = range[1];
    }
    if (from < text.size()) out.push_back(text.substr(from));
    pcre2_match_data_free(match);
    return {};
  }

 private:
  explicit Pattern(pcre2_code* code) : code_(code) {}
  pcre2_code* code_;
};

struct Merge {
  std::uint32_t rank = 0;
  TokenId result = 0;
};

class BytePairTokenizer final : public Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> create(VocabularyData data) {
    auto tokenizer = std::make_shared<BytePairTokenizer>();
    DECOSCOPE_TRY(tokenizer->build(std::move(data)));
    return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
  }

  std::int32_t size() const override { return static_cast<std::int32_t>(data_.pieces.size()); }
  std::string bytesOf(TokenId token) const override {
    return token >= 0 && token < size() ? bytes_[static_cast<std::size_t>(token)] : std::string();
  }
  std::string pieceOf(TokenId token) const override {
    return token >= 0 && token < size() ? data_.pieces[static_cast<std::size_t>(token)] : std::string();
  }
  bool isSpecial(TokenId token) const override {
    return token >= 0 && token < size() && typeOf(token) == VocabularyData::PieceType::control;
  }
  std::optional<TokenId> idOf(std::string_view piece) const override {
    const auto found = ids_.find(std::string(piece));
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<TokenId> bos() const override { return data_.bos; }
  std::vector<TokenId> stopTokens() const override { return data_.stops; }
  const std::string& chatTemplate() const override { return data_.chatTemplate; }
  std::string description() const override {
    return "BPE (byte-level), " + std::to_string(size()) + " pieces";
  }
  const std::string& fingerprint() const override { return fingerprint_; }

  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options) const override {
    std::vector<TokenId> ids;
    if (options.addSpecial && data_.addBos && data_.bos) ids.push_back(*data_.bos);
    while (!text.empty()) {
      const auto [begin, length, token] = nextAdded(text, options.parseSpecial);
      DECOSCOPE_TRY(encodePlain(text.substr(0, begin), ids));
      if (length == 0) break;
      ids.push_back(token);
      text.remove_prefix(begin + length);
    }
    if (options.addSpecial && data_.addEos && data_.eos) ids.push_back(*data_.eos);
    return ids;
  }

 private:
  struct Added {
    std::size_t begin, length;
    TokenId token;
  };

  VocabularyData::PieceType typeOf(TokenId token) const {
    return data_.types.empty() ? VocabularyData::PieceType::normal
                               : data_.types[static_cast<std::size_t>(token)];
  }

  Status build(VocabularyData data) {
    data_ = std::move(data);
    if (data_.pieces.empty()) return fail(ErrorCode::badInput, "the vocabulary is empty", data_.source);
    if (!data_.types.empty() && data_.types.size() != data_.pieces.size())
      return fail(ErrorCode::badInput,
                  "there are " + std::to_string(data_.types.size()) + " token types for " +
                      std::to_string(data_.pieces.size()) + " tokens",
                  data_.source);
    for (TokenId id = 0; id < size(); ++id) {
      const std::string& piece = data_.pieces[static_cast<std::size_t>(id)];
      const auto type = typeOf(id);
      const bool added =
          type == VocabularyData::PieceType::control || type == VocabularyData::PieceType::userDefined;
      bytes_.push_back(added ? piece : pieceBytes(piece));
      ids_.emplace(piece, id);
      if (added && !piece.empty()) added_[static_cast<unsigned char>(piece[0])].push_back(id);
    }
    for (auto& bucket : added_)
      std::stable_sort(bucket.begin(), bucket.end(), [&](TokenId a, TokenId b) {
        return data_.pieces[static_cast<std::size_t>(a)].size() >
               data_.pieces[static_cast<std::size_t>(b)].size();
      });
    for (unsigned b = 0; b < 256; ++b) {
      const auto found = ids_.find(alphabet().spelling[b]);
      byteTokens_[b] = found == ids_.end() ? -1 : found->second;
    }
    for (std::size_t rank = 0; rank < data_.merges.size(); ++rank) {
      const auto& [left, right] = data_.merges[rank];
      const auto a = ids_.find(left), b = ids_.find(right), both = ids_.find(left + right);
      if (a == ids_.end() || b == ids_.end() || both == ids_.end())
        return fail(ErrorCode::badInput,
                    "merge " + std::to_string(rank) + " names a piece that is not in the vocabulary",
                    data_.source);
      merges_.emplace(pairKey(a->second, b->second), Merge{static_cast<std::uint32_t>(rank), both->second});
    }
    for (const std::string& pattern : data_.splitPatterns) {
      DECOSCOPE_ASSIGN(auto compiled, Pattern::compile(pattern, data_.source));
      patterns_.push_back(std::move(compiled));
    }
    fingerprint_ = fingerprintOf(data_);
    return {};
  }

  // FNV-1a over everything that encoding depends on.
  static std::string fingerprintOf(const VocabularyData& data) {
    std::uint64_t hash = 1469598103934665603ull;
    const auto mix = [&](std::string_view text) {
      for (const unsigned char byte : text) hash = (hash ^ byte) * 1099511628211ull;
      hash = (hash ^ 0xFF) * 1099511628211ull;
    };
    for (const std::string& piece : data.pieces) mix(piece);
    for (const auto& [left, right] : data.merges) mix(left), mix(right);
    for (const std::string& pattern : data.splitPatterns) mix(pattern);
    char text[40];
    std::snprintf(text, sizeof text, "bpe-%016llx", static_cast<unsigned long long>(hash));
    return text;
  }

  static std::uint64_t pairKey(TokenId a, TokenId b) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(a)) << 32 | static_cast<std::uint32_t>(b);
  }

  // The first added token in the text, the longest at its place; control tokens only when asked for.
  Added nextAdded(std::string_view text, bool special) const {
    for (std::size_t at = 0; at < text.size(); ++at)
      for (const TokenId token : added_[static_cast<unsigned char>(text[at])]) {
        const std::string& piece = data_.pieces[static_cast<std::size_t>(token)];
        if (!special && typeOf(token) == VocabularyData::PieceType::control) continue;
        if (text.substr(at).starts_with(piece)) return {at, piece.size(), token};
      }
    return {text.size(), 0, -1};
  }

  Status encodePlain(std::string_view text, std::vector<TokenId>& ids) const {
    // Ill-formed bytes are words of their own: the patterns see only well-formed text.
    while (!text.empty()) {
      std::size_t valid = 0;
      while (valid < text.size()) {
        const Utf8Step step = utf8Step(text.substr(valid));
        if (!step.valid) break;
        valid += step.length;
      }
      if (valid > 0) DECOSCOPE_TRY(encodeValid(text.substr(0, valid), ids));
      text.remove_prefix(valid);
      if (text.empty()) break;
      const std::size_t bad = utf8Step(text).length;
      DECOSCOPE_TRY(encodeWord(text.substr(0, bad), ids));
      text.remove_prefix(bad);
    }
    return {};
  }

  Status encodeValid(std::string_view text, std::vector<TokenId>& ids) const {
    std::string normalised;
    if (data_.composeNfc) {
      UErrorCode error = U_ZERO_ERROR;
      const icu::Normalizer2* composer = icu::Normalizer2::getNFCInstance(error);
      if (U_FAILURE(error))
        return fail(ErrorCode::failed, "Unicode normalisation is not available", data_.source);
      icu::StringByteSink<std::string> sink(&normalised);
      composer->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())), sink,
                              nullptr, error);
      if (U_FAILURE(error)) return fail(ErrorCode::failed, "Unicode normalisation failed", data_.source);
      text = normalised;
    }
    std::vector<std::string_view> words = {text}, next;
    for (const auto& pattern : patterns_) {
      next.clear();
      for (const std::string_view word : words) DECOSCOPE_TRY(pattern->split(word, next));
      words.swap(next);
    }
    for (const std::string_view word : words) DECOSCOPE_TRY(encodeWord(word, ids));
    return {};
  }

  Status encodeWord(std::string_view word, std::vector<TokenId>& ids) const {
    struct Symbol {
      TokenId token;
      int previous, next;
    };
    struct Candidate {
      std::uint32_t rank;
      int left;
      TokenId leftToken, rightToken, result;
      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };
    if (data_.ignoreMerges) {
      std::string spelled;
      for (const char byte : word) spelled += alphabet().spelling[static_cast<unsigned char>(byte)];
      if (const auto whole = ids_.find(spelled); whole != ids_.end()) {
        ids.push_back(whole->second);
        return {};
      }
    }
    std::vector<Symbol> symbols;
    symbols.reserve(word.size());
    for (std::size_t i = 0; i < word.size(); ++i) {
      const TokenId token = byteTokens_[static_cast<unsigned char>(word[i])];
      if (token < 0)
        return fail(
            ErrorCode::badInput,
            "the vocabulary has no token for byte " + std::to_string(static_cast<unsigned char>(word[i])),
            data_.source);
      symbols.push_back({token, static_cast<int>(i) - 1, i + 1 < word.size() ? static_cast<int>(i) + 1 : -1});
    }
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto offer = [&](int left) {
      if (left < 0 || symbols[static_cast<std::size_t>(left)].next < 0) return;
      const TokenId a = symbols[static_cast<std::size_t>(left)].token;
      const TokenId b = symbols[static_cast<std::size_t>(symbols[static_cast<std::size_t>(left)].next)].token;
      if (const auto merge = merges_.find(pairKey(a, b)); merge != merges_.end())
        queue.push({merge->second.rank, left, a, b, merge->second.result});
    };
    for (int i = 0; i + 1 < static_cast<int>(symbols.size()); ++i) offer(i);
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<std::size_t>(best.left)];
      // Stale where one side was merged in the meantime.
      if (left.token != best.leftToken || left.next < 0 ||
          symbols[static_cast<std::size_t>(left.next)].token != best.rightToken)
        continue;
      Symbol& right = symbols[static_cast<std::size_t>(left.next)];
      left.token = best.result;
      right.token = -1;
      left.next = right.next;
      if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.left;
      offer(left.previous);
      offer(best.left);
    }
    for (int at = symbols.empty() ? -1 : 0; at >= 0; at = symbols[static_cast<std::size_t>(at)].next)
      ids.push_back(symbols[static_cast<std::size_t>(at)].token);
    return {};
  }

  VocabularyData data_;
  std::vector<std::string> bytes_;
  std::unordered_map<std::string, TokenId> ids_;
  std::array<TokenId, 256> byteTokens_{};
  std::array<std::vector<TokenId>, 256> added_;  // by first byte, longest first
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::vector<std::shared_ptr<Pattern>> patterns_;
  std::string fingerprint_;
};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> makeBytePairTokenizer(VocabularyData data) {
  return BytePairTokenizer::create(std::move(data));
}

}  // namespace decoscope
