#include "core/model/torch/Rotary.h"

#include <algorithm>
#include <cmath>

namespace decoscope {

namespace {

using Kind = RopeScaling::Kind;

double llama3(const RopeScaling& scaling, double f) {
  const double wavelength = 2 * M_PI / f;
  if (wavelength > scaling.originalContext / scaling.lowFrequencyFactor) return f / scaling.factor;
  if (wavelength < scaling.originalContext / scaling.highFrequencyFactor) return f;
  const double smooth = (scaling.originalContext / wavelength - scaling.lowFrequencyFactor) /
                        (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
  return (1 - smooth) * f / scaling.factor + smooth * f;
}

// Below `low` a dimension turns fast and is kept, above `high` it is interpolated, between them mixed.
struct YarnRamp {
  double low, high;
  YarnRamp(const RopeConfig& rope) {
    const RopeScaling& scaling = rope.scaling;
    const auto dimension = [&](double rotations) {
      return rope.dimensions * std::log(scaling.originalContext / (rotations * 2 * M_PI)) /
             (2 * std::log(rope.theta));
    };
    low = dimension(scaling.betaFast);
    high = dimension(scaling.betaSlow);
    if (scaling.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, rope.dimensions - 1.0);
    if (low == high) high += 0.001;
  }
  double at(int i) const { return std::clamp((i - low) / (high - low), 0.0, 1.0); }
};

double attentionFactor(const RopeScaling& scaling) {
  if (scaling.attentionFactor > 0) return scaling.attentionFactor;
  if (scaling.factor <= 1) return 1;
  if (scaling.kind == Kind::yarn) return 0.1 * std::log(scaling.factor) + 1;
  if (scaling.kind == Kind::longrope)
    return std::sqrt(1 + std::log(scaling.factor) / std::log(scaling.originalContext));
  return 1;
}

}  // namespace

std::int64_t rotaryRegime(const RopeConfig& rope, std::int64_t length) {
  const auto original = static_cast<std::int64_t>(rope.scaling.originalContext);
  if (rope.scaling.kind == Kind::longrope) return length > original ? 1 : 0;
  if (rope.scaling.kind == Kind::dynamic) return std::max<std::int64_t>(0, length - original);
  return 0;
}

RotaryFrequencies rotaryFrequencies(const RopeConfig& rope, std::int64_t length) {
  const RopeScaling& scaling = rope.scaling;
  const int half = rope.dimensions / 2;
  RotaryFrequencies result;
  result.factor = static_cast<float>(attentionFactor(scaling));
  double theta = rope.theta;
  if (scaling.kind == Kind::dynamic && length > scaling.originalContext && rope.dimensions > 2)
    theta *= std::pow(
        scaling.factor * static_cast<double>(length) / scaling.originalContext - (scaling.factor - 1),
        rope.dimensions / (rope.dimensions - 2.0));
  const YarnRamp ramp(rope);
  const auto& stretch = rotaryRegime(rope, length) == 1 ? scaling.longFactors : scaling.shortFactors;
  for (int i = 0; i < half; ++i) {
    double f = std::pow(theta, -2.0 * i / rope.dimensions);
    if (scaling.kind == Kind::linear) f /= scaling.factor;
    if (scaling.kind == Kind::llama3) f = llama3(scaling, f);
    if (scaling.kind == Kind::yarn) f = f / scaling.factor * ramp.at(i) + f * (1 - ramp.at(i));
    if (scaling.kind == Kind::longrope) f /= stretch[static_cast<std::size_t>(i)];
    result.inverse.push_back(static_cast<float>(f));
  }
  return result;
}

}  // namespace decoscope
