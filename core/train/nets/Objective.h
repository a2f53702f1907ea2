// What a model is trained for. An objective turns a micro-batch into a loss; the trainer knows no more of it.
//
// To add one: a file that defines it, and one line in Objectives.cpp. Net, batches and what the setup opens
// are on the device that is trained on: new tensors take the options of those at hand, and randomness is
// drawn through Draws.h.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/train/Measure.h"
#include "core/train/Recipe.h"
#include "core/train/nets/Net.h"
#include "core/train/nets/Rows.h"

namespace decoscope::train {

struct Loss {
  at::Tensor total;               // a scalar to be minimised: a mean, so that micro-batches average
  std::vector<Measure> measures;  // its parts; "loss" is added by the trainer
};

// Where a micro-batch stands; randomness comes from here alone, drawn on the host (Draws.h).
struct Place {
  std::int64_t step = 0;
  at::Generator generator;
  at::ScalarType precision = at::kBFloat16;
};

class Objective {
 public:
  virtual ~Objective() = default;
  virtual Loss loss(Net& net, const Batch& batch, const Place& place) = 0;
  // How good the model is on texts that it was not trained on. Called without gradients.
  virtual std::vector<Measure> evaluate(Net& net, const Rows& rows, at::ScalarType precision) = 0;
  // Called once, when the texts are there and before a checkpoint is read or the first step done.
  virtual Status prepare(Net&, const Rows&) { return {}; }
  // What learns where it sits on a net that does not: the recipe's shape is that of the head then, and the
  // net is its `start`, frozen. Lives as long as the objective; the trainer moves it to its device.
  virtual ParameterSet* head() { return nullptr; }
};

// Models that a recipe refers to, opened by name.
struct ObjectiveSetup {
  const Recipe& recipe;
  std::function<Result<Net>(const std::string& name)> openNet;  // frozen, on the device
  // Bundled, in the catalog, or a path.
  std::function<std::string(const std::string& name)> pathOf;
  at::Device device = at::kCPU;  // where what is read from a path belongs
};
using ObjectiveFactory = Result<std::unique_ptr<Objective>> (*)(const ObjectiveSetup& setup);

// Error usage for an unknown name, listing those there are.
Result<std::unique_ptr<Objective>> makeObjective(const ObjectiveSetup& setup);

// Next token, with early exits (LayerSkip: Elhoushi et al. 2024, arXiv 2404.16710; sorted fine-tuning:
// Valipour et al. 2023, arXiv 2309.08968). Options: exits (blocks), exit_weight, rotate (one exit a step in
// turn instead of all), layer_drop.
Result<std::unique_ptr<Objective>> makeNextToken(const ObjectiveSetup& setup);
// Masked diffusion (Nie et al. 2025, LLaDA, arXiv 2502.09992 §2.2): each row has a masking probability of its
// own, the masked tokens' cross-entropy is weighted by its inverse. Where the shape says "shift_logits", the
// row of a position learns to speak for the next one (Ye et al. 2025, Dream, arXiv 2508.15487), as it does in
// a next-token model that the weights may come from. Options: prompts (share of rows in which the prompt may
// be masked too).
Result<std::unique_ptr<Objective>> makeMaskedDiffusion(const ObjectiveSetup& setup);
// Towards a teacher's distributions over the same vocabulary. Options: divergence (forward-kl, reverse-kl,
// tvd, tvd++: methods sheet "Direct alignment of a drafter"), hard (share of the plain next-token loss),
// exits and exit_weight as above.
Result<std::unique_ptr<Objective>> makeDistillation(const ObjectiveSetup& setup);

// A draft head on the features of a target (Li et al. 2024, EAGLE, arXiv 2401.15077): smooth L1 to the
// target's next feature and cross-entropy to its distribution over the ranked tokens: the shape's
// draft_vocab_size most frequent ones of the answers. Options: features_weight, tokens_weight, noise
// (uniform, on features), rounds (2: a second pass in which half of the features are the head's own, as in
// drafting; cf. Zhang et al. 2024, HASS, arXiv 2408.15766).
Result<std::unique_ptr<Objective>> makeFeatureHead(const ObjectiveSetup& setup);

// The head that ends SpecDec++'s drafts, on the frozen drafter `start` beside the frozen target `teacher`
// (Huang et al. 2024, arXiv 2405.19715; methods sheet §5, training); with features the drafter is a draft
// head of `teacher`, which is not run (DraftJudge.h). Options: rejection_weight (w of the cross-entropy),
// mixing (r: share of drafted tokens that the text's own replace), starts (drafts that evaluation makes in
// each held-out text).
Result<std::unique_ptr<Objective>> makeAcceptanceHead(const ObjectiveSetup& setup);

// Σ over the vocabulary, one number a row; `draft` and `target` are logits [n, vocabulary].
at::Tensor forwardKl(const at::Tensor& target, const at::Tensor& draft);
at::Tensor reverseKl(const at::Tensor& target, const at::Tensor& draft);
at::Tensor totalVariation(const at::Tensor& target, const at::Tensor& draft);
// Surrogate whose gradient is that of the total variation with its 0/1 reward normalised over the batch (Goel
// et al. 2024, arXiv 2403.00858); its value means nothing.
at::Tensor totalVariationPlus(const at::Tensor& target, const at::Tensor& draft);

}  // namespace decoscope::train
