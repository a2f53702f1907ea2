#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>

#include "core/figure/Curves.h"

namespace decoscope {

namespace {

constexpr float kLeft = 62, kTop = 40, kBottom = 40, kCaption = 20, kGap = 12;
constexpr float kPanelHeight = 112, kLargest = 1e6f;
constexpr float kCharacter = 6.1f, kLabelPitch = 14;
constexpr std::size_t kDotted = 60;      // as many points as stand apart get dots
constexpr std::size_t kUnsmoothed = 40;  // shorter curves are one line

std::string exact(double value) {
  if (std::isnan(value)) return "not a number";
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}
std::string brief(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  char text[32];
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-2 || size >= 1e7))
    std::snprintf(text, sizeof text, "%.3g", value);
  else
    std::snprintf(text, sizeof text, "%.*f", size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 3 : 4, value);
  return text;
}
// "12 500": digits in threes from five on.
std::string grouped(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.0f", value);
  std::string digits = text;
  const std::size_t sign = digits.starts_with('-') ? 1 : 0;
  if (digits.size() - sign >= 5)
    for (std::size_t at = digits.size(); at > sign + 3; at -= 3) digits.insert(at - 3, " ");
  return digits;
}
std::string withUnit(double value, const std::string& unit) {
  return exact(value) + (unit.empty() ? "" : " " + unit);
}

// What shares a panel: the unit, and where there is none the first word of the name.
std::string panelKey(const Curve& curve) {
  return curve.unit.empty() ? "\n" + curve.name.substr(0, curve.name.find('.')) : curve.unit;
}

