#include "core/model/torch/Layers.h"

#include <algorithm>

namespace decoscope {

std::int64_t Linear::bytes() const {
  return static_cast<std::int64_t>(packed.bytes()) + grouped.bytes() +
         (weight.defined() ? static_cast<std::int64_t>(weight.nbytes()) : 0);
}

bool RotaryTable::prepare(std::int64_t length, std::int64_t regimeLength) {
  const std::int64_t regime = rotaryRegime(rope_, regimeLength);
  if (regime == regime_ && length <= length_) return false;
  length_ = std::max<std::int64_t>({length, 512, regime == regime_ ? 2 * length_ : 0});
  regime_ = regime;
  const RotaryFrequencies frequencies = rotaryFrequencies(rope_, regimeLength);
  const at::Tensor angles =
      at::outer(at::arange(length_, at::kFloat), at::tensor(frequencies.inverse, at::kFloat));
  values_ = {{at::kCPU, {at::cos(angles) * frequencies.factor, at::sin(angles) * frequencies.factor}}};
  return true;
}

const RotaryTable::Values& RotaryTable::on(at::Device device) {
  for (const auto& [where, values] : values_)
    if (where == device) return values;
  const Values& host = values_.front().second;
  return values_.emplace_back(device, Values{host.cosine.to(device), host.sine.to(device)}).second;
}

std::int64_t Transformer::bytes() const {
  std::int64_t sum = (headIsLent ? 0 : head->bytes()) + fuse.bytes() +
                     (positions.defined() ? static_cast<std::int64_t>(positions.nbytes()) : 0);
  if (embedding.defined() && !embedding.is_same(head->weight))
    sum += static_cast<std::int64_t>(embedding.nbytes());
  for (const Block& block : blocks) {
    for (const Linear* layer : {&block.queryKeyValue, &block.attentionOutput, &block.mlpIn, &block.mlpOut})
      sum += layer->bytes();
    if (!block.experts) continue;
    const Experts& experts = *block.experts;
    for (const Linear* layer :
         {&experts.router, &experts.sharedIn, &experts.sharedOut, &experts.sharedSwitch})
      sum += layer->bytes();
    for (const auto* list : {&experts.in, &experts.out})
      for (const Linear& layer : *list) sum += layer.bytes();
  }
  return sum;
}

}  // namespace decoscope
