#include "core/model/torch/Layers.h"

#include <algorithm>

namespace decoscope {

void RotaryTable::prepare(std::int64_t length, std::int64_t regimeLength, at::Device device) {
  const std::int64_t regime = rotaryRegime(rope_, regimeLength);
  if (regime == regime_ && length <= length_) return;
  length_ = std::max<std::int64_t>({length, 512, regime == regime_ ? 2 * length_ : 0});
  regime_ = regime;
  const RotaryFrequencies frequencies = rotaryFrequencies(rope_, regimeLength);
  const at::Tensor angles =
      at::outer(at::arange(length_, at::kFloat), at::tensor(frequencies.inverse, at::kFloat));
  cosine_ = (at::cos(angles) * frequencies.factor).to(device).contiguous();
  sine_ = (at::sin(angles) * frequencies.factor).to(device).contiguous();
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
