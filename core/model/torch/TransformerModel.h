// Transformers on libtorch. No torch type is in this header.
#pragma once

#include <memory>
#include <string>

#include "core/model/Model.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

// Loads the weights in the wanted precision onto the wanted device. Where a model of this process has the
// same files in the same precision on the same device, its weights are shared: the new model has a cache,
// threads and interventions of its own and costs no second copy, and both may run at once on two threads.
// Whatever is shared, ModelInfo::bytes counts all weights, memoryBytes() the model's part of them. `device`
// "cpu" uses this project's kernels; "cpu-reference" runs the same forward through plain libtorch operations,
// as every other device does (a cross-check for tests).
Result<std::unique_ptr<Model>> loadTransformer(std::shared_ptr<const WeightFile> weights,
                                               const std::string& path, const LoadOptions& options,
                                               const StopToken& stop);
// The description alone.
Result<ModelInfo> describeTransformer(const WeightFile& weights, const std::string& path);

}  // namespace decoscope
