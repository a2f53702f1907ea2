// From sums over a row of logits to its summary; for every implementation of Logits.
#pragma once

#include <vector>

#include "core/model/Model.h"

namespace decoscope {

struct RowSums {
  double largest = 0;   // logit
  double sum = 0;       // Σ e^(x − largest)
  double weighted = 0;  // Σ e^(x − largest) · (x − largest)
  // `tokens`: the largest ones, with their logits.
  RowSummary summary(std::vector<TokenId> tokens, std::vector<float> logits) const;
};

}  // namespace decoscope
