// How often something was right, newest counting most.
#pragma once

namespace decoscope {

// An exponential average that starts from a prior.
struct RunningRate {
  double right = 0, seen = 0;
  double rate(double prior, double priorWeight) const {
    const double weight = seen + priorWeight;
    return weight > 0 ? (right + priorWeight * prior) / weight : 0;
  }
  // `memory` is what the observations before it still count.
  void observe(bool wasRight, double memory) {
    right = memory * right + (wasRight ? 1 : 0);
    seen = memory * seen + 1;
  }
};

}  // namespace decoscope
