// Rotary position embeddings (Su et al. 2021, RoFormer) and how they are stretched to longer contexts.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model/torch/Architecture.h"

namespace decoscope {

struct RotaryFrequencies {
  std::vector<float> inverse;  // radians a position, [dimensions / 2]
  float factor = 1;            // on cosine and sine
};

// Frequencies at a context of `length` tokens. Kinds: linear (Chen et
// al. 2023), dynamic NTK, llama3, yarn (Peng et al. 2023, §3), longrope (Ding et al. 2024).
RotaryFrequencies rotaryFrequencies(const RopeConfig& rope, std::int64_t length);

// Which frequencies hold at this length: equal numbers, equal frequencies. 0 for every length unless the kind
// depends on it.
std::int64_t rotaryRegime(const RopeConfig& rope, std::int64_t length);

}  // namespace decoscope
