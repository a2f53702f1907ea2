#include "core/model/weights/Bits.h"
#include "core/model/weights/Decoders.h"

namespace decoscope::decoders {

namespace {

constexpr float kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1 floats, doubled.
constexpr float kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of 2^(e - 127), so that it goes with doubled values.
float halvedPower(unsigned exponent) {
  return std::bit_cast<float>(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

// Half of an unsigned E4M3.
float halvedE4M3(unsigned byte) {
  const unsigned exponent = (byte >> 3) & 0xF, fraction = byte & 7;
  if (byte == 0 || byte == 0x7F) return 0;
  return exponent == 0
             ? static_cast<float>(fraction) * 0x1p-10f
             : static_cast<float>(8 + fraction) * std::bit_cast<float>((exponent + 127 - 7 - 3 - 1) << 23);
}

// Nibbles lie in 16 bytes: the low ones are the first 16 weights, the high ones the rest.
void sixteenPairs(const std::byte* quants, float scale, const float* levels, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * levels[byteAt(quants, i) & 0xF];
    out[i + 16] = scale * levels[byteAt(quants, i) >> 4];
  }
}

}  // namespace

void iq4Nl(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 18, out += 32) {
    const float scale = loadHalf(data);
    sixteenPairs(data + 2, scale, kNonLinear, out);
  }
}

void iq4Xs(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 136) {
    const float scale = loadHalf(data);
    const unsigned highScales = load<std::uint16_t>(data + 2);
    for (int part = 0; part < 8; ++part, out += 32) {
      const unsigned low = (byteAt(data + 4, part / 2) >> (part % 2 * 4)) & 0xF,
                     high = (highScales >> (part * 2)) & 3;
      const float partScale = scale * static_cast<float>(static_cast<int>(low | high << 4) - 32);
      sixteenPairs(data + 8 + part * 16, partScale, kNonLinear, out);
    }
  }
}

void mxfp4(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 17, out += 32) {
    const float scale = halvedPower(byteAt(data, 0));
    sixteenPairs(data + 1, scale, kE2M1, out);
  }
}

void mxfp4Apart(const std::byte* nibbles, const std::byte* exponents, std::int64_t blocks, float* out) {
  for (std::int64_t block = 0; block < blocks; ++block, nibbles += 16, out += 32) {
    const float scale = halvedPower(byteAt(exponents, block));
    for (int i = 0; i < 16; ++i) {
      out[2 * i] = scale * kE2M1[byteAt(nibbles, i) & 0xF];
      out[2 * i + 1] = scale * kE2M1[byteAt(nibbles, i) >> 4];
    }
  }
}

void nvfp4(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 36)
    for (int part = 0; part < 4; ++part, out += 16) {
      const float scale = halvedE4M3(byteAt(data, part));
      const std::byte* quants = data + 4 + part * 8;
      for (int i = 0; i < 8; ++i) {
        out[i] = scale * kE2M1[byteAt(quants, i) & 0xF];
        out[i + 8] = scale * kE2M1[byteAt(quants, i) >> 4];
      }
    }
}

}  // namespace decoscope::decoders
