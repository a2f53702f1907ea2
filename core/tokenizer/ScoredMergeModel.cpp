#include <algorithm>
#include <array>
#include <queue>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/SubwordModels.h"
#include "core/tokenizer/WordDivider.h"

namespace decoscope {

namespace {

class ScoredMergeModel final : public SubwordModel {
 public:
  ScoredMergeModel(Vocabulary vocabulary, ScoredMergeOptions options, std::string where)
      : vocabulary_(std::move(vocabulary)),
        options_(std::move(options)),
        where_(std::move(where)),
        divider_(vocabulary_) {
    for (unsigned b = 0; b < 256; ++b) {
      auto token = vocabulary_.find(fallbackPieceOf(static_cast<unsigned char>(b)));
      if (!token) token = vocabulary_.find(std::string(1, static_cast<char>(b)));
      if (!token) token = options_.unknown;
      byteTokens_[b] = token.value_or(-1);
    }
    for (const std::string& piece : vocabulary_.pieces()) longest_ = std::max(longest_, piece.size());
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string kind() const override { return "SentencePiece BPE"; }

  Status encode(std::string_view text, std::vector<TokenId>& out) const override {
    return divider_.each(text, out, [this](std::string_view word, std::vector<TokenId>& ids) {
      return encodeWord(word, ids);
    });
  }

 private:
  Status encodeWord(std::string_view text, std::vector<TokenId>& out) const {
    struct Symbol {
      int previous, next;
      std::size_t begin, length;
    };
    struct Candidate {
      float score;
      int left, right;
      std::size_t length;
      bool operator<(const Candidate& other) const {
        return score != other.score ? score < other.score : left > other.left;
      }
    };
    std::vector<Symbol> symbols;
    for (std::size_t at = 0; at < text.size();) {
      const auto lead = static_cast<unsigned char>(text[at]);
      const std::size_t length = std::min<std::size_t>(lead < 0xC0   ? 1
                                                       : lead < 0xE0 ? 2
                                                       : lead < 0xF0 ? 3
                                                                     : 4,
                                                       text.size() - at);
      const int index = static_cast<int>(symbols.size());
      symbols.push_back({index - 1, at + length < text.size() ? index + 1 : -1, at, length});
      at += length;
    }
    const auto symbol = [&](int index) -> Symbol& { return symbols[static_cast<std::size_t>(index)]; };
    std::priority_queue<Candidate> queue;
    const auto offer = [&](int left, int right) {
      if (left < 0 || right < 0) return;
      const std::size_t length = symbol(left).length + symbol(right).length;
      if (length > longest_) return;
      if (const auto token = vocabulary_.find(text.substr(symbol(left).begin, length)))
        queue.push({options_.scores[static_cast<std::size_t>(*token)], left, right, length});
    };
    for (int i = 1; i < static_cast<int>(symbols.size()); ++i) offer(i - 1, i);
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol &left = symbol(best.left), &right = symbol(best.right);
      if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) continue;
      left.length = best.length;
      right.length = 0;
      left.next = right.next;
      if (right.next >= 0) symbol(right.next).previous = best.left;
      offer(left.previous, best.left);
      offer(best.left, left.next);
    }
    for (int at = symbols.empty() ? -1 : 0; at >= 0; at = symbol(at).next) {
      const std::string_view part = text.substr(symbol(at).begin, symbol(at).length);
      if (const auto token = vocabulary_.find(part)) {
        out.push_back(*token);
        continue;
      }
      for (const char byte : part) {
        const TokenId token = byteTokens_[static_cast<unsigned char>(byte)];
        if (token < 0)
          return fail(ErrorCode::badInput,
                      "the vocabulary has no token for byte " +
                          std::to_string(static_cast<unsigned char>(byte)) + " and no unknown token",
                      where_);
        out.push_back(token);
      }
    }
    return {};
  }

  Vocabulary vocabulary_;
  ScoredMergeOptions options_;
  std::string where_;
  std::array<TokenId, 256> byteTokens_{};
  std::size_t longest_ = 0;
  WordDivider divider_;
};

}  // namespace

Result<SubwordModelPointer> makeScoredMergeModel(Vocabulary vocabulary, ScoredMergeOptions options,
                                                 const std::string& where) {
  if (options.scores.size() < vocabulary.size())
    return fail(ErrorCode::badInput,
                "there are " + std::to_string(options.scores.size()) + " scores for " +
                    std::to_string(vocabulary.size()) + " tokens",
                where);
  return SubwordModelPointer(
      std::make_unique<ScoredMergeModel>(std::move(vocabulary), std::move(options), where));
}

}  // namespace decoscope
