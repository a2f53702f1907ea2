// Puts the weights of a file into the layers of a transformer. Internal to the libtorch backend.
#pragma once

#include <memory>

#include "core/model/Model.h"
#include "core/model/torch/Layers.h"
#include "core/model/torch/LoadPlan.h"
#include "core/model/torch/kernels/Workers.h"

namespace decoscope {

// Errors: badInput (a missing tensor or a wrong shape, by name), unsupported (a type without decoder),
// cancelled. Reads each weight once.
Result<Transformer> loadLayers(const WeightFile& weights, const Architecture& architecture,
                               const LoadPlan& plan, kernels::Workers& workers,
                               const ProgressFunction& progress, const StopToken& stop);

// The file's tensor of this name, or of the same name behind or without the prefixes that wrappers add
// ("language_model.", "transformer."); null where there is none.
const WeightTensor* findTensor(const WeightFile& weights, const std::string& name);

}  // namespace decoscope
