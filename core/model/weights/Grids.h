// The grids of ggml's IQ formats: which combinations of levels a code stands for. They were found by a search
// over real weights, so they follow no rule and are data. A point packs its digits from the lowest bits up:
// eight digits of two bits (IQ1, IQ2) or four digits in nibbles (IQ3).
#pragma once

#include <cstdint>

namespace decoscope::grids {

extern const std::uint16_t kIq2Xxs[256], kIq2Xs[512], kIq2S[1024], kIq3Xxs[256], kIq3S[512], kIq1[2048];

}  // namespace decoscope::grids
