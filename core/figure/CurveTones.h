// Which panel a curve stands in, and by which line it is told from the others.
#pragma once

#include <string>
#include <vector>

#include "core/figure/Curves.h"

namespace decoscope {

// What curves of one panel share: the unit, and where there is none the first word of the name.
std::string panelOf(const Curve& curve);

struct CurveTone {
  Tone tone = Tone::curve0;
  bool dashed = false;
};
// For each curve, in order: the tone that its panel has used least, among those the one that the figure has
// used least; dashed where the panel has it already. A curve keeps what it has when others join.
std::vector<CurveTone> curveTones(const CurveSet& set);

}  // namespace decoscope
