#include "core/train/nets/Objective.h"

namespace decoscope::train {

using at::Tensor;

Tensor forwardKl(const Tensor& target, const Tensor& draft) {
  const Tensor p = at::log_softmax(target, -1), q = at::log_softmax(draft, -1);
  return (p.exp() * (p - q)).sum(-1);
}

Tensor reverseKl(const Tensor& target, const Tensor& draft) {
  const Tensor p = at::log_softmax(target, -1), q = at::log_softmax(draft, -1);
  return (q.exp() * (q - p)).sum(-1);
}

Tensor totalVariation(const Tensor& target, const Tensor& draft) {
  return 0.5 * (at::softmax(draft, -1) - at::softmax(target, -1)).abs().sum(-1);
}

Tensor totalVariationPlus(const Tensor& target, const Tensor& draft) {
  const Tensor q = at::softmax(draft, -1);
  Tensor advantage;
  {
    const c10::NoGradGuard guard;
    const Tensor reward = (at::softmax(target, -1) > q).to(at::kFloat);
    // p equal to q everywhere leaves no reward, and no spread to divide by.
    advantage = (reward - reward.mean()) / (reward.std(false) + 1e-6);
  }
  return -(q * advantage).sum(-1);
}

}  // namespace decoscope::train
