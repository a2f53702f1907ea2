// What a rule that ends drafts is worth: the drafts that a frozen drafter would make in held-out texts, what
// the frozen target would accept of them, and how many tokens a rule keeps or wastes. Nothing in them depends
// on the rule, so they are made once.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "core/train/nets/Net.h"
#include "core/train/nets/Rows.h"

namespace decoscope::train {

// One draft at temperature 1, as long as it may become; its last token may end the text.
struct DraftChain {
  std::vector<TokenId> tokens;  // of the text before it, and its own
  at::Tensor states;  // f32 [tokens, width], the drafter's final state at each token, where the drafter is
  std::vector<double> acceptance;  // of each token, where those before it were accepted: min(1, p ÷ q)

  int length() const { return static_cast<int>(acceptance.size()); }
};

struct ChainPlan {
  int starts = 4;  // drafts in each held-out text, at places of its answer drawn by `seed`
  int most = 20;   // tokens of a draft
  std::uint64_t seed = 0;
  at::ScalarType precision = at::kFloat;
};
std::vector<DraftChain> draftChains(Net& drafter, Net& target, const Rows& rows, const ChainPlan& plan);

// Means over drafts; what is accepted is an expectation over the target's verdicts.
struct DraftFigures {
  double drafted = 0, accepted = 0;                                           // tokens a draft
  double wasted() const { return drafted > 0 ? 1 - accepted / drafted : 0; }  // share of what was drafted
};
// `lengthOf` says how many of a chain's tokens are drafted.
DraftFigures figuresOf(const std::vector<DraftChain>& chains,
                       const std::function<int(const DraftChain&)>& lengthOf);
// Drafts of a fixed length that accept as much: two neighbouring lengths in turn, in the proportion that
// gives `accepted`. The longest drafts where no length accepts as much.
DraftFigures fixedLengthsThatAccept(const std::vector<DraftChain>& chains, double accepted);

// Where SpecDec++'s rule ends a chain with these estimates of its tokens' acceptance.
int lengthByRule(const DraftChain& chain, const std::vector<double>& estimates, double threshold, int least);

}  // namespace decoscope::train
