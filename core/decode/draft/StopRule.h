// When a chain has been drafted for long enough: SpecDec++'s threshold on the probability that something in
// it will be rejected (Huang et al. 2024, arXiv 2405.19715).
#pragma once

namespace decoscope {

class StopRule {
 public:
  // Stops where the probability of a rejection exceeds `threshold`, but not before `least` tokens.
  StopRule(double threshold, int least) : threshold_(threshold), least_(least) {}
  // The acceptance of one more drafted token is estimated.
  void add(double acceptance) { allAccepted_ *= acceptance; }
  double rejection() const { return 1 - allAccepted_; }
  bool stops(int drafted) const { return drafted >= least_ && rejection() > threshold_; }

 private:
  double threshold_;
  int least_;
  double allAccepted_ = 1;
};

}  // namespace decoscope
