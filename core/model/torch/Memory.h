// What a model will need before it is loaded. Internal to the libtorch backend.
#pragma once

#include "core/model/Model.h"
#include "core/model/torch/TransformerLoader.h"

namespace decoscope {

struct MemoryEstimate {
  std::int64_t weights = 0;  // bytes
  std::int64_t cache = 0;    // keys and values of the first 4 096 tokens, or of the context if it is shorter
  std::int64_t total() const { return weights + cache; }
};
MemoryEstimate estimateMemory(const ModelInfo& info, Precision precision);

// Weights that another model has loaded already need no memory again.
enum class WeightsAre { toLoad, shared };
// Error failed, with both figures, where the estimate is more than what is available.
Status checkMemory(const ModelInfo& info, Precision precision, at::Device device,
                   WeightsAre weights = WeightsAre::toLoad);

}  // namespace decoscope
