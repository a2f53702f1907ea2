// The answer to "why?" for a mark: the numbers of its verdict, each with what it means, and a sentence that
// ties them together. Made from recorded facts alone.
#pragma once

#include <QString>
#include <vector>

#include "widgets/models/Line.h"

namespace decoscope {

struct WhyRow {
  QString label;
  double value = kUnknown;  // shown rounded, copied exactly
  QString text;             // instead of a number
  QString meaning;          // formula, unit, which event it comes from
  bool decisive = false;    // the one that settled it
};

struct WhyCard {
  QString heading;   // "Why was it refused?"
  QString title;     // mark and token
  QString subtitle;  // "round 21 · node 17 · depth 6 · rank 1 of 3"
  Tone tone = Tone::neutral;
  std::vector<WhyRow> rows;
  QString sentence;
  bool empty() const { return title.isEmpty(); }
};
// Of no mark: nothing, but the recipe of a training.
WhyCard whyOf(const Line& line, const MarkId& mark);

// One row of the distributions after a node; NaN where a token was not among those recorded.
struct DistributionRow {
  TokenId token = 0;
  double q = kUnknown, p = kUnknown, residual = kUnknown;
};
struct Distributions {
  std::vector<DistributionRow> rows;  // by the largest of the three, falling
  double entropy = kUnknown, rawEntropy = kUnknown, tailMass = kUnknown;
  bool hasDraft = false, hasResidual = false;
  QString after;  // "after ·token"
};
// The distributions that decided the mark: those after its parent (for the root and a cell, its own).
Distributions distributionsOf(const Line& line, const MarkId& mark, int entries);

// The same card as JSON, every digit kept; for copying.
QString whyJson(const Line& line, const MarkId& mark);

}  // namespace decoscope
