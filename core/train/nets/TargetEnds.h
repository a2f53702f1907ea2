// What a draft head borrows of its target's weights.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "core/base/Status.h"
#include "core/model/torch/Architecture.h"

namespace decoscope::train {

struct TargetEnds {
  at::Tensor embedding, head;  // f32 [vocabulary, width]; the same tensor where they are tied
  TransformerConfig config;

  // Of a file or folder of weights, on `device`. Errors: those of opening it; badInput for a missing tensor.
  static Result<TargetEnds> read(const std::string& path, at::Device device = at::kCPU);
};

}  // namespace decoscope::train
