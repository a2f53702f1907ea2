// Which text a model's cache stands for.
#pragma once

#include <span>
#include <vector>

#include "core/base/Ids.h"
#include "core/model/Model.h"

namespace decoscope {

// Mirrors the cache of one model as token ids. Every change of the cache goes through here, so that any
// decoder can pick up from any other: it drops what does not agree with the text and runs what is missing.
class Sequence {
 public:
  std::span<const TokenId> tokens() const { return tokens_; }
  // Drops cached tokens beyond the longest common prefix with `text`; returns the length kept.
  Result<std::size_t> align(Model& model, std::span<const TokenId> text);
  // The cache was extended by a forward of these tokens.
  void extended(std::span<const TokenId> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  // Keeps `prefix` tokens and then the given slots.
  Status retain(Model& model, int prefix, std::span<const std::int32_t> slots = {});

 private:
  std::vector<TokenId> tokens_;
};

}  // namespace decoscope
