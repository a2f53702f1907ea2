// A tensor of a file of weights, for nets that may be anywhere.
#pragma once

#include <ATen/ATen.h>

#include "core/base/Status.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope::train {

// Its values in f32, on the host. Errors: as dequantise() has them.
Result<at::Tensor> hostValuesOf(const WeightTensor& stored);

}  // namespace decoscope::train
