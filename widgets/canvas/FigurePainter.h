// Figures to ImGui draw lists: culling, level of detail, emphasis. Knows neither Qt nor OpenGL, so that it is
// measured and tested without a screen.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/figure/Figure.h"
#include "core/figure/Theme.h"

struct ImDrawList;

namespace decoscope {

// A textured quad, relative to the start of the text's baseline, in the units that were asked for.
struct GlyphQuad {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  float u0 = 0, v0 = 0, u1 = 0, v1 = 0;
  bool coloured = false;  // emoji: drawn as they are, not in the text's colour
};

// Text to quads of one texture. GUI thread.
class GlyphSource {
 public:
  virtual ~GlyphSource() = default;
  // Appends the quads of `text` at `size` units and returns its width. The quads are good until the end of
  // the frame.
  virtual float shape(std::string_view text, TextFace face, float size, std::vector<GlyphQuad>& out) = 0;
  virtual std::uint64_t texture() const = 0;
};

// What part of a figure's plane is seen: screen = (figure − origin) · zoom + offset.
struct CanvasView {
  Point origin;
  float zoom = 1;
  float width = 0, height = 0;  // of the window, in its units
  Rect visible() const { return {origin.x, origin.y, width / zoom, height / zoom}; }
  Point toScreen(Point p) const { return {(p.x - origin.x) * zoom, (p.y - origin.y) * zoom}; }
  Point toFigure(Point p) const { return {p.x / zoom + origin.x, p.y / zoom + origin.y}; }
};

// What a painter marks beyond the figure itself.
struct Emphasis {
  MarkId selected, hovered;
  // Motion, for a figure that arrives: how far it has come in, and how far what was kept has lit up from the
  // left (the root) on; both 0 … 1, and 1 draws everything plainly.
  float reveal = 1, lit = 1;
};

// Level of detail by zoom: below kTextZoom labels of nodes go and bars stay, below kTickZoom nodes become
// coloured ticks.
inline constexpr float kTextZoom = 0.6f, kTickZoom = 0.25f;

// One frame: begin (backdrop), any number of figures, then the text of them all in finish(). Reuses its
// buffers.
class FigurePainter {
 public:
  void begin(ImDrawList& list, const CanvasView& view, const Theme& theme, bool dots);
  // Draws `index` with its plane moved by `offset`.
  void figure(const FigureIndex& index, Point offset, const Emphasis& emphasis);
  // Writes the text of the figures so far; what comes after lies on top of it.
  void text(GlyphSource& glyphs);
  // A label in window units, on top of everything: legends and captions.
  void overlayText(Point at, std::string_view text, TextFace face, float size, Colour colour,
                   TextAlign align = TextAlign::left);
  void overlayLine(Point from, Point to, Colour colour, float width);
  void overlayBox(const Rect& rect, Colour fill, Colour edge, float radius);
  void finish(GlyphSource& glyphs);
  std::size_t marks() const { return marks_; }  // boxes and lines drawn since begin()

 private:
  struct Run {
    Point at;
    std::string_view text;  // owned by the figure, or an index into overlay_
    TextFace face;
    TextAlign align;
    float size, maximumWidth;
    std::uint32_t colour;
  };
  using Query = void (FigureIndex::*)(const Rect&, std::vector<std::uint32_t>&) const;
  // Which of a figure's `total` boxes, lines or labels are in sight; good until the next call.
  const std::vector<std::uint32_t>& inSight(const FigureIndex& index, Point offset, Query query,
                                            std::size_t total);
  void ticks(const FigureIndex& index, Point offset, const Emphasis& emphasis);
  void boxes(const FigureIndex& index, Point offset, const Emphasis& emphasis);
  void lines(const FigureIndex& index, Point offset, const Emphasis& emphasis, bool above);
  void stroke(const FigureLine& line, Point offset, std::uint32_t colour, float width);
  void labels(const FigureIndex& index, Point offset, const Emphasis& emphasis);
  void write(GlyphSource& glyphs, const Run& run);

  ImDrawList* list_ = nullptr;
  CanvasView view_;
  const Theme* theme_ = nullptr;
  std::vector<ToneStyle> styles_;
  std::vector<std::uint32_t> indices_;
  std::vector<Run> runs_;
  std::vector<std::string> overlay_;
  std::vector<GlyphQuad> quads_;
  std::size_t marks_ = 0;
  bool labelsOnly_ = false;
};

std::uint32_t packed(Colour colour, float opacity = 1);

}  // namespace decoscope
