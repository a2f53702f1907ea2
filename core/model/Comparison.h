// How far one precision of a model is from another, on a text: what a user needs to know before trading
// accuracy for speed.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/base/Stop.h"
#include "core/model/Model.h"

namespace decoscope {

struct PrecisionDistance {
  std::string dtype, referenceDtype;  // "q4" against "f32"
  std::int64_t tokens = 0;            // positions compared
  double divergence = 0;              // mean of KL(reference ‖ other) over the positions, nats
  double largestDivergence = 0;
  double agreement = 0;            // share of positions whose most probable token is the same
  double perplexity = 0;           // exp of the mean negative log probability of the text, other
  double referencePerplexity = 0;  // the same of the reference
};

// Runs both over the text in chunks and compares the whole distributions at every position but the last. Both
// caches are emptied. Errors: badInput (fewer than two tokens, vocabularies that differ), those of forward().
Result<PrecisionDistance> compareModels(Model& reference, Model& other, std::span<const TokenId> text,
                                        const StopToken& stop, const ProgressFunction& progress = {});

// The mean negative log probability of tokens 1 … of the text, exponentiated; in chunks, so that the logits
// of a long text are never held at once.
Result<double> perplexityOf(Model& model, std::span<const TokenId> text, const StopToken& stop);

// What was measured before, by the weights' fingerprint; kept in the user's cache. A damaged or missing file
// is nothing measured.
std::optional<PrecisionDistance> storedDistance(const std::string& fingerprint, const std::string& dtype);
Status storeDistance(const std::string& fingerprint, const PrecisionDistance& distance);

}  // namespace decoscope
