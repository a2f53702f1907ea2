#include "widgets/canvas/FigurePainter.h"

#include <imgui.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace decoscope {

namespace {

constexpr float kDotPitch = 22;
constexpr int kReserved = 4096;

ImVec2 vec(Point p) {
  return {p.x, p.y};
}

Point cubic(const std::vector<Point>& p, float t) {
  const float s = 1 - t;
  const float a = s * s * s, b = 3 * s * s * t, c = 3 * s * t * t, d = t * t * t;
  return {a * p[0].x + b * p[1].x + c * p[2].x + d * p[3].x,
          a * p[0].y + b * p[1].y + c * p[2].y + d * p[3].y};
}

bool covers(const Rect& view, const Rect& bounds) {
  return view.x <= bounds.x && view.y <= bounds.y && view.x + view.width >= bounds.x + bounds.width &&
         view.y + view.height >= bounds.y + bounds.height;
}

// How far something of this tone at `x` has lit up: what was kept does so in order, from the root on.
float litAt(float x, Tone tone, const Rect& bounds, const Emphasis& emphasis) {
  if (emphasis.lit >= 1) return 1;
  const bool kept = tone == Tone::accepted || tone == Tone::bonus || tone == Tone::resampled ||
                    tone == Tone::forced || tone == Tone::committed;
  if (!kept) return 1;
  constexpr float kFront = 0.25f;  // width of the front that runs over the figure
  const float at = (x - bounds.x) / std::max(1.0f, bounds.width);
  return std::clamp((emphasis.lit * (1 + kFront) - at) / kFront, 0.0f, 1.0f);
}

Colour between(Colour from, Colour to, float t) {
  const auto one = [t](std::uint8_t a, std::uint8_t b) {
    return static_cast<std::uint8_t>(
        std::lround(static_cast<float>(a) + (static_cast<float>(b) - static_cast<float>(a)) * t));
  };
  return {one(from.r, to.r), one(from.g, to.g), one(from.b, to.b), one(from.a, to.a)};
}

}  // namespace

std::uint32_t packed(Colour colour, float opacity) {
  return IM_COL32(colour.r, colour.g, colour.b,
                  static_cast<int>(static_cast<float>(colour.a) * std::clamp(opacity, 0.0f, 1.0f) + 0.5f));
}

void FigurePainter::begin(ImDrawList& list, const CanvasView& view, const Theme& theme, bool dots) {
  list_ = &list;
  view_ = view;
  theme_ = &theme;
  marks_ = 0;
  runs_.clear();
  overlay_.clear();
  overlay_.reserve(64);
  styles_.clear();
  for (int tone = 0; tone < kTones; ++tone) styles_.push_back(theme.style(static_cast<Tone>(tone)));
  const float fade = std::clamp((view.zoom - 0.45f) / 0.35f, 0.0f, 1.0f);
  if (!dots || fade <= 0) return;
  const float pitch = kDotPitch * view.zoom;
  const std::uint32_t colour = packed(theme.line, 0.9f * fade);
  const auto first = [&](float origin) { return -std::fmod(origin * view.zoom, pitch); };
  const int columns = static_cast<int>(view.width / pitch) + 3,
            rows = static_cast<int>(view.height / pitch) + 3;
  for (int row = 0; row < rows; ++row) {
    list.PrimReserve(columns * 6, columns * 4);
    for (int column = 0; column < columns; ++column) {
      const ImVec2 at{std::round(first(view.origin.x) + static_cast<float>(column) * pitch - pitch / 2),
                      std::round(first(view.origin.y) + static_cast<float>(row) * pitch - pitch / 2)};
      list.PrimRect(at, {at.x + 1, at.y + 1}, colour);
    }
  }
}

void FigurePainter::figure(const FigureIndex& index, Point offset, const Emphasis& emphasis) {
  const Rect& bounds = index.figure().bounds;
  if (!view_.visible().intersects({bounds.x + offset.x, bounds.y + offset.y, bounds.width, bounds.height}))
    return;
  if (view_.zoom < kTickZoom) {
    ticks(index, offset, emphasis);
  } else {
    lines(index, offset, emphasis, false);
    boxes(index, offset, emphasis);
  }
  lines(index, offset, emphasis, true);
  labels(index, offset, emphasis);
}

