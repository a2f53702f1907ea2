// Colours and marks for tones, in one place for the window and for figures (colour-blind-safe; hue is never
// the only sign).
#pragma once

#include <cstdint>
#include <string>

#include "core/figure/Figure.h"

namespace decoscope {

struct Colour {
  std::uint8_t r = 0, g = 0, b = 0, a = 255;
  bool operator==(const Colour&) const = default;
};

struct ToneStyle {
  Colour edge, fill, text;
  bool dashed = false;
  const char* mark = "";  // "✓", "✕", "★", "↻" or ""
};

struct Theme {
  bool dark = true;
  Colour background, panel, raised, line, text, dim, faint;
  ToneStyle style(Tone tone) const;
};
const Theme& darkTheme();
const Theme& lightTheme();  // also what figures use, on white

// viridis at t in [0, 1].
Colour sequentialColour(float t);
// Black or white, whichever reads better on `background`.
Colour readableOn(Colour background);

// The colour of a label: readable on the fill it stands on; numbers and marks in the tone's edge colour.
Colour labelColour(const FigureLabel& label, const Theme& theme);

}  // namespace decoscope