struct Ticks {
  double first = 0, step = 1;
  int count = 0;
  double at(int index) const { return first + step * index; }
};
// Round numbers (1, 2 or 5 times a power of ten) in [low, high], about `wanted` of them.
Ticks roundTicks(double low, double high, int wanted, double smallest = 0) {
  const double raw = std::max((high - low) / std::max(wanted, 1), smallest);
  if (!(raw > 0) || !std::isfinite(raw)) return {};
  const double power = std::pow(10.0, std::floor(std::log10(raw))), share = raw / power;
  const double step = std::max((share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10) * power, smallest);
  const double first = std::ceil(low / step - 1e-9) * step;
  const double count = std::floor((high - first) / step + 1e-9) + 1;
  return {first, step, static_cast<int>(std::clamp(count, 0.0, 40.0))};
}
// As many digits as the distance of the ticks asks for.
std::string tickText(double value, double step) {
  if (std::abs(value) < step * 1e-6) return "0";
  const double size = std::max(std::abs(value), step);
  char text[40];
  if (size >= 1e7 || step < 1e-4) {
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
  }
  const int digits = static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  if (digits <= 0) return grouped(value);
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// A point as it is drawn, on the axes of its curve.
struct Sample {
  double at = 0, value = 0;
};

// The first, smallest, largest and last value of each pixel column, in their order; nothing where a value is
// not finite, which ends a piece of the line.
class Decimation {
 public:
  Decimation(double first, double last, float width)
      : first_(first), scale_(static_cast<double>(width) / (last - first)) {}

  void add(Sample sample) {
    const auto column = static_cast<std::int64_t>(std::floor((sample.at - first_) * scale_));
    if (count_ > 0 && column != column_) flush();
    column_ = column;
    if (count_ == 0) {
      begin_ = low_ = high_ = end_ = {sample, 0};
    } else {
      end_ = {sample, count_};
      if (sample.value < low_.sample.value) low_ = end_;
      if (sample.value > high_.sample.value) high_ = end_;
    }
    ++count_;
  }
  void interrupt() {
    flush();
    if (!piece_.empty()) pieces_.push_back(std::move(piece_));
    piece_.clear();
  }
  std::vector<std::vector<Sample>> take() {
    interrupt();
    return std::move(pieces_);
  }

 private:
  struct Kept {
    Sample sample;
    int order = 0;
  };
  void flush() {
    if (count_ == 0) return;
    Kept kept[] = {begin_, low_, high_, end_};
    if (low_.order > high_.order) std::swap(kept[1], kept[2]);
    for (int i = 0; i < 4; ++i)
      if (i == 0 || kept[i].order != kept[i - 1].order) piece_.push_back(kept[i].sample);
    count_ = 0;
  }
  double first_, scale_;
  std::int64_t column_ = 0;
  int count_ = 0;
  Kept begin_, low_, high_, end_;
  std::vector<Sample> piece_;
  std::vector<std::vector<Sample>> pieces_;
};

// A curve with what is shown of it.
struct Shown {
  std::shared_ptr<const Curve> sorted;  // only where the record is not in order
  const Curve* curve = nullptr;
  bool smoothed = false;
  std::size_t begin = 0, end = 0;  // points inside the window
  const std::vector<CurvePoint>& points() const { return curve->points; }
};

std::shared_ptr<const Curve> sortedCurve(const Curve& curve) {
  std::vector<CurvePoint> points = curve.points;
  std::stable_sort(points.begin(), points.end(),
                   [](const CurvePoint& a, const CurvePoint& b) { return a.at < b.at; });
  auto sorted = std::make_shared<Curve>();
  sorted->name = curve.name;
  sorted->unit = curve.unit;
  for (const CurvePoint& point : points) sorted->add(point);
  return sorted;
}

class Layout {
 public:
  Layout(const CurveSet& set, const CurveOptions& options) : set_(set), options_(options) {}

  CurvePlot run() {
    Figure& figure = plot_.figure;
    figure.title = "Curves";
    const float width = std::clamp(options_.width, 240.0f, 20'000.0f);
    figure.bounds = {0, 0, width, std::clamp(options_.height, 120.0f, 20'000.0f)};
    if (set_.empty()) {
      figure.description = "Nothing was measured";
      return std::move(plot_);
    }
    chooseWindow();
    for (const Curve& curve : set_.curves()) shown_.push_back(show(curve));
    placePanels(width);
    drawSteps();
    for (const CurvePanel& panel : plot_.panels) drawPanel(panel);
    drawLegend();
    describe();
    return std::move(plot_);
  }

 private:
  void chooseWindow() {
    const bool all = !(options_.first <= options_.last);
    plot_.first = all ? set_.first() : options_.first;
    plot_.last = all ? set_.last() : options_.last;
    if (plot_.last - plot_.first > 0) return;
    // A single step: as much room as its number can be told apart from.
    const double room = std::max(0.5, std::abs(plot_.first) * 1e-9);
    plot_.first -= room;
    plot_.last += room;
  }

  Shown show(const Curve& curve) const {
    Shown shown;
    if (!curve.ordered) shown.sorted = sortedCurve(curve);
    shown.curve = shown.sorted ? shown.sorted.get() : &curve;
    const std::vector<CurvePoint>& points = shown.points();
    shown.smoothed = points.size() > kUnsmoothed && !shown.curve->steady();
    const auto byPlace = [](const CurvePoint& point, double at) { return point.at < at; };
    shown.begin = static_cast<std::size_t>(
        std::lower_bound(points.begin(), points.end(), plot_.first, byPlace) - points.begin());
    shown.end = static_cast<std::size_t>(
        std::upper_bound(points.begin(), points.end(), plot_.last,
                         [](double at, const CurvePoint& point) { return at < point.at; }) -
        points.begin());
    return shown;
  }

  void placePanels(float width) {
    std::vector<std::string> keys;
    std::size_t longest = 0;
    for (std::size_t i = 0; i < shown_.size(); ++i) {
      const std::string key = panelKey(*shown_[i].curve);
      const auto found = std::find(keys.begin(), keys.end(), key);
      const auto index = static_cast<std::size_t>(found - keys.begin());
      if (found == keys.end()) keys.push_back(key), plot_.panels.emplace_back();
      plot_.panels[index].curves.push_back(i);
      longest = std::max(longest, shown_[i].curve->name.size());
    }
    const float right = std::min(kCharacter * static_cast<float>(longest + 9) + 14, width * 0.36f);
    // The first panel is what a training is about: it is the tallest.
    const auto count = static_cast<float>(plot_.panels.size());
    const float shares = count > 1 ? count + 1 : 1;
    const float heading = kTop + kBottom + count * kCaption + (count - 1) * kGap;
    const float natural = shares * kPanelHeight * (count > 1 ? 1 : 2);
    const float share =
        std::min(std::max(options_.height > 0 ? options_.height - heading : natural, shares * 40), kLargest) /
        shares;
    float y = kTop;
    for (std::size_t i = 0; i < plot_.panels.size(); ++i) {
      CurvePanel& panel = plot_.panels[i];
      y += kCaption;
      panel.plot = {kLeft, y, std::max(width - kLeft - right, 60.0f), share * (i == 0 && count > 1 ? 2 : 1)};
      y += panel.plot.height + kGap;
      chooseValues(panel);
    }
    plot_.figure.bounds.height = y - kGap + kBottom;
  }

  // The value of a line where it crosses the edge of the window.
  static Sample crossing(const Sample& a, const Sample& b, double at) {
    return {at, a.value + (b.value - a.value) * (at - a.at) / (b.at - a.at)};
  }

  // What a line shows inside the window, with its crossings of the edges.
  template <typename Take, typename Gap>
  void walk(const Shown& shown, bool smooth, Take take, Gap gap) const {
    const std::vector<CurvePoint>& points = shown.points();
    const auto sample = [&](std::size_t i) {
      return Sample{points[i].at, smooth ? shown.curve->smooth[i] : points[i].value};
    };
    const auto cross = [&](std::size_t from, std::size_t to, double edge) {
      const Sample a = sample(from), b = sample(to);
      if (drawable(a.value) && drawable(b.value) && a.at < edge && edge < b.at) take(crossing(a, b, edge));
    };
    if (shown.begin > 0 && shown.begin < points.size()) cross(shown.begin - 1, shown.begin, plot_.first);
    if (shown.begin >= shown.end) {
      // Nothing stands in the window, but a line may run through it.
      if (shown.begin > 0 && shown.begin < points.size()) cross(shown.begin - 1, shown.begin, plot_.last);
      return;
    }
    for (std::size_t i = shown.begin; i < shown.end; ++i) {
      const Sample s = sample(i);
      if (drawable(s.value))
        take(s);
      else
        gap(s);
    }
    if (shown.end < points.size()) cross(shown.end - 1, shown.end, plot_.last);
  }

  void chooseValues(CurvePanel& panel) const {
    double low = INFINITY, high = -INFINITY;
    for (const std::size_t i : panel.curves)
      walk(
          shown_[i], false,
          [&](const Sample& s) { low = std::min(low, s.value), high = std::max(high, s.value); },
          [](const Sample&) {});
    if (!(low <= high)) low = 0, high = 1;
    double margin = (high - low) * 0.06;
    if (!(margin > 0)) margin = low == 0 ? 1 : std::abs(low) * 0.1;
    panel.low = low - margin;
    panel.high = high + margin;
  }

  void label(Point at, std::string text, TextAlign align, Tone tone = Tone::axis,
             TextFace face = TextFace::small, float size = 10) {
    plot_.figure.labels.push_back({at, std::move(text), face, align, tone, size});
  }
  void line(Point from, Point to, Tone tone, float width, float opacity = 1) {
    plot_.figure.lines.push_back({{from, to}, tone, width, false, false, false, opacity});
  }

  void drawSteps() {
    const Rect& last = plot_.panels.back().plot;
    const float base = last.y + last.height;
    const Ticks ticks =
        roundTicks(plot_.first, plot_.last, std::max(2, static_cast<int>(last.width / 90)), 1);
    for (int i = 0; i < ticks.count; ++i) {
      const float x = plot_.xOf(ticks.at(i));
      for (const CurvePanel& panel : plot_.panels)
        line({x, panel.plot.y}, {x, panel.plot.y + panel.plot.height}, Tone::axis, 0.7f, 0.55f);
      line({x, base}, {x, base + 4}, Tone::axis, 1);
      label({x, base + 16}, tickText(ticks.at(i), ticks.step), TextAlign::centre);
    }
    label({last.x + last.width + 34, base + 16}, "step", TextAlign::left);
  }

  void drawPanel(const CurvePanel& panel) {
    const Rect& r = panel.plot;
    const Curve& front = *shown_[panel.curves.front()].curve;
    label({r.x, r.y - 7}, front.unit.empty() ? front.name.substr(0, front.name.find('.')) : front.unit,
          TextAlign::left);
    const Ticks ticks = roundTicks(panel.low, panel.high, std::clamp(static_cast<int>(r.height / 28), 2, 5));
    for (int i = 0; i < ticks.count; ++i) {
      const float y = panel.yOf(ticks.at(i));
      line({r.x, y}, {r.x + r.width, y}, Tone::axis, 0.7f, 0.55f);
      label({r.x - 8, y + 3.5f}, tickText(ticks.at(i), ticks.step), TextAlign::right);
    }
    line({r.x, r.y + r.height}, {r.x + r.width, r.y + r.height}, Tone::axis, 1);
    std::vector<Ending> endings;
    for (const std::size_t i : panel.curves) drawCurve(panel, i, endings);
    nameCurves(panel, endings);
    coverWithMarks(panel);
  }

  struct Ending {
    std::size_t curve;
    Point at;
    double value;
  };

  void drawCurve(const CurvePanel& panel, std::size_t index, std::vector<Ending>& endings) {
    const Shown& shown = shown_[index];
    const Tone tone = curveTone(index);
    const bool dashed = index / 6 % 2 == 1, smoothed = shown.smoothed;
    const auto pointOf = [&](const Sample& s) { return Point{plot_.xOf(s.at), panel.yOf(s.value)}; };
    const auto draw = [&](bool smooth, float width, float opacity) {
      Decimation pieces(plot_.first, plot_.last, panel.plot.width);
      float marked = -1;
      walk(
          shown, smooth, [&](const Sample& s) { pieces.add(s); },
          [&](const Sample& s) {
            pieces.interrupt();
            // A value that is none is never lost: one mark a pixel.
            const float x = plot_.xOf(s.at);
            if (smooth || x < marked + 5) return;
            marked = x;
            label({x, panel.plot.y + panel.plot.height - 3}, "✕", TextAlign::centre, Tone::rejected);
          });
      for (const std::vector<Sample>& piece : pieces.take()) {
        FigureLine line{{}, tone, width, dashed, false, true, opacity};
        for (const Sample& s : piece) line.points.push_back(pointOf(s));
        if (line.points.size() == 1) {
          const Point at = line.points.front();
          plot_.figure.boxes.push_back({{at.x - 2, at.y - 2, 4, 4}, tone, 2, -1, false});
        } else {
          plot_.figure.lines.push_back(std::move(line));
        }
      }
    };
    draw(false, smoothed ? 1 : 1.8f, smoothed ? 0.34f : 1);
    if (smoothed) draw(true, 2, 1);
    const std::vector<CurvePoint>& points = shown.points();
    if (shown.end - shown.begin <= kDotted && shown.end > shown.begin)
      for (std::size_t i = shown.begin; i < shown.end; ++i) {
        if (!drawable(points[i].value)) continue;
        const Point at = pointOf({points[i].at, points[i].value});
        plot_.figure.boxes.push_back({{at.x - 2.2f, at.y - 2.2f, 4.4f, 4.4f}, tone, 2.2f, -1, false});
      }
    // The line's end on the right names it.
    for (std::size_t i = shown.end; i-- > shown.begin;) {
      const double value = smoothed ? shown.curve->smooth[i] : points[i].value;
      if (!drawable(value)) continue;
      endings.push_back({index, pointOf({points[i].at, value}), points[i].value});
      break;
    }
  }

  // Names beside the ends of the lines, moved apart where they would meet.
  void nameCurves(const CurvePanel& panel, std::vector<Ending>& endings) {
    std::stable_sort(endings.begin(), endings.end(),
                     [](const Ending& a, const Ending& b) { return a.at.y < b.at.y; });
    const float top = panel.plot.y + 4, bottom = panel.plot.y + panel.plot.height + 2;
    std::vector<float> y;
    for (const Ending& ending : endings)
      y.push_back(std::max(ending.at.y, y.empty() ? top : y.back() + kLabelPitch));
    for (std::size_t i = y.size(); i-- > 0;)
      y[i] = std::min(y[i], i + 1 < y.size() ? y[i + 1] - kLabelPitch : bottom);
    const float edge = panel.plot.x + panel.plot.width;
    const float room = plot_.figure.bounds.width - edge - 20;
    for (std::size_t i = 0; i < endings.size(); ++i) {
      const Tone tone = curveTone(endings[i].curve);
      line({std::min(endings[i].at.x + 3, edge), endings[i].at.y}, {edge + 8, y[i]}, tone, 0.8f, 0.6f);
      FigureLabel name{{edge + 11, y[i] + 3.5f},
                       shown_[endings[i].curve].curve->name + "  " + brief(endings[i].value),
                       TextFace::interface,
                       TextAlign::left,
                       tone,
                       10.5f,
                       room};
      plot_.figure.labels.push_back(std::move(name));
    }
  }

  // One mark for each pixel column that holds values, as wide as the way to its neighbours.
  void coverWithMarks(const CurvePanel& panel) {
    struct Column {
      const CurvePoint* point = nullptr;
      std::size_t curve = 0;
      std::int64_t count = 0;
      double distance = 0;
    };
    std::vector<Column> columns(static_cast<std::size_t>(std::ceil(panel.plot.width)) + 1);
    for (const std::size_t index : panel.curves) {
      const Shown& shown = shown_[index];
      for (std::size_t i = shown.begin; i < shown.end; ++i) {
        const CurvePoint& point = shown.points()[i];
        const float x = plot_.xOf(point.at) - panel.plot.x;
        Column& column = columns[std::min(static_cast<std::size_t>(std::max(x, 0.0f)), columns.size() - 1)];
        const double distance = std::abs(x - std::floor(x) - 0.5);
        ++column.count;
        if (column.point && distance >= column.distance) continue;
        column = {&point, index, column.count, distance};
      }
    }
    std::erase_if(columns, [](const Column& column) { return !column.point; });
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto middle = [&](std::size_t a, std::size_t b) {
        return (plot_.xOf(columns[a].point->at) + plot_.xOf(columns[b].point->at)) / 2;
      };
      const float left = i == 0 ? panel.plot.x : middle(i - 1, i),
                  right = i + 1 == columns.size() ? panel.plot.x + panel.plot.width : middle(i, i + 1);
      const CurvePoint& point = *columns[i].point;
      FigureBox box;
      box.rect = {left, panel.plot.y, right - left, panel.plot.height};
      box.tone = curveTone(columns[i].curve);
      box.outlined = box.filled = false;
      box.id = {MarkId::Kind::measure, point.run, point.step, static_cast<std::int64_t>(columns[i].curve)};
      box.tooltip = "step " + grouped(point.at);
      for (const std::size_t index : panel.curves) box.tooltip += valueText(shown_[index], point.at);
      if (columns[i].count > static_cast<std::int64_t>(panel.curves.size()))
        box.tooltip += "\n" + std::to_string(columns[i].count) + " values under this pixel; zoom in for each";
      plot_.figure.boxes.push_back(std::move(box));
    }
  }

  static std::string valueText(const Shown& shown, double at) {
    const std::vector<CurvePoint>& points = shown.points();
    auto found = std::upper_bound(points.begin(), points.end(), at,
                                  [](double place, const CurvePoint& point) { return place < point.at; });
    if (found == points.begin() || (--found)->at != at) return {};
    std::string text = "\n" + shown.curve->name + " = " + withUnit(found->value, shown.curve->unit);
    if (shown.smoothed)
      text += "  (moving average " +
              brief(shown.curve->smooth[static_cast<std::size_t>(found - points.begin())]) + ")";
    return text;
  }

  void drawLegend() {
    int span = 0;
    bool several = false;
    for (const Shown& shown : shown_) {
      if (!shown.smoothed) continue;
      several |= span > 0 && span != shown.curve->span;
      span = std::max(span, shown.curve->span);
    }
    float x = kLeft;
    const float y = 16;
    if (span == 0) {
      label({x, y + 3.5f}, "every value", TextAlign::left);
      return;
    }
    line({x, y}, {x + 20, y}, Tone::neutral, 1, 0.4f);
    label({x + 26, y + 3.5f}, "every value", TextAlign::left);
    x += 104;
    line({x, y}, {x + 20, y}, Tone::neutral, 2);
    label({x + 26, y + 3.5f},
          std::string("exponential moving average, span ") + (several ? "up to " : "") + grouped(span) +
              " values",
          TextAlign::left);
  }

  void describe() {
    std::string& text = plot_.figure.description;
    text = std::to_string(shown_.size()) + (shown_.size() == 1 ? " curve" : " curves") + " over steps " +
           grouped(plot_.first) + " to " + grouped(plot_.last);
    for (const Shown& shown : shown_) {
      const CurvePoint *low = nullptr, *begin = nullptr, *end = nullptr;
      std::size_t broken = 0;
      for (std::size_t i = shown.begin; i < shown.end; ++i) {
        const CurvePoint& point = shown.points()[i];
        if (!drawable(point.value)) {
          ++broken;
          continue;
        }
        if (!begin) begin = &point;
        if (!low || point.value < low->value) low = &point;
        end = &point;
      }
      text += "; " + shown.curve->name;
      if (!begin)
        text += ": nothing here";
      else
        text += ": from " + withUnit(begin->value, shown.curve->unit) + " at step " + grouped(begin->at) +
                " to " + withUnit(end->value, shown.curve->unit) + " at step " + grouped(end->at) +
                ", smallest " + withUnit(low->value, shown.curve->unit) + " at step " + grouped(low->at);
      if (broken > 0) text += ", " + std::to_string(broken) + " values that are not finite";
    }
  }

  const CurveSet& set_;
  const CurveOptions& options_;
  CurvePlot plot_;
  std::vector<Shown> shown_;
};

}  // namespace

float CurvePlot::xOf(double at) const {
  if (panels.empty()) return 0;
  const Rect& plot = panels.front().plot;
  return plot.x + static_cast<float>((at - first) / (last - first) * static_cast<double>(plot.width));
}

double CurvePlot::atOf(float x) const {
  if (panels.empty()) return first;
  const Rect& plot = panels.front().plot;
  return first + (last - first) * static_cast<double>(x - plot.x) / static_cast<double>(plot.width);
}

CurvePlot layoutCurves(const CurveSet& set, const CurveOptions& options) {
  return Layout(set, options).run();
}

}  // namespace decoscope
