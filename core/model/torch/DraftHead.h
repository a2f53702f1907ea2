// What a draft head takes from the model that it was made for. Internal to the libtorch backend.
#pragma once

#include <string>
#include <vector>

#include "core/model/torch/TransformerLoader.h"

namespace decoscope {

// Whether the head can live on this model: errors badInput (none, or other sizes), unsupported (a model
// without matrices). `path` is the head's.
Status checkBase(const TransformerConfig& head, const Model* base, const std::string& path);
// The tokens that the head's logits stand for; empty: every token, in order. Errors badInput by tensor and
// entry.
Result<std::vector<TokenId>> rankedTokens(const WeightFile& weights, const TransformerConfig& config,
                                          const TensorNames& names);
// The base's LM head, those rows of it, in the plan's precision (q4: in 8 bits, as LM heads are): the base's
// own matrix where that is the same, else a copy.
Result<std::shared_ptr<const Linear>> borrowedHead(const TransformerConfig& config,
                                                   const std::vector<TokenId>& ranked, const LoadPlan& plan);

}  // namespace decoscope
