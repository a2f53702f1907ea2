// What an acceptance head learns from: in texts, the tokens that a frozen drafter would draw, its states
// where it reads them, and how probably the frozen target accepts each. Source: methods sheet §5, training 1
// to 3.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/train/nets/DraftChains.h"
#include "core/train/nets/Net.h"
#include "core/train/nets/Rows.h"

namespace decoscope::train {

// Drafted tokens, int64 [n]: the drafter's states at them, f32 [n, width], and min(1, p ÷ q) of each, f32
// [n].
struct Judged {
  at::Tensor tokens, states, acceptance;
};

struct JudgeSettings {
  double mixing = 0.15;  // share of drafted tokens that the text's own replace; those are not judged
  at::ScalarType precision = at::kBFloat16;  // of states; probabilities are f32
};

class DraftJudge {
 public:
  virtual ~DraftJudge() = default;
  // Called once before the others. Errors: badInput, naming the recipe's field, for a drafter of another
  // kind.
  virtual Status prepare(Net& drafter) = 0;
  // At every place of an answer the drafter draws a token behind the text's own; then it reads all that was
  // drawn in one go, each token behind the others.
  virtual Judged judge(Net& drafter, const Batch& batch, at::Generator generator,
                       const JudgeSettings& settings) = 0;
  // Whole drafts in held-out texts; none where the target cannot be run.
  virtual std::vector<DraftChain> chains(Net&, const Rows&, const ChainPlan&) { return {}; }
};

// A drafter with the target's vocabulary beside a target that is run.
std::unique_ptr<DraftJudge> judgeByNet(Net target);
// A draft head in EAGLE's layout, of whose target the features are with the texts: `target` is its file, for
// embedding and LM head, `head` the head's own, for the tokens that it ranks. What it reads of its own draws
// comes with the features that it guessed, as in drafting. The head must be on `device`.
Result<std::unique_ptr<DraftJudge>> judgeByFeatures(const std::string& target, const std::string& head,
                                                    at::Device device = at::kCPU);

}  // namespace decoscope::train
