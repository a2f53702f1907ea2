#include "core/model/torch/kernels/PackedMatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/Bfloat16.h"
#include "core/model/weights/Bits.h"

namespace decoscope::kernels {

namespace {

std::uint32_t bitsOf(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float floatOf(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

const char* weightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::f32:
      return "f32";
    case WeightFormat::bf16:
      return "bf16";
    case WeightFormat::f16:
      return "f16";
    case WeightFormat::q8:
      return "q8";
    case WeightFormat::q4:
      return "q4";
  }
  return "?";
}

std::uint16_t toHalf(float value) {
  const std::uint32_t bits = bitsOf(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<std::uint16_t>(sign | 0x7E00);
  if (magnitude >= 0x477FF000) return static_cast<std::uint16_t>(sign | 0x7C00);
  if (magnitude < 0x38800000) {
    // Subnormal: the float adder rounds to the step of 2^-24 by itself.
    const float scaled = floatOf(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (bitsOf(scaled) - 0x3F000000));
  }
  const std::uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | (rounded - 0x38000000) >> 13);
}

float fromHalf(std::uint16_t half) {
  return halfToFloat(half);
}

std::size_t PackedMatrix::bytes() const {
  return full.size() * 4 + half.size() * 2 + bytes8.size() + words4.size() * 4 + scales.size() * 2;
}

void PackedMatrix::resize(std::size_t newOutputs, std::size_t newInputs, WeightFormat newFormat) {
  outputs = newOutputs;
  inputs = newInputs;
  format = newFormat;
  switch (format) {
    case WeightFormat::f32:
      full.assign(groups() * inputs * kGroup, 0.0f);
      break;
    case WeightFormat::bf16:
      half.assign(groups() * ((inputs + 1) / 2) * 2 * kGroup, 0);
      break;
    case WeightFormat::f16:
      half.assign(groups() * inputs * kGroup, 0);
      break;
    case WeightFormat::q8:
      bytes8.assign(groups() * blocks() * kBlock * kGroup, 0);
      scales.assign(groups() * blocks() * kGroup, 0);
      break;
    case WeightFormat::q4:
      words4.assign(groups() * blocks() * (kBlock / 8) * kGroup, 0);
      scales.assign(groups() * blocks() * 2 * kGroup, 0);
      break;
  }
}

void PackedMatrix::setRow(std::size_t output, const float* values) {
  const std::size_t group = output / kGroup, lane = output % kGroup;
  if (format == WeightFormat::f32) {
    float* base = full.data() + group * inputs * kGroup;
    for (std::size_t k = 0; k < inputs; ++k) base[k * kGroup + lane] = values[k];
  } else if (format == WeightFormat::bf16) {
    std::uint16_t* base = half.data() + group * ((inputs + 1) / 2) * 2 * kGroup;
    for (std::size_t k = 0; k < inputs; ++k)
      base[(k / 2 * kGroup + lane) * 2 + k % 2] = toBfloat16(values[k]);
  } else if (format == WeightFormat::f16) {
    std::uint16_t* base = half.data() + group * inputs * kGroup;
    for (std::size_t k = 0; k < inputs; ++k) base[k * kGroup + lane] = toHalf(values[k]);
  } else if (format == WeightFormat::q8) {
    std::int8_t* base = bytes8.data() + group * blocks() * kBlock * kGroup;
    for (std::size_t block = 0; block < blocks(); ++block) {
      const std::size_t begin = block * kBlock, end = std::min(inputs, begin + kBlock);
      float largest = 0;
      for (std::size_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(values[k]));
      const std::uint16_t stored = toHalf(largest / 127);
      const float scale = fromHalf(stored), inverse = scale > 0 ? 1 / scale : 0;
      scales[(group * blocks() + block) * kGroup + lane] = stored;
      for (std::size_t k = begin; k < end; ++k)
        base[k * kGroup + lane] =
            static_cast<std::int8_t>(std::clamp(std::nearbyint(values[k] * inverse), -127.0f, 127.0f));
    }
  } else {
    FourBitRow row;
    row.codes.resize(inputs);
    for (std::size_t begin = 0; begin < inputs; begin += kBlock) {
      const std::size_t end = std::min(inputs, begin + kBlock);
      const auto [least, largest] = std::minmax_element(values + begin, values + end);
      const float scale = fromHalf(toHalf((*largest - *least) / 15)), minimum = fromHalf(toHalf(*least));
      row.scales.push_back(scale);
      row.minima.push_back(minimum);
      for (std::size_t k = begin; k < end; ++k)
        row.codes[k] = static_cast<std::uint8_t>(
            scale > 0 ? std::clamp(std::nearbyint((values[k] - minimum) / scale), 0.0f, 15.0f) : 0.0f);
    }
    setFourBitRow(output, row);
  }
}

void PackedMatrix::setFourBitRow(std::size_t output, const FourBitRow& row) {
  const std::size_t group = output / kGroup, lane = output % kGroup;
  for (std::size_t block = 0; block < blocks(); ++block) {
    const std::size_t begin = block * kBlock, end = std::min(inputs, begin + kBlock);
    std::uint16_t* pair = scales.data() + (group * blocks() + block) * 2 * kGroup + lane;
    pair[0] = toHalf(row.scales[block]);
    pair[kGroup] = toHalf(row.minima[block]);
    std::uint32_t* words = words4.data() + (group * blocks() + block) * (kBlock / 8) * kGroup + lane;
    for (std::size_t k = begin; k < end; ++k)
      words[(k - begin) / 8 * kGroup] |= static_cast<std::uint32_t>(row.codes[k] & 15) << (k - begin) % 8 * 4;
  }
}

void PackedMatrix::getRow(std::size_t output, float* values) const {
  const std::size_t group = output / kGroup, lane = output % kGroup;
  for (std::size_t k = 0; k < inputs; ++k) {
    const std::size_t block = group * blocks() + k / kBlock;
    switch (format) {
      case WeightFormat::f32:
        values[k] = full[(group * inputs + k) * kGroup + lane];
        break;
      case WeightFormat::bf16:
        values[k] = fromBfloat16(half[((group * ((inputs + 1) / 2) + k / 2) * kGroup + lane) * 2 + k % 2]);
        break;
      case WeightFormat::f16:
        values[k] = fromHalf(half[(group * inputs + k) * kGroup + lane]);
        break;
      case WeightFormat::q8:
        values[k] =
            fromHalf(scales[block * kGroup + lane]) * bytes8[(block * kBlock + k % kBlock) * kGroup + lane];
        break;
      case WeightFormat::q4: {
        const std::uint32_t word = words4[(block * (kBlock / 8) + k % kBlock / 8) * kGroup + lane];
        values[k] = fromHalf(scales[block * 2 * kGroup + lane]) * static_cast<float>(word >> k % 8 * 4 & 15) +
                    fromHalf(scales[(block * 2 + 1) * kGroup + lane]);
        break;
      }
    }
  }
}

}  // namespace decoscope::kernels
