// Early exits of a training forward: which blocks' states are held against the goal, and how much each
// counts.
#pragma once

#include <vector>

#include "core/train/nets/Objective.h"

namespace decoscope::train {

struct Exits {
  std::vector<int> layers;  // ascending, without the last block
  double weight = 0;        // of all exits together, beside the last block's 1
  bool rotate = false;      // one exit a step, in turn
  double layerDrop = 0;
  int last = 0;  // blocks of the net

  static Result<Exits> read(const Recipe& recipe);
  // The exits of this step, the last block included.
  std::vector<int> of(std::int64_t step) const;
  double weightOf(int exit, std::size_t exitsOfStep) const;
};

// What each of a batch's first tokens should be followed by, [rows · length], and 1 where it belongs to a
// text: a row that is filled up teaches its end token once.
struct Predictions {
  explicit Predictions(const Batch& batch);
  at::Tensor mean(const at::Tensor& each) const { return (each * counts).sum() / counts.sum(); }
  at::Tensor wanted, counts;
};

// The states of a batch's first `length` tokens at these exits.
std::vector<at::Tensor> statesOf(Net& net, const Batch& batch, const std::vector<int>& exits,
                                 const Place* place, double layerDrop, at::ScalarType precision);

}  // namespace decoscope::train
