// Weight matrices in the layouts of the CPU kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/model/weights/FourBit.h"

namespace decoscope::kernels {

// Outputs are packed in groups of this many, k-major within a group: packed[group][k][16].
inline constexpr std::size_t kGroup = 16;
// Inputs that share a scale in the quantised formats.
inline constexpr std::size_t kBlock = 32;

enum class WeightFormat {
  f32,   // packed[group][k][16]
  bf16,  // pairs of k: packed[group][k / 2][16][2]; inputs padded to even. Inputs are rounded to bf16 too.
  f16,   // packed[group][k][16]; arithmetic in f32
  q8,    // signed bytes packed[group][k][16], a half-precision scale per block and output: w = scale · code
  q4     // eight k of an output in one word: words[group][k / 8][16], scale and minimum per block and
         // output in half precision: w = scale · code + minimum
};
const char* weightFormatName(WeightFormat format);  // "f32", "bf16", …

// A weight matrix [outputs, inputs]; the last group is padded with zeros.
struct PackedMatrix {
  std::size_t outputs = 0, inputs = 0;
  WeightFormat format = WeightFormat::f32;
  std::vector<float> full;
  std::vector<std::uint16_t> half;    // bf16, f16
  std::vector<std::int8_t> bytes8;    // q8
  std::vector<std::uint32_t> words4;  // q4
  std::vector<std::uint16_t> scales;  // q8: [group][block][16]; q4: [group][block][scale, minimum][16]

  std::size_t groups() const { return (outputs + kGroup - 1) / kGroup; }
  std::size_t blocks() const { return (inputs + kBlock - 1) / kBlock; }
  std::size_t bytes() const;
  void resize(std::size_t outputs, std::size_t inputs, WeightFormat format);
  // Stores row `output` ([inputs] values), quantised if the format is: q8 by the largest magnitude of a
  // block, q4 by its least and largest value. Rows of different groups may be stored by different threads.
  void setRow(std::size_t output, const float* values);
  // q4 only: stores codes as they are.
  void setFourBitRow(std::size_t output, const FourBitRow& row);
  // Row `output` as the products see it, [inputs].
  void getRow(std::size_t output, float* values) const;
};

std::uint16_t toHalf(float value);  // round to nearest even; overflow gives infinity
float fromHalf(std::uint16_t value);

}  // namespace decoscope::kernels
