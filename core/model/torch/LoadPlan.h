// Where and how the weights of a model are kept.
#pragma once

#include <ATen/ATen.h>

#include <memory>

#include "core/model/Model.h"
#include "core/model/torch/Layers.h"

namespace decoscope {

// How the weights are kept. For q8 and q4 a file's own codes are taken over where they fit; q4 keeps what a
// file has in 5 to 8 bits, and the LM head of unquantised files, in 8 bits.
using Precision = kernels::WeightFormat;

struct LoadPlan {
  Precision precision = Precision::f32;
  at::Device device = at::kCPU;
  bool packs = true;            // for the kernels of the CPU
  const Model* base = nullptr;  // lends a draft head its LM head
  // The matrix itself, where the base keeps its weights as this backend does.
  std::shared_ptr<const Linear> baseHead;
  // Of matrices that are not packed.
  at::ScalarType scalarType() const {
    return precision == Precision::f32 ? at::kFloat : precision == Precision::f16 ? at::kHalf : at::kBFloat16;
  }
};

// What the options ask for, for a model of so many parameters. Errors: usage (an unknown device or
// precision), unsupported (what this machine or device has not).
Result<LoadPlan> planOf(const LoadOptions& options, std::int64_t parameters);

}  // namespace decoscope
