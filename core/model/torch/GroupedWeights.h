// Weights that stay quantised in the memory of a device, in the formats of the CPU's kernels: signed bytes,
// or 4-bit codes, in groups of 32 that share a scale. Internal to the libtorch backend.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "core/model/torch/kernels/PackedMatrix.h"

namespace decoscope {

// w = scale · code (+ minimum). Undefined tensors: none.
struct GroupedWeights {
  at::Tensor codes;  // q8: int8 [outputs, groups, 32]; q4: uint8 [outputs, groups, 16], even inputs in
                     // the low bits
  at::Tensor scales, minima;  // f16 [outputs, groups, 1]; minima with q4 only
  std::int64_t inputs = 0;    // the last group may have more

  bool defined() const { return codes.defined(); }
  std::int64_t bytes() const;
  // Those rows as they are multiplied with, [count, inputs].
  at::Tensor rows(std::int64_t first, std::int64_t count, at::ScalarType type) const;
  at::Tensor all(at::ScalarType type) const { return rows(0, codes.size(0), type); }
};

// The codes of a packed matrix (q8 or q4), moved to the device.
GroupedWeights groupedFrom(const kernels::PackedMatrix& matrix, at::Device device);

}  // namespace decoscope
