// Logits of the libtorch backend. Internal.
#pragma once

#include <ATen/ATen.h>

#include <memory>

#include "core/model/Model.h"
#include "core/model/torch/kernels/Workers.h"

namespace decoscope {

// `rows` [rows, vocabulary] f32 on any device.
std::unique_ptr<Logits> makeLogits(at::Tensor rows, std::shared_ptr<kernels::Workers> workers);

}  // namespace decoscope
