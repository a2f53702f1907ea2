// Counter-based randomness: a draw is a pure function of its coordinates, so that a rewind needs no
// generator state and any verdict can be recomputed from the session alone.
//
// Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), Philox4x32-10.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/Ids.h"

namespace decoscope {

// What a draw decides; part of the counter, so that two decisions about one node never share a number.
enum class DrawPurpose : std::uint32_t {
  sample = 0,    // a token from a distribution
  propose = 1,   // a drafter's own choice
  verdict = 2,   // the u that is compared with the acceptance probability
  residual = 3,  // the token drawn after a rejection
  bonus = 4,     // the token drawn when every proposal was kept
  order = 5,     // random order among siblings, random confidence
  gumbel = 6,    // per-entry noise of a diffusion sampler
};

// The coordinates that stay the same for one decision of one line. `step` is the text position that is
// decided (for a diffusion run the denoising step): a plain run and a speculative run that draw from the same
// distribution at the same position then draw the same token.
struct DrawContext {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;  // separates lines that share a seed; a fork inherits it
  StepIndex step = 0;
};

// One block of Philox4x32-10.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// A uniform number in [0, 1) with 53 bits. `node` is kRootNode for a decision of the step as a whole;
// `index` numbers several draws of the same purpose at one node.
double uniform(const DrawContext& context, NodeId node, DrawPurpose purpose, std::uint32_t index = 0);

}  // namespace decoscope
