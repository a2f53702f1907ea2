// A sealed step read as a tree: what was proposed, what became of it, and the tokens that were drawn at its
// end.
#pragma once

#include <string>
#include <vector>

#include "core/trace/Trace.h"

namespace decoscope {

struct RoundNode {
  TokenId token = 0;
  std::int32_t parent = -2;  // index into Round::nodes; -2 for the root
  std::int32_t depth = 0, rank = 0, siblings = 0;
  double q = kUnknown;
  const VerdictFact* verdict = nullptr;  // into the step; null for the root and for drawn tokens
  const DrawFact* draw = nullptr;        // the draw that gave a drawn token
  const CommitFact* commit = nullptr;    // null when the token did not enter the text
  std::string owner;                     // who proposed it
  std::vector<std::int32_t> children;    // indices
};

// Index 0 is the root (the pending token), node i of the record stands at i + 1, the drawn tokens after them.
struct Round {
  StepPointer step;  // keeps the facts alive; null where the caller does
  std::vector<RoundNode> nodes;
  std::int32_t proposed = 0, accepted = 0, tested = 0, committed = 0, depth = 0;
  bool isDrawn(std::int32_t index) const { return index > proposed; }
};

// The step must outlive the result. Tolerates damaged records: nodes with impossible parents are left without
// one.
Round roundOf(const StepRecord& step, TokenId root);
inline Round roundOf(const StepPointer& step, TokenId root) {
  Round round = roundOf(*step, root);
  round.step = step;
  return round;
}

// The probability of a node under the target, where it is known: at the moment of its test, else of its draw.
double targetProbability(const RoundNode& node);

}  // namespace decoscope
