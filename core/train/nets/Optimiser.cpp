#include "core/train/nets/Optimiser.h"

#include <cmath>

namespace decoscope::train {

using at::Tensor;

Optimiser::Optimiser(ParameterSet& net, const Schedule& schedule) : schedule_(schedule) {
  for (Parameter& parameter : net.parameters())
    if (parameter.value.requires_grad())
      slots_.push_back({parameter.name, parameter.value, at::zeros_like(parameter.value.detach()),
                        at::zeros_like(parameter.value.detach()), parameter.decays});
}

double Optimiser::step(std::int64_t step) {
  const c10::NoGradGuard guard;
  double sum = 0;
  for (const Slot& slot : slots_)
    if (slot.value.grad().defined()) sum += slot.value.grad().square().sum(at::kDouble).item<double>();
  const double norm = std::sqrt(sum);
  const double shrink = schedule_.clip > 0 && norm > schedule_.clip ? schedule_.clip / norm : 1;
  for (const bool decays : {true, false}) {
    std::vector<Tensor> values, gradients, first, second, steps;
    for (Slot& slot : slots_) {
      Tensor& gradient = slot.value.mutable_grad();
      if (slot.decays != decays || !gradient.defined()) continue;
      if (shrink < 1) gradient.mul_(shrink);
      values.push_back(slot.value);
      gradients.push_back(gradient);
      first.push_back(slot.first);
      second.push_back(slot.second);
      steps.push_back(at::full({}, static_cast<double>(step + 1), at::kFloat));
    }
    if (!values.empty() && std::isfinite(norm))
      at::_fused_adamw_(values, gradients, first, second, {}, steps, schedule_.rate(step), schedule_.beta1,
                        schedule_.beta2, decays ? schedule_.weightDecay : 0, schedule_.epsilon, false, false);
  }
  for (Slot& slot : slots_) slot.value.mutable_grad() = Tensor();
  return norm;
}

}  // namespace decoscope::train