void FigurePainter::ticks(const FigureIndex& index, Point offset, const Emphasis& emphasis) {
  const std::vector<FigureTick>& all = index.ticks();
  const Rect visible = view_.visible();
  const Rect moved{visible.x - offset.x, visible.y - offset.y, visible.width, visible.height};
  std::uint32_t colours[kTones];
  for (std::size_t i = 0; i < styles_.size(); ++i) colours[i] = packed(styles_[i].edge);
  int reserved = 0;
  for (const FigureTick& tick : all) {
    if (!tick.rect.intersects(moved)) continue;
    if (reserved == 0) {
      // Indices have 16 bits: one reservation must stay below 65 536 vertices.
      reserved = kReserved;
      list_->PrimReserve(reserved * 6, reserved * 4);
    }
    --reserved;
    const Point at = view_.toScreen({tick.rect.x + offset.x, tick.rect.y + offset.y});
    // A mark that says something is never lost between pixels.
    const float smallest = tick.tone == Tone::notReached || tick.tone == Tone::pruned ? 0.7f : 1.6f;
    const float width = std::max(tick.rect.width * view_.zoom, smallest),
                height = std::max(tick.rect.height * view_.zoom * 0.8f, smallest);
    list_->PrimRect(
        vec(at), {at.x + width, at.y + height},
        tick.value >= 0 ? packed(sequentialColour(tick.value)) : colours[static_cast<int>(tick.tone)]);
    ++marks_;
  }
  list_->PrimUnreserve(reserved * 6, reserved * 4);
  for (const MarkId& id : {emphasis.hovered, emphasis.selected}) {
    const std::int64_t found = index.find(id);
    if (found < 0) continue;
    const Rect& r = index.figure().boxes[static_cast<std::size_t>(found)].rect;
    const Point at = view_.toScreen({r.x + offset.x, r.y + offset.y});
    list_->AddRect({at.x - 2, at.y - 2}, {at.x + r.width * view_.zoom + 2, at.y + r.height * view_.zoom + 2},
                   packed(theme_->text), 2, 0, 1.5f);
  }
}

const std::vector<std::uint32_t>& FigurePainter::inSight(const FigureIndex& index, Point offset, Query query,
                                                         std::size_t total) {
  const Rect visible = view_.visible();
  const Rect moved{visible.x - offset.x, visible.y - offset.y, visible.width, visible.height};
  indices_.clear();
  if (covers(moved, index.figure().bounds)) {
    indices_.resize(total);
    std::iota(indices_.begin(), indices_.end(), 0);
  } else {
    (index.*query)(moved, indices_);
  }
  return indices_;
}

