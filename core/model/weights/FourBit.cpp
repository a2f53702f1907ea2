#include "core/model/weights/FourBit.h"

#include <cstring>

namespace decoscope {

namespace {

float halfAt(const std::byte* at) {
  std::uint16_t half;
  std::memcpy(&half, at, sizeof half);
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1F, mantissa = half & 0x3FF;
  std::uint32_t bits = sign | (exponent == 0x1F ? 0x7F800000u : (exponent + 112) << 23) | mantissa << 13;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// 32 codes: byte i holds code i in its low half and code i + 16 in its high half.
void splitHalves(const std::byte* bytes, std::uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<std::uint8_t>(bytes[i]) & 15;
    codes[i + 16] = static_cast<std::uint8_t>(bytes[i]) >> 4;
  }
}

// The eight six-bit scales and minima of a Q4_K block, packed in twelve bytes.
void unpackScales(const std::uint8_t* packed, int index, int& scale, int& minimum) {
  if (index < 4) {
    scale = packed[index] & 63;
    minimum = packed[index + 4] & 63;
  } else {
    scale = (packed[index + 4] & 15) | (packed[index - 4] >> 6) << 4;
    minimum = (packed[index + 4] >> 4) | (packed[index] >> 6) << 4;
  }
}

constexpr std::int64_t kSuperBlock = 256, kSuperBytes = 144;

void readSuperBlock(const std::byte* block, FourBitRow& row, std::size_t at) {
  const float scale = halfAt(block), minimum = halfAt(block + 2);
  const auto* packed = reinterpret_cast<const std::uint8_t*>(block + 4);
  const std::byte* quants = block + 16;
  // Sub-blocks 2 i and 2 i + 1 are the low and the high halves of the same 32 bytes.
  for (int sub = 0; sub < 8; ++sub) {
    int subScale, subMinimum;
    unpackScales(packed, sub, subScale, subMinimum);
    row.scales[(at + static_cast<std::size_t>(sub) * 32) / 32] = scale * static_cast<float>(subScale);
    row.minima[(at + static_cast<std::size_t>(sub) * 32) / 32] = -minimum * static_cast<float>(subMinimum);
    for (int i = 0; i < 32; ++i) {
      const auto byte = static_cast<std::uint8_t>(quants[sub / 2 * 32 + i]);
      row.codes[at + static_cast<std::size_t>(sub * 32 + i)] =
          static_cast<std::uint8_t>(sub % 2 ? byte >> 4 : byte & 15);
    }
  }
}

}  // namespace

bool holdsFourBitRows(const WeightTensor& tensor) {
  return tensor.typeName == "Q4_0" || tensor.typeName == "Q4_1" || tensor.typeName == "Q4_K";
}

Status readFourBitRow(const WeightTensor& tensor, std::int64_t begin, std::int64_t count, FourBitRow& row) {
  const bool super = tensor.typeName == "Q4_K", shifted = tensor.typeName == "Q4_1";
  const std::int64_t length = super ? kSuperBlock : 32, bytes = super ? kSuperBytes : shifted ? 20 : 18;
  if (!holdsFourBitRows(tensor) || begin < 0 || count < 0 || begin % length != 0 || count % length != 0 ||
      begin > tensor.elements() || count > tensor.elements() - begin)
    return fail(ErrorCode::usage, "the range holds no whole blocks of four bits", "tensor " + tensor.name);
  row.codes.resize(static_cast<std::size_t>(count));
  row.scales.resize(static_cast<std::size_t>(count / 32));
  row.minima.resize(static_cast<std::size_t>(count / 32));
  for (std::int64_t i = 0; i < count; i += length) {
    const std::byte* block = tensor.data.data() + (begin + i) / length * bytes;
    const auto at = static_cast<std::size_t>(i);
    if (super) {
      readSuperBlock(block, row, at);
      continue;
    }
    row.scales[at / 32] = halfAt(block);
    row.minima[at / 32] = shifted ? halfAt(block + 2) : -8 * row.scales[at / 32];
    splitHalves(block + (shifted ? 4 : 2), row.codes.data() + at);
  }
  return {};
}

}  // namespace decoscope
