// What a model's cache holds besides keys and values: each slot's token, its position, and the slot that it
// stands behind (ForwardRequest::follows). Kept by every backend that caches. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/Model.h"

namespace decoscope {

class CacheForest {
 public:
  // Slots in the cache, those of a forward under way left out.
  std::int64_t size() const { return size_; }
  // By slot, those of a forward under way included; valid until the next enter() or retain().
  std::span<const TokenId> tokens() const { return tokens_; }
  std::span<const std::int32_t> positions() const { return positions_; }
  // The slot before each one, always a smaller number; −1 where a text begins.
  std::span<const std::int32_t> predecessors() const { return predecessors_; }

  // The slot of the request's first token: behind the cache, or the first of those that it resumes.
  std::int64_t firstSlotOf(const ForwardRequest& request) const;
  // Error usage where tokens, positions, parents and follows do not fit each other or the cache, or where a
  // request with firstLayer > 0 does not repeat the last tokens and what they stand behind.
  Status check(const ForwardRequest& request) const;
  // The positions of a request that passed check(), given or implied.
  std::vector<std::int32_t> positionsOf(const ForwardRequest& request) const;
  // Enters the tokens of a request that passed check(), at firstSlotOf(request). They count once resize()
  // says so; until then size() and what stands below it are as they were.
  void enter(const ForwardRequest& request, std::span<const std::int32_t> positions);
  // Counts the first `size` slots, which must have been entered, as cached.
  void resize(std::int64_t size) { size_ = size; }

  // What Model::retain() asks for: error usage where the slots do not ascend or exist.
  Status checkRetained(int prefix, std::span<const std::int32_t> slots) const;
  // Linear in the number of slots. The slots must have passed checkRetained().
  void retain(int prefix, std::span<const std::int32_t> slots);

 private:
  std::int64_t size_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<std::int32_t> positions_, predecessors_;
};

// The parent of a request's token within the request, or −1.
inline std::int32_t parentOf(const ForwardRequest& request, std::size_t index) {
  return request.parents.empty() ? static_cast<std::int32_t>(index) - 1 : request.parents[index];
}

}  // namespace decoscope
