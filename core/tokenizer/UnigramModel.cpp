#include <algorithm>
#include <array>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/ByteTrie.h"
#include "core/tokenizer/Characters.h"
#include "core/tokenizer/SubwordModels.h"

namespace decoscope {

namespace {

class UnigramModel final : public SubwordModel {
 public:
  UnigramModel(Vocabulary vocabulary, UnigramOptions options, std::string where)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)), where_(std::move(where)) {
    std::vector<std::pair<std::string_view, std::int32_t>> entries;
    for (std::size_t id = 0; id < vocabulary_.size(); ++id)
      if (options_.matchable.empty() || options_.matchable[id])
        entries.emplace_back(vocabulary_.pieces()[id], static_cast<std::int32_t>(id));
    trie_ = ByteTrie(std::move(entries));
    for (unsigned b = 0; b < 256; ++b)
      byteTokens_[b] = vocabulary_.find(fallbackPieceOf(static_cast<unsigned char>(b))).value_or(-1);
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string kind() const override { return "Unigram"; }

  // Viterbi over the bytes of the piece; of equal scores the one found first, which is the longer last token,
  // stays.
  Status encode(std::string_view piece, std::vector<TokenId>& out) const override {
    struct Node {
      double score = 0;
      std::int64_t begin = -1;
      TokenId token = -1;
    };
    std::vector<Node> best(piece.size() + 1);
    const auto offer = [](Node& node, double score, std::size_t begin, TokenId token) {
      if (node.begin >= 0 && !(score > node.score)) return;
      node = {score, static_cast<std::int64_t>(begin), token};
    };
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t step = codePointAt(piece.substr(at)).length;
      const double here = best[at].score;
      bool single = false;
      trie_.prefixes(piece.substr(at), [&](std::size_t length, std::int32_t token) {
        offer(best[at + length], options_.scores[static_cast<std::size_t>(token)] + here, at, token);
        single = single || length == step;
      });
      if (!single) {
        Node& node = best[at + step];
        const double score = options_.unknownScore + here;
        if (node.begin < 0 || score > node.score) {
          if (!options_.unknown)
            return fail(ErrorCode::badInput,
                        "the vocabulary has no token for '" + std::string(piece.substr(at, step)) +
                            "' and no unknown token",
                        where_);
          offer(node, score, at, *options_.unknown);
        }
      }
      at += step;
    }
    struct Part {
      std::size_t begin, end;
    };
    std::vector<Part> parts;  // from the back; neighbouring unknown ones joined
    bool unknown = false;
    for (std::size_t end = piece.size(); end > 0;) {
      const Node& node = best[end];
      const auto begin = static_cast<std::size_t>(node.begin);
      const bool now = options_.unknown && node.token == *options_.unknown;
      if (now && unknown)
        parts.back().begin = begin;
      else
        parts.push_back({begin, end});
      unknown = now;
      end = begin;
    }
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
      DECOSCOPE_TRY(emit(piece.substr(part->begin, part->end - part->begin), out));
    return {};
  }

 private:
  Status emit(std::string_view text, std::vector<TokenId>& out) const {
    const auto id = vocabulary_.find(text);
    if (id && (options_.matchable.empty() || options_.matchable[static_cast<std::size_t>(*id)])) {
      out.push_back(*id);
      return {};
    }
    if (options_.byteFallback && std::all_of(text.begin(), text.end(), [&](char byte) {
          return byteTokens_[static_cast<unsigned char>(byte)] >= 0;
        })) {
      for (const char byte : text) out.push_back(byteTokens_[static_cast<unsigned char>(byte)]);
      return {};
    }
    if (!options_.unknown) return fail(ErrorCode::badInput, "the vocabulary has no unknown token", where_);
    out.push_back(*options_.unknown);
    return {};
  }

  Vocabulary vocabulary_;
  UnigramOptions options_;
  std::string where_;
  ByteTrie trie_;
  std::array<TokenId, 256> byteTokens_{};
};

}  // namespace

Result<SubwordModelPointer> makeUnigramModel(Vocabulary vocabulary, UnigramOptions options,
                                             const std::string& where) {
  if (options.scores.size() != vocabulary.size() ||
      (!options.matchable.empty() && options.matchable.size() != vocabulary.size()))
    return fail(ErrorCode::badInput,
                "there are " + std::to_string(options.scores.size()) + " scores for " +
                    std::to_string(vocabulary.size()) + " tokens",
                where);
  if (options.unknown && static_cast<std::size_t>(*options.unknown) >= vocabulary.size())
    return fail(ErrorCode::badInput, "the unknown token is not in the vocabulary", where);
  return SubwordModelPointer(
      std::make_unique<UnigramModel>(std::move(vocabulary), std::move(options), where));
}

}  // namespace decoscope
