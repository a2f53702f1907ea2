#include <bit>

#include "core/model/weights/Bits.h"
#include "core/model/weights/Decoders.h"
#include "core/model/weights/Grids.h"

namespace decoscope::decoders {

namespace {

// What the two-bit (three-bit) digits of a grid point stand for.
constexpr float kLevels2[4] = {0x08, 0x19, 0x2B, 0};
constexpr float kLevels3Xxs[8] = {0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3E};
constexpr float kLevels3S[8] = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr float kLevels1[4] = {-1, 0, 1, 0};
constexpr float kShift = 0.125f;

// Seven signs are stored; the eighth makes the number of minus signs even.
unsigned evenSigns(unsigned seven) {
  return seven | (static_cast<unsigned>(std::popcount(seven)) & 1) << 7;
}

// By table, so that a NaN keeps its sign as it does in the reference: a product, not a negation.
constexpr float kSigns[2] = {1, -1};
float signOf(unsigned signs, int i) {
  return kSigns[(signs >> i) & 1];
}

void eightOf(std::uint16_t point, float scale, unsigned signs, float* out) {
  for (int i = 0; i < 8; ++i) out[i] = scale * kLevels2[(point >> (2 * i)) & 3] * signOf(signs, i);
}

void fourOf(std::uint16_t point, const float* levels, float scale, unsigned signs, float* out) {
  for (int i = 0; i < 4; ++i) out[i] = scale * levels[(point >> (4 * i)) & 7] * signOf(signs, i);
}

void eightTernary(std::uint16_t point, float scale, float shift, float* out) {
  for (int i = 0; i < 8; ++i) out[i] = scale * (kLevels1[(point >> (2 * i)) & 3] + shift);
}

}  // namespace

void iq2Xxs(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 66) {
    const float scale = loadHalf(data);
    for (int part = 0; part < 8; ++part) {
      const std::byte* points = data + 2 + part * 8;
      const auto packed = load<std::uint32_t>(points + 4);
      const float partScale = scale * (0.5f + static_cast<float>(packed >> 28)) * 0.25f;
      for (int group = 0; group < 4; ++group, out += 8)
        eightOf(grids::kIq2Xxs[byteAt(points, group)], partScale, evenSigns((packed >> (7 * group)) & 0x7F),
                out);
    }
  }
}

void iq2Xs(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 74) {
    const float scale = loadHalf(data);
    for (int group = 0; group < 32; ++group, out += 8) {
      const unsigned packed = load<std::uint16_t>(data + 2 + group * 2);
      const unsigned part = (byteAt(data + 66, group / 4) >> (group % 4 / 2 * 4)) & 0xF;
      const float partScale = scale * (0.5f + static_cast<float>(part)) * 0.25f;
      eightOf(grids::kIq2Xs[packed & 511], partScale, evenSigns(packed >> 9), out);
    }
  }
}

void iq2S(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 82) {
    const float scale = loadHalf(data);
    for (int group = 0; group < 32; ++group, out += 8) {
      const unsigned part = (byteAt(data + 74, group / 4) >> (group % 4 / 2 * 4)) & 0xF;
      const float partScale = scale * (0.5f + static_cast<float>(part)) * 0.25f;
      const unsigned high = (byteAt(data + 66, group / 4) >> (group % 4 * 2)) & 3;
      eightOf(grids::kIq2S[byteAt(data + 2, group) | high << 8], partScale, byteAt(data + 34, group), out);
    }
  }
}

void iq3Xxs(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 98) {
    const float scale = loadHalf(data);
    for (int part = 0; part < 8; ++part) {
      const auto packed = load<std::uint32_t>(data + 66 + part * 4);
      const float partScale = scale * (0.5f + static_cast<float>(packed >> 28)) * 0.5f;
      for (int group = 0; group < 8; ++group, out += 4)
        fourOf(grids::kIq3Xxs[byteAt(data + 2, part * 8 + group)], kLevels3Xxs, partScale,
               evenSigns((packed >> (7 * (group / 2))) & 0x7F) >> (group % 2 * 4), out);
    }
  }
}

void iq3S(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 110) {
    const float scale = loadHalf(data);
    for (int group = 0; group < 64; ++group, out += 4) {
      const unsigned part = (byteAt(data + 106, group / 16) >> (group % 16 / 8 * 4)) & 0xF;
      const unsigned high = (byteAt(data + 66, group / 8) >> (group % 8)) & 1;
      fourOf(grids::kIq3S[byteAt(data + 2, group) | high << 8], kLevels3S,
             scale * static_cast<float>(1 + 2 * part), byteAt(data + 74, group / 2) >> (group % 2 * 4), out);
    }
  }
}

void iq1S(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 50) {
    const float scale = loadHalf(data);
    for (int part = 0; part < 8; ++part) {
      const unsigned packed = load<std::uint16_t>(data + 34 + part * 2);
      const float partScale = scale * static_cast<float>(2 * ((packed >> 12) & 7) + 1);
      for (int group = 0; group < 4; ++group, out += 8)
        eightTernary(grids::kIq1[byteAt(data + 2, part * 4 + group) | ((packed >> (3 * group)) & 7) << 8],
                     partScale, packed & 0x8000 ? -kShift : kShift, out);
    }
  }
}

void iq1M(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 56) {
    unsigned scales[4], half = 0;
    for (int i = 0; i < 4; ++i) {
      scales[i] = load<std::uint16_t>(data + 48 + i * 2);
      half |= scales[i] >> 12 << (4 * i);
    }
    const float scale = halfToFloat(static_cast<std::uint16_t>(half));
    for (int group = 0; group < 32; ++group, out += 8) {
      const unsigned part = (scales[group / 8] >> (group % 8 / 2 * 3)) & 7;
      const unsigned high = (byteAt(data + 32, group / 2) >> (group % 2 * 4)) & 0xF;
      eightTernary(grids::kIq1[byteAt(data, group) | (high & 7) << 8],
                   scale * static_cast<float>(2 * part + 1), high & 8 ? -kShift : kShift, out);
    }
  }
}

}  // namespace decoscope::decoders
