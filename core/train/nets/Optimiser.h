// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over a net's parameters, with the gradient's norm
// clipped.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "core/train/Recipe.h"
#include "core/train/nets/ParameterSet.h"

namespace decoscope::train {

class Optimiser {
 public:
  // Holds moments for the parameters that want a gradient, where they are; the net must outlive it.
  Optimiser(ParameterSet& net, const Schedule& schedule);

  // One step with the gradients that are there, which are cleared. Returns the gradient's norm before
  // clipping; where it is not finite nothing is changed.
  double step(std::int64_t step);

  struct Slot {
    std::string name;
    at::Tensor value, first, second;  // moments, f32
    bool decays = true;
  };
  std::vector<Slot>& slots() { return slots_; }

 private:
  double gradientNorm() const;

  Schedule schedule_;
  std::vector<Slot> slots_;
};

}  // namespace decoscope::train
