#pragma once

#include <string>

namespace decoscope::train {

// A named number of a training step, for whoever shows or records it.
struct Measure {
  std::string name;  // "loss", "loss.exit_2", "held_out_bits_per_byte"
  double value = 0;
  std::string unit;  // "nats", "bits/byte", "tokens/s"; empty: a bare number
};

}  // namespace decoscope::train
