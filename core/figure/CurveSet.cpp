#include <algorithm>
#include <cmath>

#include "core/figure/Curves.h"

namespace decoscope {

namespace {

constexpr double kDrawable = 1e300;
constexpr double kSteady = 3;  // its way up and down is at most so many times its range

}  // namespace

bool drawable(double value) {
  return std::abs(value) < kDrawable;
}

void Curve::add(const CurvePoint& point) {
  ordered &= points.empty() || points.back().at <= point.at;
  points.push_back(point);
  if (drawable(point.value)) {
    const bool begins = std::isnan(before_);
    way_ += begins ? 0 : std::abs(point.value - before_);
    low_ = begins ? point.value : std::min(low_, point.value);
    high_ = begins ? point.value : std::max(high_, point.value);
    before_ = point.value;
  }
  // The span grows with the curve, in steps that become rare.
  const int wanted = curveSpan(points.size());
  if (wanted != span) {
    span = wanted;
    smooth.clear();
    sum_ = weights_ = 0;
  }
  average(smooth.size());
}

void Curve::average(std::size_t from) {
  const double weight = 2.0 / (span + 1);
  for (std::size_t i = from; i < points.size(); ++i) {
    if (drawable(points[i].value)) {
      sum_ = (1 - weight) * sum_ + weight * points[i].value;
      weights_ = (1 - weight) * weights_ + weight;
    }
    smooth.push_back(weights_ > 0 ? sum_ / weights_ : kUnknown);
  }
}

bool Curve::steady() const {
  return way_ <= kSteady * (high_ - low_);
}

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
    if (index == curves_.size()) {
      curves_.emplace_back();
      curves_.back().name = fact->name;
      curves_.back().unit = fact->unit;
    }
    curves_[index].add({at, fact->value, step.run, step.step});
  }
}

Tone curveTone(std::size_t curve) {
  static constexpr Tone kTones[] = {Tone::curve0, Tone::curve1, Tone::curve2,
                                    Tone::curve3, Tone::curve4, Tone::curve5};
  return kTones[curve % std::size(kTones)];
}

int curveSpan(std::size_t points) {
  const double wanted = static_cast<double>(points) / 100;
  int span = 5;
  for (int power = 1; power <= 10'000'000; power *= 10)
    for (const int digit : {1, 2, 5})
      if (digit * power <= wanted && digit * power > span) span = digit * power;
  return span;
}

}  // namespace decoscope
