// An n-gram model of token ids: what a neural model has to beat.
//
// Source: S. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling" (Harvard
// TR-10-98, 1998), interpolated modified Kneser-Ney; the notation of K. Heafield et al., "Scalable modified
// Kneser-Ney language model estimation" (ACL 2013), whose treatment of the beginning of texts is used.
//
// With h a context, h' the context without its first token, and a(hw) the adjusted count of hw:
//   p(w | h) = max(a(hw) − D(a(hw)), 0) / Σ_x a(hx)  +  b(h) · p(w | h'),
//   b(h)     = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / Σ_x a(hx),
// where N_k(h) is how many w have a(hw) = k. A context that never went on has p(w | h) = p(w | h'); below the
// empty context stands the uniform distribution over the vocabulary, so every token has a probability.
// a(g) is how often g occurs where g has the full order or begins a text, and otherwise how many different
// tokens (the beginning of a text counts as one) stand before it. D1, D2, D3+ are per order, from counts of
// counts t_k = |{g : a(g) = k}|: Y = t1 / (t1 + 2 t2), Dk = k − (k + 1) Y t_(k+1) / t_k.
//
// A text begins fresh: before its first token stands the beginning and nothing else. That the text ends is a
// token like others (<|end|>), which the texts themselves hold.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"
#include "core/base/Stop.h"

namespace decoscope {

class KneserNey {
 public:
  // D1, D2, D3+ of one order. Too few texts leave a t_k at 0 or a discount outside [0, k]; then
  // `fromCounts` is false and the discounts are 1/2, 1, 3/2.
  struct Discounts {
    std::array<double, 3> values = {0.5, 1.0, 1.5};
    bool fromCounts = false;
  };

  int order() const { return static_cast<int>(levels_.size()); }
  int vocabularySize() const { return vocabularySize_; }
  // Of the orders 1 … order().
  const std::vector<Discounts>& discounts() const { return discounts_; }
  // Different n-grams of the orders 1 … order().
  std::vector<std::int64_t> sizes() const;
  std::int64_t memoryBytes() const;

  // ln p of each token of a text, from its beginning. Errors: badInput for an id outside the vocabulary.
  Result<std::vector<double>> logProbabilities(std::span<const TokenId> text) const;
  // p of every token of the vocabulary after a text so far; empty: at the beginning. Same errors.
  Result<std::vector<double>> distribution(std::span<const TokenId> textSoFar) const;

 private:
  friend class KneserNeyTrainer;
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  // The n-grams of one order as a level of a trie, in ascending order: the children of a node stand together,
  // by token. Level 0 has a node for every token, in order, and one for the beginning of texts.
  struct Level {
    std::vector<std::uint32_t> tokens;      // last token; empty in level 0
    std::vector<std::uint32_t> counts;      // adjusted
    std::vector<std::uint32_t> firstChild;  // in the next level, with one more at the end; empty in the last
    std::vector<double> totals, backoffs;   // of the node as a context: Σ a(hx), b(h); empty in the last
  };
  // For each length 0 … order−1 the node of that many tokens that came last, or kNone; length 0 is the root.
  using Contexts = std::vector<std::uint32_t>;

  Contexts beginning() const;
  // The node of `token` behind a context of that length, or kNone.
  std::uint32_t child(std::size_t length, std::uint32_t context, TokenId token) const;
  // p(token | contexts); `next`: the contexts behind it.
  double step(const Contexts& contexts, TokenId token, Contexts& next) const;
  Status check(std::span<const TokenId> text) const;

  int vocabularySize_ = 0;
  std::vector<Level> levels_;
  double rootTotal_ = 0, rootBackoff_ = 1;
  std::vector<Discounts> discounts_;
};

// Takes texts, then counts. Memory while training: about 20 bytes a token and 32 bytes an n-gram.
class KneserNeyTrainer {
 public:
  // `order` from 1 to 8. Errors of add(): badInput for an id outside the vocabulary or beyond 2^31 tokens;
  // of train(): usage (the order, the vocabulary's size), badInput (no texts), cancelled.
  KneserNeyTrainer(int order, int vocabularySize) : order_(order), vocabularySize_(vocabularySize) {}
  Status add(std::span<const TokenId> text);
  Result<KneserNey> train(const StopToken& stop) const;

 private:
  int order_, vocabularySize_;
  std::vector<std::uint32_t> stream_;  // each text behind the number vocabularySize_, which begins it
};

}  // namespace decoscope
