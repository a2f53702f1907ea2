// From a row of logits to a token, with everything recorded: the one place where causal methods sample.
#pragma once

#include <span>

#include "core/decode/Decoder.h"
#include "core/decode/Distribution.h"

namespace decoscope {

class Chooser {
 public:
  static Result<Chooser> create(const ParamSet& parameters);

  const SamplingSettings& settings() const { return settings_; }

  // The processed distribution of a row; `path` are the draft tokens between the text and the row.
  Result<Distribution> distribution(const DecodeEnvironment& environment, const Logits& logits, int row,
                                    std::span<const TokenId> path) const;
  // The greedy token of a row, without building a distribution where the order of raw logits decides; a
  // summary of the row, where there is one, saves looking for it.
  Result<TokenId> greedy(const DecodeEnvironment& environment, const Logits& logits, int row,
                         std::span<const TokenId> path, const RowSummary* summary = nullptr) const;
  // Chooses the token that follows the text and `path`: argmax at temperature 0, else a draw keyed by its
  // position, so that every lossless method that draws from the same distribution draws the same token.
  // Records the processed distribution (if it was built) and the DrawFact; `summary` of the same row, where
  // there is one, gives the probability of a token that was chosen without a draw.
  Result<TokenId> choose(DecodeEnvironment& environment, const Logits& logits, int row, NodeId node,
                         std::span<const TokenId> path, DrawPurpose purpose,
                         const RowSummary* summary = nullptr) const;

 private:
  explicit Chooser(SamplingSettings settings) : settings_(std::move(settings)) {}
  SamplingSettings settings_;
};

// A decoder over next-token logits: shares prefill, the context limit and forcing.
class CausalDecoder : public Decoder {
 public:
  Status begin(DecodeEnvironment& environment) override { return environment.prefill("target"); }
  Status force(DecodeEnvironment& environment, TokenId token, Provenance provenance) override;

 protected:
  explicit CausalDecoder(Chooser chooser) : chooser_(std::move(chooser)) {}
  // Tokens of the text that the target has not seen; at least the pending one. Drops cache that disagrees
  // with the text. Sets the stop reason "context", and returns nothing, when no token fits any more.
  Result<std::vector<TokenId>> pending(DecodeEnvironment& environment) const;

  Chooser chooser_;
};

}  // namespace decoscope
