// Rows of weights as 4-bit codes with a scale and a minimum for each 32 of them, where a file has them so.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model/weights/WeightFile.h"

namespace decoscope {

// weight[k] = scales[k / 32] · codes[k] + minima[k / 32].
struct FourBitRow {
  std::vector<std::uint8_t> codes;  // 0 … 15
  std::vector<float> scales, minima;
};

// Whether a tensor's type is Q4_0, Q4_1 or Q4_K, which this form holds.
bool holdsFourBitRows(const WeightTensor& tensor);
// Reads `count` elements from `begin`; both multiples of the type's block (32, or 256 for Q4_K). Error usage
// for a range outside the tensor or another type.
Status readFourBitRow(const WeightTensor& tensor, std::int64_t begin, std::int64_t count, FourBitRow& row);

}  // namespace decoscope
