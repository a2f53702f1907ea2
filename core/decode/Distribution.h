// Distributions over the vocabulary as decoders use them: dense, in double precision, normalised.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/ParamSchema.h"
#include "core/model/Model.h"
#include "core/trace/Events.h"

namespace decoscope {

using Distribution = std::vector<double>;  // [vocabulary], sums to 1

// How raw logits become the distribution that is sampled from. Applied in this order, to target and drafter
// alike: repetition, presence and frequency penalties; bans; temperature; top-k; typical-p; top-p; min-p.
struct SamplingSettings {
  double temperature = 0;        // 0: greedy
  std::int64_t topK = 0;         // 0: off
  double topP = 1;               // 1: off
  double minP = 0;               // 0: off; relative to the largest probability
  double typicalP = 1;           // 1: off
  double repetitionPenalty = 1;  // on every token of the text: logit ÷ r where positive, × r where negative
  double presencePenalty = 0;    // subtracted once from each generated token's logit
  double frequencyPenalty = 0;   // subtracted once for each time it was generated
  std::vector<TokenId> banned;

  bool greedy() const { return temperature <= 0; }
  // Whether the processed order can differ from the raw one (penalties, bans): argmax must then look at every
  // logit.
  bool changesOrder() const;
};

// The parameters above, as every method that samples has them.
const ParamSchema& samplingSchema();
Result<SamplingSettings> samplingSettings(const ParamSet& parameters);

// The text that penalties look at: everything so far, of which the first `promptLength` tokens are the
// prompt.
struct History {
  std::span<const TokenId> text;
  std::size_t promptLength = 0;
  std::span<const TokenId> path;  // draft tokens that follow the text
};

// Softmax of the processed logits; at temperature 0 the softmax of the penalised logits without temperature
// or filters (use argmax() for the choice). Entries at or beyond `usable` (padding rows of the embedding) get
// probability 0. Error `failed` on NaN or when every entry is excluded.
Result<Distribution> processLogits(std::span<const float> logits, const SamplingSettings& settings,
                                   const History& history, std::int32_t usable);

TokenId argmax(const Distribution& distribution);  // the smallest id among equals

struct Draw {
  TokenId token = 0;
  double low = 0, high = 0;  // its interval of the cumulative distribution by token id
};
// Inverse transform: the token whose interval holds u in [0, 1). Rounding at the upper end goes to the last
// token with mass.
Draw drawFrom(const Distribution& distribution, double u);

// norm([p − q]₊); p itself when nothing is left (p ≡ q up to rounding).
Distribution residual(const Distribution& p, const Distribution& q);
// norm(p with p[token] := 0); p itself when nothing is left.
Distribution without(const Distribution& p, TokenId token);

double entropyOf(const Distribution& distribution);           // nats
int rankOf(const Distribution& distribution, TokenId token);  // from 0; ties by smaller id

// The recorded digest.
DistributionFact digest(const Distribution& distribution, DistributionKind kind, NodeId node, int topK,
                        int stage = 0);
DistributionFact digest(const RowSummary& summary, DistributionKind kind, NodeId node);

}  // namespace decoscope
