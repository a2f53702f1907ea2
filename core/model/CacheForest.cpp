#include "core/model/CacheForest.h"

#include <algorithm>

namespace decoscope {

namespace {

// The slot before that of a request's token. Without `follows` a root stands behind all that is cached.
std::int32_t predecessorOf(const ForwardRequest& request, std::size_t index, std::int64_t base) {
  const std::int32_t parent = parentOf(request, index);
  if (parent >= 0) return static_cast<std::int32_t>(base) + parent;
  return request.follows.empty() ? static_cast<std::int32_t>(base) - 1 : request.follows[index];
}

}  // namespace

std::int64_t CacheForest::firstSlotOf(const ForwardRequest& request) const {
  return request.firstLayer > 0 ? size_ - static_cast<std::int64_t>(request.tokens.size()) : size_;
}

Status CacheForest::check(const ForwardRequest& request) const {
  const std::size_t count = request.tokens.size();
  if (count == 0) return fail(ErrorCode::usage, "a forward needs at least one token");
  if (!request.positions.empty() && request.positions.size() != count)
    return fail(ErrorCode::usage, "positions and tokens differ in number");
  if (!request.parents.empty() && request.parents.size() != count)
    return fail(ErrorCode::usage, "parents and tokens differ in number");
  if (!request.follows.empty() && request.follows.size() != count)
    return fail(ErrorCode::usage, "the slots followed and the tokens differ in number");
  if (!request.follows.empty() && request.visibility != Visibility::causal)
    return fail(ErrorCode::usage, "only a causal forward can say which slots it follows");
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t parent = parentOf(request, i);
    if (parent >= static_cast<std::int32_t>(i) || parent < -1)
      return fail(ErrorCode::usage, "a parent must stand before its child");
    if (parent < 0 && !request.follows.empty() && (request.follows[i] < -1 || request.follows[i] >= size_))
      return fail(ErrorCode::usage, "there is no cached slot " + std::to_string(request.follows[i]) +
                                        " for token " + std::to_string(i) + " to follow");
  }
  if (request.firstLayer <= 0) return {};
  const std::int64_t base = firstSlotOf(request);
  if (base < 0 || !std::equal(request.tokens.begin(), request.tokens.end(), tokens_.begin() + base))
    return fail(ErrorCode::usage, "a forward can resume only the last tokens in the cache");
  for (std::size_t i = 0; i < count; ++i)
    if (predecessors_[static_cast<std::size_t>(base) + i] != predecessorOf(request, i, base))
      return fail(ErrorCode::usage, "a resumed token must stand behind the one that it stood behind",
                  "token " + std::to_string(i) + " of the request");
  return {};
}

std::vector<std::int32_t> CacheForest::positionsOf(const ForwardRequest& request) const {
  if (!request.positions.empty()) return request.positions;
  const std::int64_t base = firstSlotOf(request);
  if (request.firstLayer > 0) return {positions_.begin() + base, positions_.begin() + size_};
  std::vector<std::int32_t> positions(request.tokens.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::int32_t parent = parentOf(request, i);
    if (parent >= 0)
      positions[i] = positions[static_cast<std::size_t>(parent)] + 1;
    else if (request.follows.empty())
      positions[i] = static_cast<std::int32_t>(base);
    else
      positions[i] =
          request.follows[i] < 0 ? 0 : positions_[static_cast<std::size_t>(request.follows[i])] + 1;
  }
  return positions;
}

void CacheForest::enter(const ForwardRequest& request, std::span<const std::int32_t> positions) {
  const std::int64_t base = firstSlotOf(request);
  const std::size_t first = static_cast<std::size_t>(base), end = first + request.tokens.size();
  tokens_.resize(end);
  positions_.resize(end);
  predecessors_.resize(end);
  std::copy(request.tokens.begin(), request.tokens.end(), tokens_.begin() + base);
  std::copy(positions.begin(), positions.end(), positions_.begin() + base);
  for (std::size_t i = 0; i < request.tokens.size(); ++i)
    predecessors_[first + i] = predecessorOf(request, i, base);
}

Status CacheForest::checkRetained(int prefix, std::span<const std::int32_t> slots) const {
  if (prefix < 0 || prefix > size_) return fail(ErrorCode::usage, "cannot retain more than is cached");
  std::int32_t before = prefix - 1;
  for (const std::int32_t slot : slots) {
    if (slot <= before || slot >= size_)
      return fail(ErrorCode::usage, "cache slots must ascend and exist",
                  "slot " + std::to_string(slot) + " of " + std::to_string(size_));
    before = slot;
  }
  return {};
}

void CacheForest::retain(int prefix, std::span<const std::int32_t> slots) {
  // Where each slot from `prefix` on has gone; for a dropped one, where the nearest kept one before it has.
  std::vector<std::int32_t> moved;
  const auto placeOf = [&](std::int32_t slot) {
    return slot < prefix ? slot : moved[static_cast<std::size_t>(slot - prefix)];
  };
  auto to = static_cast<std::size_t>(prefix);
  std::int32_t next = prefix;  // the first slot that `moved` says nothing of
  for (const std::int32_t slot : slots) {
    for (; next < slot; ++next) moved.push_back(placeOf(predecessors_[static_cast<std::size_t>(next)]));
    const auto from = static_cast<std::size_t>(slot);
    const std::int32_t predecessor = placeOf(predecessors_[from]);
    moved.push_back(static_cast<std::int32_t>(to));
    tokens_[to] = tokens_[from];
    positions_[to] = positions_[from];
    predecessors_[to++] = predecessor;
    ++next;
  }
  size_ = static_cast<std::int64_t>(to);
}

}  // namespace decoscope
