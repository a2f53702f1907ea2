// What a model will need before it is loaded. Internal to the libtorch backend.
#pragma once

#include <vector>

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
// Error failed, with both figures, where the estimate is more than what is free on all of the devices.
Status checkMemory(const ModelInfo& info, Precision precision, const std::vector<at::Device>& devices,
                   WeightsAre weights = WeightsAre::toLoad);

// What a model needs, in bytes, when its blocks are dealt out.
struct SplitNeeds {
  int blocks = 1;
  std::int64_t block = 0;            // of each, with its share of the cache
  std::int64_t first = 0, last = 0;  // beside the first block and beside the last
};
// How many blocks stand on each device, in their order, so that as few devices are used as will do. `free` of
// each, −1 where nobody knows: all that is left goes there. What fits nowhere stands on the last.
std::vector<int> splitBlocks(const SplitNeeds& needs, const std::vector<std::int64_t>& free);

// The device of each block: the first one where the model fits, or several.
std::vector<at::Device> placeBlocks(const ModelInfo& info, const TransformerConfig& config,
                                    Precision precision, const std::vector<at::Device>& devices);

}  // namespace decoscope
