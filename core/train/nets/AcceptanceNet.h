// SpecDec++'s acceptance head as it learns, and what it learns from. Arithmetic and file are those of
// core/model/AcceptanceHead.h. Source: Huang et al. 2024, "SpecDec++: Boosting Speculative Decoding via
// Adaptive Candidate Lengths", arXiv 2405.19715; methods sheet §5.
#pragma once

#include <string>

#include "core/train/nets/ParameterSet.h"

namespace decoscope::train {

class AcceptanceNet final : public ParameterSet {
 public:
  // Of a config.json's text. The blocks begin at zero, so that they change nothing; the classifier's weights
  // are drawn by `seed`, normal with deviation 0.02. Errors name the field after `where`.
  static Result<AcceptanceNet> create(const std::string& config, const std::string& where,
                                      std::uint64_t seed);
  int width() const { return width_; }

  // Of a drafter's final states [n, width] the logits of rejection and acceptance [n, 2]; f32.
  at::Tensor logits(const at::Tensor& states) const;

 private:
  int width_ = 0, passes_ = 0, stored_ = 0;
};

// How probably the target accepts each drafted token: min(1, p ÷ q), [n]. `target` and `draft` are logits
// [n, vocabulary], `drafted` the tokens [n].
at::Tensor acceptanceOf(const at::Tensor& target, const at::Tensor& draft, const at::Tensor& drafted);

// Σ[w · (1 − P) · (−log P̂_reject) + P · (−log P̂_accept)] ÷ Σ[w · (1 − P) + P] over the head's logits [n, 2]
// and the probabilities P [n].
at::Tensor acceptanceLoss(const at::Tensor& logits, const at::Tensor& acceptance, double rejectionWeight);

// The head's own estimate P̂_accept of its logits, [n].
at::Tensor estimatesOf(const at::Tensor& logits);

// How probably an accepted token's estimate is above that of a rejected one (the area under the ROC curve,
// equal estimates half), where each token is accepted with its probability P. 0.5 where nothing can be told.
double areaUnderCurve(const at::Tensor& estimates, const at::Tensor& acceptance);

}  // namespace decoscope::train
