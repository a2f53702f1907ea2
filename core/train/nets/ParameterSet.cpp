#include "core/train/nets/ParameterSet.h"

#include <algorithm>

#include "core/train/nets/StoredTensor.h"

namespace decoscope::train {

using at::Tensor;

const Parameter* ParameterSet::find(const std::string& name) const {
  const auto found = byName_.find(name);
  return found == byName_.end() ? nullptr : &parameters_[found->second];
}

std::int64_t ParameterSet::parameterCount() const {
  std::int64_t sum = 0;
  for (const Parameter& parameter : parameters_) sum += parameter.value.numel();
  return sum;
}

Status ParameterSet::load(const WeightFile& weights) {
  const c10::NoGradGuard guard;
  for (Parameter& parameter : parameters_) {
    const WeightTensor* tensor = weights.find(parameter.name);
    if (!tensor)
      return fail(ErrorCode::badInput, "tensor '" + parameter.name + "' is missing", weights.path());
    if (tensor->shape != parameter.value.sizes().vec())
      return fail(ErrorCode::badInput,
                  "tensor '" + parameter.name + "' has another shape than the recipe says", weights.path());
    DECOSCOPE_ASSIGN(const Tensor values, hostValuesOf(*tensor));
    parameter.value.copy_(values);
  }
  // A shape that is made anew has no biases; a checkpoint may.
  for (const WeightTensor& tensor : weights.tensors()) {
    if (byName_.contains(tensor.name) || !tensor.name.ends_with("bias")) continue;
    DECOSCOPE_ASSIGN(const Tensor values, hostValuesOf(tensor));
    add(tensor.name, values.to(device()), false);
  }
  return {};
}

at::Device ParameterSet::device() const {
  return parameters_.empty() ? at::Device(at::kCPU) : parameters_.front().value.device();
}

void ParameterSet::moveTo(at::Device device) {
  for (Parameter& parameter : parameters_)
    if (Tensor& value = parameter.value; value.device() != device)
      value = value.detach().to(device).requires_grad_(value.requires_grad());
}

void ParameterSet::freeze() {
  for (Parameter& parameter : parameters_) parameter.value.requires_grad_(false);
}

void ParameterSet::add(std::string name, Tensor value, bool decays) {
  value.requires_grad_(true);
  const auto place = std::lower_bound(parameters_.begin(), parameters_.end(), name,
                                      [](const Parameter& a, const std::string& b) { return a.name < b; });
  parameters_.insert(place, {std::move(name), std::move(value), decays});
  for (std::size_t i = 0; i < parameters_.size(); ++i) byName_[parameters_[i].name] = i;
}

}  // namespace decoscope::train
