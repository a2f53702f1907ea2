#include "core/train/nets/Optimiser.h"

#include <cmath>
#include <numeric>

namespace decoscope::train {

using at::Tensor;

Optimiser::Optimiser(ParameterSet& net, const Schedule& schedule) : schedule_(schedule) {
  for (Parameter& parameter : net.parameters())
    if (parameter.value.requires_grad())
      slots_.push_back({parameter.name, parameter.value, at::zeros_like(parameter.value.detach()),
                        at::zeros_like(parameter.value.detach()), parameter.decays});
}

double Optimiser::gradientNorm() const {
  std::vector<Tensor> squares;
  for (const Slot& slot : slots_)
    if (slot.value.grad().defined()) squares.push_back(slot.value.grad().square().sum(at::kDouble));
  if (squares.empty()) return 0;
  // One wait for the device, not one a parameter; the order of the sum decides its bits.
  const Tensor host = at::stack(squares).to(at::kCPU);
  const auto* first = host.const_data_ptr<double>();
  return std::sqrt(std::accumulate(first, first + host.numel(), 0.0));
}

double Optimiser::step(std::int64_t step) {
  const c10::NoGradGuard guard;
  const double norm = gradientNorm();
  const double shrink = schedule_.clip > 0 && norm > schedule_.clip ? schedule_.clip / norm : 1;
  for (const bool decays : {true, false}) {
    std::vector<Tensor> values, gradients, first, second;
    for (Slot& slot : slots_) {
      Tensor& gradient = slot.value.mutable_grad();
      if (slot.decays != decays || !gradient.defined()) continue;
      if (shrink < 1) gradient.mul_(shrink);
      values.push_back(slot.value);
      gradients.push_back(gradient);
      first.push_back(slot.first);
      second.push_back(slot.second);
    }
    if (values.empty() || !std::isfinite(norm)) continue;
    const Tensor count = at::full({}, static_cast<double>(step + 1), values.front().options());
    const std::vector<Tensor> steps(values.size(), count);
    at::_fused_adamw_(values, gradients, first, second, {}, steps, schedule_.rate(step), schedule_.beta1,
                      schedule_.beta2, decays ? schedule_.weightDecay : 0, schedule_.epsilon, false, false);
  }
  for (Slot& slot : slots_) slot.value.mutable_grad() = Tensor();
  return norm;
}

}  // namespace decoscope::train
