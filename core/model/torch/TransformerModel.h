// Transformers on libtorch. No torch type is in this header.
#pragma once

#include <memory>
#include <string>

#include "core/model/Model.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

// Loads the weights in the wanted precision onto the wanted device. `device` "cpu" uses this project's
// kernels; "cpu-reference" runs the same forward through plain libtorch operations, as every other device
// does (a cross-check for tests).
Result<std::unique_ptr<Model>> loadTransformer(std::shared_ptr<const WeightFile> weights,
                                               const std::string& path, const LoadOptions& options,
                                               const StopToken& stop);
// The description alone.
Result<ModelInfo> describeTransformer(const WeightFile& weights, const std::string& path);

}  // namespace decoscope
