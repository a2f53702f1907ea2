#include "core/train/nets/Draws.h"

namespace decoscope::train {

using at::Tensor;

Tensor uniforms(at::IntArrayRef shape, at::Generator generator, const at::TensorOptions& options) {
  return at::rand(shape, std::move(generator), options.device(at::kCPU)).to(options.device());
}

Tensor chosenColumns(const Tensor& probabilities, at::Generator generator) {
  return at::multinomial(probabilities.to(at::kCPU), 1, true, std::move(generator))
      .to(probabilities.device());
}

}  // namespace decoscope::train
