// Changes of states during a forward. Internal to the libtorch backend.
#pragma once

#include <ATen/ATen.h>

#include "core/model/Model.h"

namespace decoscope {

// What the request changes in the stream [rows, width] behind `layer` blocks, in place and in its order.
void changeResidual(const ForwardRequest& request, int layer, at::Tensor& x);
// The same of the neurons [rows, inner] of block `layer`.
void changeNeurons(const ForwardRequest& request, int layer, at::Tensor& neurons);

}  // namespace decoscope
