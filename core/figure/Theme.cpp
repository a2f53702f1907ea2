#include "core/figure/Theme.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace decoscope {

namespace {

constexpr Colour hex(std::uint32_t rgb, std::uint8_t alpha = 255) {
  return {static_cast<std::uint8_t>(rgb >> 16), static_cast<std::uint8_t>(rgb >> 8),
          static_cast<std::uint8_t>(rgb), alpha};
}

Colour mix(Colour a, Colour b, float share) {
  const auto one = [share](std::uint8_t x, std::uint8_t y) {
    return static_cast<std::uint8_t>(
        std::lround(static_cast<float>(x) * (1 - share) + static_cast<float>(y) * share));
  };
  return {one(a.r, b.r), one(a.g, b.g), one(a.b, b.b), 255};
}

}  // namespace

ToneStyle Theme::style(Tone tone) const {
  const auto pick = [this](std::uint32_t onDark, std::uint32_t onLight) {
    return hex(dark ? onDark : onLight);
  };
  const auto styled = [this](Colour edge, bool dashed, const char* mark) {
    return ToneStyle{edge, mix(background, edge, dark ? 0.22f : 0.12f), text, dashed, mark};
  };
  const auto plain = [this](Colour colour) { return ToneStyle{colour, colour, text, false, ""}; };
  switch (tone) {
    case Tone::accepted:
      return styled(pick(0x4FB3D9, 0x0072B2), false, "✓");
    case Tone::rejected:
      return styled(pick(0xE8743B, 0xD55E00), true, "✕");
    case Tone::bonus:
      return styled(pick(0xE9C46A, 0xB8860B), false, "★");
    case Tone::resampled:
    case Tone::residual:
      return styled(pick(0xB07CC6, 0x8E4FA8), false, "↻");
    case Tone::forced:
      return styled(pick(0x7BC96F, 0x2E7D32), false, "!");
    case Tone::notReached:
    case Tone::masked:
      return {pick(0x475060, 0x9AA3AF), mix(background, pick(0x475060, 0x9AA3AF), 0.10f), dim, false, ""};
    case Tone::pruned:
      return {pick(0x475060, 0x9AA3AF), background, faint, true, ""};
    case Tone::remasked:
      return styled(pick(0xE8743B, 0xD55E00), true, "");
    case Tone::committed:
      return {dark ? hex(0xFFFFFF) : hex(0x111111), panel, text, false, ""};
    case Tone::axis:
      return {line, panel, dim, false, ""};
    case Tone::draft:
      return {pick(0x98A2B3, 0x667085), pick(0x98A2B3, 0x667085), dim, false, ""};
    case Tone::target:
      return {pick(0x4FB3D9, 0x0072B2), pick(0x4FB3D9, 0x0072B2), text, false, ""};
    case Tone::prompt:
      return {line, background, dim, false, ""};
    case Tone::background:
      return {background, background, text, false, ""};
    case Tone::highlight:
      return styled(pick(0xE7E9EE, 0x111111), false, "");
    // Apart for the common kinds of colour blindness (after Okabe and Ito 2008), on dark and on white.
    case Tone::curve0:
      return plain(pick(0x4FB3D9, 0x0072B2));
    case Tone::curve1:
      return plain(pick(0xF0935A, 0xD55E00));
    case Tone::curve2:
      return plain(pick(0x4CC38A, 0x00855F));
    case Tone::curve3:
      return plain(pick(0xC28AD8, 0x8E4FA8));
    case Tone::curve4:
      return plain(pick(0xE9C46A, 0xA87800));
    case Tone::curve5:
      return plain(pick(0xB9C3D3, 0x4A5568));
    case Tone::neutral:
      break;
  }
  return {pick(0xC9CED8, 0x3B4252), raised, text, false, ""};
}

const Theme& darkTheme() {
  static const Theme theme{true,          hex(0x15171C), hex(0x1B1E25), hex(0x20242C),
                           hex(0x2C323C), hex(0xE7E9EE), hex(0x98A2B3), hex(0x667085)};
  return theme;
}
const Theme& lightTheme() {
  static const Theme theme{false,         hex(0xFFFFFF), hex(0xF7F8FA), hex(0xFFFFFF),
                           hex(0xD0D5DD), hex(0x1D2330), hex(0x55606F), hex(0x8A94A3)};
  return theme;
}

Colour sequentialColour(float t) {
  // viridis at nine even stops (van der Walt and Smith 2015); linear between them.
  static constexpr std::array<std::uint32_t, 9> kStops = {0x440154, 0x472D7B, 0x3B528B, 0x2C728E, 0x21918C,
                                                          0x28AE80, 0x5EC962, 0xADDC30, 0xFDE725};
  const float at = std::clamp(t, 0.0f, 1.0f) * (kStops.size() - 1);
  const auto index = std::min<std::size_t>(static_cast<std::size_t>(at), kStops.size() - 2);
  return mix(hex(kStops[index]), hex(kStops[index + 1]), at - static_cast<float>(index));
}

Colour readableOn(Colour background) {
  const double luminance = 0.2126 * background.r + 0.7152 * background.g + 0.0722 * background.b;
  return luminance > 140 ? hex(0x111111) : hex(0xFFFFFF);
}

Colour labelColour(const FigureLabel& label, const Theme& theme) {
  if (label.over >= 0) return readableOn(sequentialColour(label.over));
  const ToneStyle style = theme.style(label.tone);
  return label.face == TextFace::token || label.tone == Tone::axis ? style.text : style.edge;
}

}  // namespace decoscope
