// Walks a verified draft tree from the root, applies the rule that fits how its children were produced, and
// says which tokens the round commits. Records a verdict for every node; nothing is committed here.
#pragma once

#include <vector>

#include "core/decode/draft/Proposer.h"

namespace decoscope {

struct VerifierSettings {
  bool typical = false;  // R4 instead of the exact rule: lossy
  double epsilon = 0.09, delta = 0.3;
};

struct Walk {
  std::vector<NodeId> accepted;               // root downwards
  TokenId next = 0;                           // the token after them, from the target
  Provenance provenance = Provenance::plain;  // of `next`: plain (nothing was proposed), resampled or bonus
};

// Row 0 of `logits` follows the pending token, row i + 1 follows node i. `summaries` (same rows) give raw
// probabilities and ranks for the record; may be empty.
Result<Walk> verifyTree(DecodeEnvironment& environment, const Chooser& chooser, const DraftTree& tree,
                        const Logits& logits, const std::vector<RowSummary>& summaries,
                        const VerifierSettings& settings);

}  // namespace decoscope
