// The text as a draft head reads it (Li et al. 2024, EAGLE, arXiv 2401.15077): each token with the feature of
// the one before it, the target's final state there. Slot j of the head holds token j + 1 and feature j.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/decode/Decoder.h"

namespace decoscope {

class FeatureFeed {
 public:
  // `role`: the head's.
  explicit FeatureFeed(std::string role) : role_(std::move(role)) {}

  // Errors: badInput where the role's model is no head for this target, unsupported where that shows no
  // states.
  Status check(const DecodeEnvironment& environment) const;

  // As a proposer's functions of these names are described.
  std::vector<Tap> watches(const DecodeEnvironment& environment) const;
  Result<std::size_t> watched(DecodeEnvironment& environment);
  Status watch(const DecodeEnvironment& environment, std::size_t first, std::span<const TapValue> states);

  // How many tokens can be drafted from the text's end: what the head's context has left; −1 where features
  // of the text are missing or nothing fits.
  Result<int> room(DecodeEnvironment& environment);
  // Feeds the text that the head has not read. The last token's row: its logits and, where wanted, the
  // feature that the head guesses there.
  struct Row {
    std::unique_ptr<Logits> logits;
    std::vector<float> feature;
  };
  Result<Row> read(DecodeEnvironment& environment, bool feature);
  // Drops what was drafted behind the text: it stands on guessed features, the text comes back with the
  // target's.
  Status forgetDraft(DecodeEnvironment& environment) const;

  static Tap featureTap(const Model& head) { return {TapSite::residual, head.info().layers}; }

 private:
  std::string role_;
  // The target's features that the head has not read, of the text's tokens from `first_` on.
  std::vector<float> features_;
  std::size_t first_ = 0;
};

}  // namespace decoscope
