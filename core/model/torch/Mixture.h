// Blocks whose MLP is a mixture of experts. Internal to the libtorch backend.
#pragma once

#include "core/model/torch/Arithmetic.h"

namespace decoscope {

// Every row goes through its best experts, which the host chooses; the rows of one expert run together, and
// each row adds its experts in the order of their numbers, so that its result does not depend on its
// neighbours. `normed` and `projected`: [rows, width].
void mixture(Arithmetic& arithmetic, const TransformerConfig& model, const Experts& experts,
             const at::Tensor& normed, at::Tensor& projected);

}  // namespace decoscope