void FigurePainter::boxes(const FigureIndex& index, Point offset, const Emphasis& emphasis) {
  const Figure& figure = index.figure();
  const bool round = view_.zoom > 0.45f;
  for (const std::uint32_t k : inSight(index, offset, &FigureIndex::boxesIn, figure.boxes.size())) {
    const FigureBox& box = figure.boxes[k];
    const ToneStyle& style = styles_[static_cast<std::size_t>(box.tone)];
    const Point at = view_.toScreen({box.rect.x + offset.x, box.rect.y + offset.y});
    const ImVec2 low = vec(at), high{at.x + box.rect.width * view_.zoom, at.y + box.rect.height * view_.zoom};
    const float radius = round ? box.radius * view_.zoom : 0;
    const float opacity = emphasis.reveal;
    const bool named = box.id.kind != MarkId::Kind::none;
    const bool selected = named && box.id == emphasis.selected, hovered = named && box.id == emphasis.hovered;
    Colour fill = style.fill, edge = style.edge;
    if (const float lit = litAt(box.rect.x, box.tone, figure.bounds, emphasis); lit < 1) {
      const ToneStyle& dark = styles_[static_cast<std::size_t>(Tone::notReached)];
      fill = between(dark.fill, fill, lit);
      edge = between(dark.edge, edge, lit);
    }
    float fillOpacity = opacity;
    if (box.value >= 0) {
      fill = sequentialColour(box.value);
      if (!box.emphasised) fillOpacity *= 0.45f;
    }
    if (selected)
      for (int ring = 3; ring > 0; --ring)
        list_->AddRect({low.x - static_cast<float>(ring) * 1.5f, low.y - static_cast<float>(ring) * 1.5f},
                       {high.x + static_cast<float>(ring) * 1.5f, high.y + static_cast<float>(ring) * 1.5f},
                       packed(edge, 0.22f), radius + static_cast<float>(ring) * 1.5f, 0, 2);
    if (box.filled) list_->AddRectFilled(low, high, packed(fill, fillOpacity), radius);
    if (hovered) list_->AddRectFilled(low, high, packed(theme_->text, 0.07f), radius);
    if (box.outlined || selected || hovered) {
      const float width = std::max(1.0f, (selected         ? 2.2f
                                          : box.emphasised ? 1.8f
                                                           : 1.2f) *
                                             std::min(view_.zoom, 1.4f));
      if (style.dashed && !selected) {
        // Dashes along the four sides; the corners stay open.
        const float dash = 4 * view_.zoom;
        const std::uint32_t colour = packed(edge, opacity);
        for (float x = low.x + radius; x < high.x - radius; x += 2 * dash) {
          const float end = std::min(x + dash, high.x - radius);
          list_->AddLine({x, low.y}, {end, low.y}, colour, width);
          list_->AddLine({x, high.y}, {end, high.y}, colour, width);
        }
        for (float y = low.y + radius; y < high.y - radius; y += 2 * dash) {
          const float end = std::min(y + dash, high.y - radius);
          list_->AddLine({low.x, y}, {low.x, end}, colour, width);
          list_->AddLine({high.x, y}, {high.x, end}, colour, width);
        }
      } else {
        list_->AddRect(low, high, packed(edge, opacity), radius, 0, width);
      }
    }
    ++marks_;
  }
}

void FigurePainter::lines(const FigureIndex& index, Point offset, const Emphasis& emphasis, bool above) {
  const Figure& figure = index.figure();
  for (const std::uint32_t k : inSight(index, offset, &FigureIndex::linesIn, figure.lines.size())) {
    const FigureLine& line = figure.lines[k];
    if (line.above != above || line.points.size() < 2) continue;
    Colour edge = styles_[static_cast<std::size_t>(line.tone)].edge;
    if (const float lit = litAt(line.points.back().x, line.tone, figure.bounds, emphasis); lit < 1)
      edge = between(styles_[static_cast<std::size_t>(Tone::notReached)].edge, edge, lit);
    stroke(line, offset, packed(edge, emphasis.reveal * line.opacity),
           std::max(0.8f, line.width * std::min(view_.zoom, 1.6f)));
    ++marks_;
  }
}

void FigurePainter::stroke(const FigureLine& line, Point offset, std::uint32_t colour, float width) {
  const auto screen = [&](Point p) { return vec(view_.toScreen({p.x + offset.x, p.y + offset.y})); };
  if (line.dashed && line.polyline) {
    // Dashes of equal length along the line.
    constexpr float kDash = 5, kGap = 4;
    float along = 0;
    for (std::size_t i = 1; i < line.points.size(); ++i) {
      const ImVec2 a = screen(line.points[i - 1]), b = screen(line.points[i]);
      const float length = std::hypot(b.x - a.x, b.y - a.y);
      const auto at = [&](float t) { return ImVec2{a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t}; };
      for (float done = 0; done < length;) {
        const float phase = std::fmod(along, kDash + kGap),
                    left = phase < kDash ? kDash - phase : kDash + kGap - phase;
        const float next = std::min(length, done + std::max(left, 0.01f));
        if (phase < kDash) list_->AddLine(at(done / length), at(next / length), colour, width);
        along += next - done;
        done = next;
      }
    }
  } else if (line.dashed) {
    float length = 0;
    for (std::size_t i = 1; i < line.points.size(); ++i)
      length += std::hypot(line.points[i].x - line.points[i - 1].x, line.points[i].y - line.points[i - 1].y);
    const int pieces = std::clamp(static_cast<int>(length / 4), 3, 400) | 1;
    for (int i = 0; i < pieces; i += 2) {
      const auto at = [&](int step) {
        const float t = static_cast<float>(step) / static_cast<float>(pieces);
        if (line.points.size() == 4) return cubic(line.points, t);
        const Point a = line.points.front(), b = line.points.back();
        return Point{a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t};
      };
      list_->AddLine(screen(at(i)), screen(at(i + 1)), colour, width);
    }
  } else if (line.points.size() == 4 && !line.polyline) {
    list_->AddBezierCubic(screen(line.points[0]), screen(line.points[1]), screen(line.points[2]),
                          screen(line.points[3]), colour, width, view_.zoom < kTextZoom ? 8 : 16);
  } else {
    // Segment by segment: joined at sharp turns, a peak would be drawn thick and short.
    for (std::size_t i = 1; i < line.points.size(); ++i)
      list_->AddLine(screen(line.points[i - 1]), screen(line.points[i]), colour, width);
  }
}

