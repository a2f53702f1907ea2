// What a training draws at random: on the host and then moved, so that it sees the same numbers on every
// device. Generators are the CPU's.
#pragma once

#include <ATen/ATen.h>

namespace decoscope::train {

// Uniform in [0, 1), of the type and on the device that `options` name.
at::Tensor uniforms(at::IntArrayRef shape, at::Generator generator, const at::TensorOptions& options);

// One column of each row of probabilities [rows, columns], by them: int64 [rows, 1], on their device.
at::Tensor chosenColumns(const at::Tensor& probabilities, at::Generator generator);

}  // namespace decoscope::train
