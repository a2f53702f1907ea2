// Where and how the weights of a model are kept.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "core/model/Model.h"
#include "core/model/torch/Layers.h"

namespace decoscope {

// How the weights are kept. For q8 and q4 a file's own codes are taken over where they fit; q4 keeps what a
// file has in 5 to 8 bits, and the LM head of unquantised files, in 8 bits.
using Precision = kernels::WeightFormat;

struct LoadPlan {
  Precision precision = Precision::f32;
  std::vector<at::Device> devices = {at::kCPU};  // that may be used
  // Of each block, in their order; embedding and head stand beside the first and the last one.
  std::vector<at::Device> blocks = devices;
  bool packs = true;            // for the kernels of the CPU
  const Model* base = nullptr;  // lends a draft head its LM head
  // The matrix itself, where the base keeps its weights as this backend does.
  std::shared_ptr<const Linear> baseHead;
  bool isOnOneDevice() const { return blocks.front() == blocks.back(); }
  std::string deviceNames() const;  // "cpu", "cuda:0", "cuda:0, cuda:1"
  // Whether codes are kept in groups.
  bool quantises() const { return precision == Precision::q8 || precision == Precision::q4; }
  // Of matrices that are neither packed nor quantised.
  at::ScalarType scalarType() const {
    return precision == Precision::f32 ? at::kFloat : precision == Precision::f16 ? at::kHalf : at::kBFloat16;
  }
};

// What the options ask for, for a model of so many parameters, with all blocks on the first device. Errors:
// usage (an unknown device or precision), unsupported (what this machine or device has not).
Result<LoadPlan> planOf(const LoadOptions& options, std::int64_t parameters);

}  // namespace decoscope
