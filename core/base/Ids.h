// Identifiers shared by every layer.
#pragma once

#include <compare>
#include <cstdint>

namespace decoscope {

// An index into a tokenizer's vocabulary.
using TokenId = std::int32_t;
// Steps of a line count from 0; a fork at step S continues its parent's numbering.
using StepIndex = std::int64_t;
// Node ids are local to one step: the order in which its nodes were proposed. -1 stands for the root
// (the pending token) where a parent is named.
using NodeId = std::int32_t;
inline constexpr NodeId kRootNode = -1;

// A run within one session file, from 1; 0 means "none".
struct RunId {
  std::int64_t value = 0;
  explicit operator bool() const { return value != 0; }
  auto operator<=>(const RunId&) const = default;
};

}  // namespace decoscope
