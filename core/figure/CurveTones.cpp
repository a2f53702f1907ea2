#include "core/figure/CurveTones.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace decoscope {

namespace {

constexpr std::size_t kCurveTones = 6;

}  // namespace

std::string panelOf(const Curve& curve) {
  return curve.unit.empty() ? "\n" + curve.name.substr(0, curve.name.find('.')) : curve.unit;
}

std::vector<CurveTone> curveTones(const CurveSet& set) {
  std::vector<CurveTone> tones;
  std::map<std::string, std::array<int, kCurveTones>> inPanel;
  std::array<int, kCurveTones> everywhere{};
  for (const Curve& curve : set.curves()) {
    auto& used = inPanel.try_emplace(panelOf(curve)).first->second;
    std::size_t best = 0;
    for (std::size_t tone = 1; tone < kCurveTones; ++tone)
      if (std::pair(used[tone], everywhere[tone]) < std::pair(used[best], everywhere[best])) best = tone;
    tones.push_back({curveTone(best), used[best] % 2 == 1});
    ++used[best];
    ++everywhere[best];
  }
  return tones;
}

}  // namespace decoscope
