#include <algorithm>
#include <cmath>

#include "core/figure/Figure.h"

namespace decoscope {

namespace {

Rect boundsOf(const FigureLine& line) {
  if (line.points.empty()) return {};
  float left = line.points[0].x, right = left, top = line.points[0].y, bottom = top;
  for (const Point p : line.points)
    left = std::min(left, p.x), right = std::max(right, p.x), top = std::min(top, p.y),
    bottom = std::max(bottom, p.y);
  return {left - 1, top - 1, right - left + 2, bottom - top + 2};
}

Rect boundsOf(const FigureLabel& label) {
  const float width = label.maximumWidth > 0 ? label.maximumWidth
                                             : 0.62f * label.size * static_cast<float>(label.text.size());
  const float left = label.align == TextAlign::left    ? label.at.x
                     : label.align == TextAlign::right ? label.at.x - width
                                                       : label.at.x - width / 2;
  return {left, label.at.y - label.size, width, label.size * 1.4f};
}

}  // namespace

FigureIndex::FigureIndex(FigurePointer figure) : figure_(std::move(figure)) {
  const Figure& f = *figure_;
  const auto count = static_cast<float>(f.boxes.size() + f.lines.size() + 1);
  const float area = std::max(1.0f, f.bounds.width * f.bounds.height);
  // About sixteen marks a cell, and never more cells than marks.
  const float side = std::max(32.0f, std::sqrt(area / count * 16));
  columns_ = std::clamp(static_cast<int>(f.bounds.width / side) + 1, 1, 2048);
  rows_ = std::clamp(static_cast<int>(f.bounds.height / side) + 1, 1, 65536);
  cellWidth_ = std::max(1.0f, f.bounds.width / static_cast<float>(columns_));
  cellHeight_ = std::max(1.0f, f.bounds.height / static_cast<float>(rows_));
  std::vector<Rect> rects;
  for (const FigureBox& box : f.boxes) rects.push_back(box.rect);
  boxes_ = build(rects);
  rects.clear();
  for (const FigureLine& line : f.lines) rects.push_back(boundsOf(line));
  lines_ = build(rects);
  rects.clear();
  for (const FigureLabel& label : f.labels) rects.push_back(boundsOf(label));
  labels_ = build(rects);
  for (const FigureBox& box : f.boxes)
    if (box.id.kind != MarkId::Kind::none) ticks_.push_back({box.rect, box.value, box.tone});
}

namespace {
struct CellRange {
  int left, right, top, bottom;
};
}  // namespace

static CellRange rangeOf(const Rect& rect, const Rect& bounds, float cellWidth, float cellHeight, int columns,
                         int rows) {
  const auto at = [](float value, float origin, float size, int count) {
    return std::clamp(static_cast<int>(std::floor((value - origin) / size)), 0, count - 1);
  };
  return {at(rect.x, bounds.x, cellWidth, columns), at(rect.x + rect.width, bounds.x, cellWidth, columns),
          at(rect.y, bounds.y, cellHeight, rows), at(rect.y + rect.height, bounds.y, cellHeight, rows)};
}

FigureIndex::Grid FigureIndex::build(const std::vector<Rect>& rects) const {
  Grid grid;
  grid.starts.assign(static_cast<std::size_t>(columns_) * static_cast<std::size_t>(rows_) + 1, 0);
  const auto each = [&](auto visit) {
    for (std::size_t i = 0; i < rects.size(); ++i) {
      const CellRange range = rangeOf(rects[i], figure_->bounds, cellWidth_, cellHeight_, columns_, rows_);
      for (int row = range.top; row <= range.bottom; ++row)
        for (int column = range.left; column <= range.right; ++column)
          visit(static_cast<std::size_t>(row) * static_cast<std::size_t>(columns_) +
                    static_cast<std::size_t>(column),
                static_cast<std::uint32_t>(i));
    }
  };
  each([&](std::size_t cell, std::uint32_t) { ++grid.starts[cell + 1]; });
  for (std::size_t i = 1; i < grid.starts.size(); ++i) grid.starts[i] += grid.starts[i - 1];
  grid.items.resize(grid.starts.back());
  std::vector<std::uint32_t> next(grid.starts.begin(), grid.starts.end() - 1);
  each([&](std::size_t cell, std::uint32_t item) { grid.items[next[cell]++] = item; });
  return grid;
}

void FigureIndex::query(const Grid& grid, const Rect& view, std::vector<std::uint32_t>& out) const {
  const std::size_t before = out.size();
  if (!view.intersects({figure_->bounds.x - 1, figure_->bounds.y - 1, figure_->bounds.width + 2,
                        figure_->bounds.height + 2}))
    return;
  const CellRange range = rangeOf(view, figure_->bounds, cellWidth_, cellHeight_, columns_, rows_);
  for (int row = range.top; row <= range.bottom; ++row)
    for (int column = range.left; column <= range.right; ++column) {
      const auto cell = static_cast<std::size_t>(row) * static_cast<std::size_t>(columns_) +
                        static_cast<std::size_t>(column);
      out.insert(out.end(), grid.items.begin() + grid.starts[cell],
                 grid.items.begin() + grid.starts[cell + 1]);
    }
  std::sort(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  out.erase(std::unique(out.begin() + static_cast<std::ptrdiff_t>(before), out.end()), out.end());
}

void FigureIndex::boxesIn(const Rect& view, std::vector<std::uint32_t>& out) const {
  query(boxes_, view, out);
  std::erase_if(out, [&](std::uint32_t i) { return !figure_->boxes[i].rect.intersects(view); });
}
void FigureIndex::linesIn(const Rect& view, std::vector<std::uint32_t>& out) const {
  query(lines_, view, out);
  std::erase_if(out, [&](std::uint32_t i) { return !boundsOf(figure_->lines[i]).intersects(view); });
}
void FigureIndex::labelsIn(const Rect& view, std::vector<std::uint32_t>& out) const {
  query(labels_, view, out);
  std::erase_if(out, [&](std::uint32_t i) { return !boundsOf(figure_->labels[i]).intersects(view); });
}

std::int64_t FigureIndex::hit(Point at) const {
  std::vector<std::uint32_t> near;
  query(boxes_, {at.x, at.y, 0.01f, 0.01f}, near);
  for (auto i = near.rbegin(); i != near.rend(); ++i)
    if (figure_->boxes[*i].id.kind != MarkId::Kind::none && figure_->boxes[*i].rect.contains(at)) return *i;
  return -1;
}

std::int64_t FigureIndex::find(const MarkId& id) const {
  for (std::size_t i = 0; i < figure_->boxes.size(); ++i)
    if (figure_->boxes[i].id == id) return static_cast<std::int64_t>(i);
  return -1;
}

}  // namespace decoscope
