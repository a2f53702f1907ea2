// Puts the weights of a file into the layers of a transformer. Internal to the libtorch backend.
#pragma once

#include <memory>

#include "core/model/Model.h"
#include "core/model/torch/Layers.h"
#include "core/model/torch/kernels/Workers.h"

namespace decoscope {

// How the weights are kept. For q8 and q4 a file's own codes are taken over where they fit; q4 keeps what a
// file has in 5 to 8 bits, and the LM head of unquantised files, in 8 bits.
using Precision = kernels::WeightFormat;

struct LoadPlan {
  Precision precision = Precision::f32;
  at::Device device = at::kCPU;
  bool packs = true;            // for the kernels of the CPU
  const Model* base = nullptr;  // lends a draft head its LM head
  // Of matrices that are not packed.
  at::ScalarType scalarType() const {
    return precision == Precision::f32 ? at::kFloat : precision == Precision::f16 ? at::kHalf : at::kBFloat16;
  }
};

// Errors: badInput (a missing tensor or a wrong shape, by name), unsupported (a type without decoder),
// cancelled. Reads each weight once.
Result<Transformer> loadLayers(const WeightFile& weights, const Architecture& architecture,
                               const LoadPlan& plan, kernels::Workers& workers,
                               const ProgressFunction& progress, const StopToken& stop);

// The file's tensor of this name, or of the same name behind or without the prefixes that wrappers add
// ("language_model.", "transformer."); null where there is none.
const WeightTensor* findTensor(const WeightFile& weights, const std::string& name);

}  // namespace decoscope
