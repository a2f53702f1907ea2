#include <algorithm>

#include "core/figure/Curves.h"

namespace decoscope {

std::size_t CurveSet::indexOf(const MeasureFact& fact) const {
  return static_cast<std::size_t>(
      std::find_if(curves_.begin(), curves_.end(),
                   [&](const Curve& curve) { return curve.name == fact.name && curve.unit == fact.unit; }) -
      curves_.begin());
}

void CurveSet::add(const StepRecord& step) {
  for (const Event& event : step.events) {
    const auto* fact = std::get_if<MeasureFact>(&event);
    if (!fact) continue;
    const auto at = static_cast<double>(fact->at < 0 ? step.step : fact->at);
    const std::size_t index = indexOf(*fact);
    first_ = empty() ? at : std::min(first_, at);
    last_ = empty() ? at : std::max(last_, at);
    if (index == curves_.size()) curves_.push_back({fact->name, fact->unit, {}, true});
    Curve& curve = curves_[index];
    curve.ordered &= curve.points.empty() || curve.points.back().at <= at;
    curve.points.push_back({at, fact->value, step.run, step.step});
  }
}

Tone curveTone(std::size_t curve) {
  static constexpr Tone kTones[] = {Tone::curve0, Tone::curve1, Tone::curve2,
                                    Tone::curve3, Tone::curve4, Tone::curve5};
  return kTones[curve % std::size(kTones)];
}

int curveSpan(std::size_t points) {
  const double wanted = static_cast<double>(points) / 100;
  int span = 1;
  for (int power = 1; power <= 10'000'000; power *= 10)
    for (const int digit : {1, 2, 5})
      if (digit * power <= wanted) span = digit * power;
  return span;
}

}  // namespace decoscope