void FigurePainter::labels(const FigureIndex& index, Point offset, const Emphasis& emphasis) {
  const int detail = view_.zoom < kTextZoom ? 0 : view_.zoom < 0.8f ? 1 : 2;
  const Figure& figure = index.figure();
  for (const std::uint32_t k : inSight(index, offset, &FigureIndex::labelsIn, figure.labels.size())) {
    const FigureLabel& label = figure.labels[k];
    const float size = label.size * view_.zoom;
    if (label.detail > detail || size < 4.5f) continue;
    runs_.push_back({view_.toScreen({label.at.x + offset.x, label.at.y + offset.y}), label.text, label.face,
                     label.align, size, label.maximumWidth * view_.zoom,
                     packed(labelColour(label, *theme_), emphasis.reveal)});
  }
}

void FigurePainter::overlayText(Point at, std::string_view text, TextFace face, float size, Colour colour,
                                TextAlign align) {
  overlay_.emplace_back(text);
  runs_.push_back({at, {}, face, align, size, -static_cast<float>(overlay_.size()), packed(colour)});
}

void FigurePainter::overlayLine(Point from, Point to, Colour colour, float width) {
  list_->AddLine(vec(from), vec(to), packed(colour), width);
}

void FigurePainter::overlayBox(const Rect& rect, Colour fill, Colour edge, float radius) {
  list_->AddRectFilled({rect.x, rect.y}, {rect.x + rect.width, rect.y + rect.height}, packed(fill), radius);
  list_->AddRect({rect.x, rect.y}, {rect.x + rect.width, rect.y + rect.height}, packed(edge), radius, 0,
                 1.2f);
}

void FigurePainter::write(GlyphSource& glyphs, const Run& run) {
  quads_.clear();
  const std::string_view text =
      run.maximumWidth < 0 ? std::string_view(overlay_[static_cast<std::size_t>(-run.maximumWidth) - 1])
                           : run.text;
  float width = glyphs.shape(text, run.face, run.size, quads_);
  if (run.maximumWidth > 0 && width > run.maximumWidth) {
    std::vector<GlyphQuad> dots;
    const float room = run.maximumWidth - glyphs.shape("…", run.face, run.size, dots);
    while (!quads_.empty() && quads_.back().x1 > room) quads_.pop_back();
    const float end = quads_.empty() ? 0 : quads_.back().x1;
    for (GlyphQuad quad : dots) quad.x0 += end, quad.x1 += end, quads_.push_back(quad);
    width = run.maximumWidth;
  }
  if (quads_.empty()) return;
  const float x = std::round(run.align == TextAlign::left    ? run.at.x
                             : run.align == TextAlign::right ? run.at.x - width
                                                             : run.at.x - width / 2),
              y = std::round(run.at.y);
  list_->PrimReserve(static_cast<int>(quads_.size()) * 6, static_cast<int>(quads_.size()) * 4);
  for (const GlyphQuad& quad : quads_)
    list_->PrimRectUV({x + quad.x0, y + quad.y0}, {x + quad.x1, y + quad.y1}, {quad.u0, quad.v0},
                      {quad.u1, quad.v1}, quad.coloured ? IM_COL32_WHITE : run.colour);
}

void FigurePainter::finish(GlyphSource& glyphs) {
  text(glyphs);
}

void FigurePainter::text(GlyphSource& glyphs) {
  // One change of texture for all of it.
  list_->PushTextureID(reinterpret_cast<ImTextureID>(static_cast<std::uintptr_t>(glyphs.texture())));
  for (const Run& run : runs_) write(glyphs, run);
  list_->PopTextureID();
  runs_.clear();
}

}  // namespace decoscope
