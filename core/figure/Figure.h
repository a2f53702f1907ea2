// What painters see: pure geometry with meaning attached. ImGui draws it on the screen, Cairo writes PNG and
// PDF, plain writers write SVG and TikZ; the content is the same in all. Units are points at 100 % zoom, y
// grows down.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/Ids.h"

namespace decoscope {

struct Point {
  float x = 0, y = 0;
};
struct Rect {
  float x = 0, y = 0, width = 0, height = 0;
  bool contains(Point p) const { return p.x >= x && p.x < x + width && p.y >= y && p.y < y + height; }
  bool intersects(const Rect& other) const {
    return x < other.x + other.width && other.x < x + width && y < other.y + other.height &&
           other.y < y + height;
  }
};

// Meaning, not colour: a theme maps each tone to its fill, edge, dash and mark (see Theme.h).
enum class Tone : std::uint8_t {
  neutral,
  accepted,
  rejected,
  bonus,
  resampled,
  notReached,
  pruned,
  forced,
  prompt,
  masked,
  committed,
  remasked,
  axis,
  draft,
  target,
  residual,
  background,
  highlight,
  // Lines of a plot that mean nothing by their colour but themselves; labels name them.
  curve0,
  curve1,
  curve2,
  curve3,
  curve4,
  curve5
};
inline constexpr int kTones = static_cast<int>(Tone::curve5) + 1;

// Names the thing that a mark stands for, so that hit-testing, selection, tooltips and screen readers agree.
struct MarkId {
  enum class Kind : std::uint8_t {
    none,
    node,
    cell,
    token,
    round,
    distributionEntry,
    legend,
    measure
  } kind = Kind::none;
  RunId run;
  StepIndex step = -1;
  std::int64_t item = -1;  // node id, canvas position, text position, entry index or curve
  bool operator==(const MarkId&) const = default;
};

struct FigureBox {
  Rect rect;
  Tone tone = Tone::neutral;
  float radius = 0;
  float value = -1;  // 0 … 1 fills by the sequential scale instead of the tone; negative: by tone
  bool outlined = true, filled = true, emphasised = false;
  MarkId id;
  std::string tooltip;  // a few lines of exact numbers, for hover and for the figure's alt text
};
struct FigureLine {
  std::vector<Point> points;  // 2: straight; 4: one cubic Bézier, unless it is a polyline
  Tone tone = Tone::neutral;
  float width = 1.2f;
  bool dashed = false;
  bool above = false;     // drawn over the boxes instead of under them
  bool polyline = false;  // straight from point to point, however many there are
  float opacity = 1;
};
enum class TextFace : std::uint8_t { interface, token, small, heading };
enum class TextAlign : std::uint8_t { left, centre, right };
struct FigureLabel {
  Point at;          // baseline start, centre or end
  std::string text;  // UTF-8
  TextFace face = TextFace::interface;
  TextAlign align = TextAlign::left;
  Tone tone = Tone::neutral;
  float size = 11;          // points
  float maximumWidth = 0;   // cut with … beyond it; 0: no limit
  MarkId id;                // the mark it belongs to
  float over = -1;          // it stands on a fill of the sequential scale at this value, and must read on it;
                            // negative: it does not
  std::uint8_t detail = 0;  // 0: always; 1: hidden below 60 % zoom; 2: hidden below 100 %
};

struct Figure {
  std::uint64_t generation = 0;
  Rect bounds;
  std::string title, description;  // description is the alt text
  std::vector<FigureBox> boxes;
  std::vector<FigureLine> lines;
  std::vector<FigureLabel> labels;
};
using FigurePointer = std::shared_ptr<const Figure>;

// A box with an id, in few bytes: what is left of it when zoomed far out.
struct FigureTick {
  Rect rect;
  float value = -1;
  Tone tone = Tone::neutral;
};

// Uniform-grid index over a figure's boxes, lines and labels, for culling and hit-testing in time that
// follows what is visible. Immutable; keeps the figure alive.
class FigureIndex {
 public:
  explicit FigureIndex(FigurePointer figure);
  const Figure& figure() const { return *figure_; }
  // Appends indices (unique, ascending) of what intersects `view`.
  void boxesIn(const Rect& view, std::vector<std::uint32_t>& out) const;
  void linesIn(const Rect& view, std::vector<std::uint32_t>& out) const;
  void labelsIn(const Rect& view, std::vector<std::uint32_t>& out) const;
  // The topmost box with an id at the point; -1 when there is none.
  std::int64_t hit(Point at) const;
  // The box that stands for `id`; -1 when there is none.
  std::int64_t find(const MarkId& id) const;
  // Every box with an id, in order.
  const std::vector<FigureTick>& ticks() const { return ticks_; }

 private:
  struct Grid {
    std::vector<std::uint32_t> starts, items;
  };
  Grid build(const std::vector<Rect>& rects) const;
  void query(const Grid& grid, const Rect& view, std::vector<std::uint32_t>& out) const;
  FigurePointer figure_;
  std::vector<FigureTick> ticks_;
  int columns_ = 1, rows_ = 1;
  float cellWidth_ = 1, cellHeight_ = 1;
  Grid boxes_, lines_, labels_;
};

}  // namespace decoscope
