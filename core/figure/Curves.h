// Named numbers over steps (MeasureFact) as curves, and their figure: one panel for each unit over a common
// axis of steps. Pure functions of sealed records; safe on any thread.
#pragma once

#include <string>
#include <vector>

#include "core/figure/Figure.h"
#include "core/trace/Trace.h"

namespace decoscope {

struct CurvePoint {
  double at = 0;     // place on the axis: MeasureFact::at, or the step's number
  double value = 0;  // may be not finite
  RunId run;         // which record it stands in
  StepIndex step = 0;
};
struct Curve {
  std::string name, unit;
  std::vector<CurvePoint> points;
  bool ordered = true;  // by growing `at`; only a damaged record is not
  // The exponential moving average at each point (weight 2 ÷ (span + 1), started without bias; values that
  // are not finite are left out), kept up as the curve grows.
  std::vector<double> smooth;
  int span = 1;

  void add(const CurvePoint& point);
  // A schedule, or what has no noise: an average of it would only come late.
  bool steady() const;

 private:
  void average(std::size_t from);
  double sum_ = 0, weights_ = 0;                             // of the average
  double way_ = 0, low_ = 0, high_ = 0, before_ = kUnknown;  // how far it goes up and down
};

// The curves of a line, in the order in which they first occur. A copy is a snapshot.
class CurveSet {
 public:
  void add(const StepRecord& step);
  const std::vector<Curve>& curves() const { return curves_; }
  bool empty() const { return curves_.empty(); }
  // The curve of this fact; curves().size() when there is none.
  std::size_t indexOf(const MeasureFact& fact) const;
  // Ends of the axis; 0 and 0 when it is empty.
  double first() const { return empty() ? 0 : first_; }
  double last() const { return empty() ? 0 : last_; }

 private:
  std::vector<Curve> curves_;
  double first_ = 0, last_ = 0;
};

struct CurveOptions {
  float width = 900, height = 0;  // height 0: by the number of panels
  double first = 1, last = 0;     // the part of the axis that is shown; all of it where first > last
};

// A panel as it was laid out, for what is drawn on top of it.
struct CurvePanel {
  Rect plot;
  double low = 0, high = 1;         // values at the bottom and the top
  std::vector<std::size_t> curves;  // into CurveSet::curves()
  float yOf(double value) const {
    return plot.y + plot.height * static_cast<float>((high - value) / (high - low));
  }
};
struct CurvePlot {
  Figure figure;
  std::vector<CurvePanel> panels;
  double first = 0, last = 1;  // values at the left and the right edge of every panel
  float xOf(double at) const;
  double atOf(float x) const;
};

// The tone of a curve; beyond six they repeat, and the second six are dashed.
Tone curveTone(std::size_t curve);
// How many points the moving average of a curve of this many points looks back: 1 % of them as 1, 2 or 5
// times a power of ten, and 5 at least.
int curveSpan(std::size_t points);
// Whether a value is drawn: it is finite, and so are differences of such values.
bool drawable(double value);

// A thin line through every value and a strong one through its exponential moving average (weight 2 ÷ (span +
// 1), started without bias). Curves of few values, and those without noise such as a schedule, are one strong
// line. What is denser than the pixels is drawn by the first, smallest, largest and last value of each pixel
// column, so that no peak is lost; zoomed in, every value is drawn. Marks of kind `measure` (item: the first
// curve of the panel that has a value there) cover the plots and say step and full values. Values that are
// not finite break the line and are marked below it.
CurvePlot layoutCurves(const CurveSet& set, const CurveOptions& options = {});

}  // namespace decoscope
