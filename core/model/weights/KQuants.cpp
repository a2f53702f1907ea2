#include "core/model/weights/Bits.h"
#include "core/model/weights/Decoders.h"

namespace decoscope::decoders {

namespace {

constexpr int kLength = 256;

// Five base-3 digits stand in a byte as a fraction of 256 · 3^-5: multiplying by 3 brings the next one to the
// top.
float ternaryDigit(unsigned byte, unsigned power) {
  return static_cast<float>(static_cast<int>(((byte * power) & 0xFF) * 3 >> 8) - 1);
}

}  // namespace

void q2K(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 84) {
    const float scale = loadHalf(data + 80), minimum = loadHalf(data + 82);
    for (int part = 0; part < 16; ++part, out += 16) {
      const unsigned packed = byteAt(data, part);
      const float partScale = scale * static_cast<float>(packed & 0xF),
                  partMinimum = minimum * static_cast<float>(packed >> 4);
      const std::byte* quants = data + 16 + part / 8 * 32 + part % 2 * 16;
      const int shift = part % 8 / 2 * 2;
      for (int i = 0; i < 16; ++i)
        out[i] = partScale * static_cast<float>((byteAt(quants, i) >> shift) & 3) - partMinimum;
    }
  }
}

void q3K(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 110) {
    const float scale = loadHalf(data + 108);
    const std::byte* scales = data + 96;
    for (int part = 0; part < 16; ++part, out += 16) {
      const unsigned low = part < 8 ? byteAt(scales, part) & 0xF : byteAt(scales, part - 8) >> 4,
                     high = (byteAt(scales, 8 + part % 4) >> (part / 4 * 2)) & 3;
      const float partScale = scale * static_cast<float>(static_cast<int>(low | high << 4) - 32);
      const std::byte *mask = data + part % 2 * 16, *quants = data + 32 + part / 8 * 32 + part % 2 * 16;
      const int shift = part % 8 / 2 * 2, bit = part / 2;
      // Strangely, a set bit means that nothing is taken away.
      for (int i = 0; i < 16; ++i)
        out[i] = partScale * static_cast<float>(static_cast<int>((byteAt(quants, i) >> shift) & 3) - 4 +
                                                static_cast<int>((byteAt(mask, i) >> bit) & 1) * 4);
    }
  }
}

void q4K(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 144) {
    const float scale = loadHalf(data), minimum = loadHalf(data + 2);
    for (int part = 0; part < 8; ++part, out += 32) {
      const auto pair = sixBitPair(data + 4, part);
      const float partScale = scale * pair.scale, partMinimum = minimum * pair.minimum;
      const std::byte* quants = data + 16 + part / 2 * 32;
      const int shift = part % 2 * 4;
      for (int i = 0; i < 32; ++i)
        out[i] = partScale * static_cast<float>((byteAt(quants, i) >> shift) & 0xF) - partMinimum;
    }
  }
}

void q5K(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 176) {
    const float scale = loadHalf(data), minimum = loadHalf(data + 2);
    for (int part = 0; part < 8; ++part, out += 32) {
      const auto pair = sixBitPair(data + 4, part);
      const float partScale = scale * pair.scale, partMinimum = minimum * pair.minimum;
      const std::byte *high = data + 16, *quants = data + 48 + part / 2 * 32;
      const int shift = part % 2 * 4;
      for (int i = 0; i < 32; ++i) {
        const unsigned q = ((byteAt(quants, i) >> shift) & 0xF) | ((byteAt(high, i) >> part) & 1) << 4;
        out[i] = partScale * static_cast<float>(q) - partMinimum;
      }
    }
  }
}

void q6K(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 210) {
    const float scale = loadHalf(data + 208);
    for (int part = 0; part < 16; ++part, out += 16) {
      const int half = part / 8, group = part % 8 / 2, within = part % 2 * 16;
      const float partScale = scale * static_cast<float>(signedByteAt(data + 192, part));
      const std::byte *low = data + half * 64 + group % 2 * 32 + within,
                      *high = data + 128 + half * 32 + within;
      const int lowShift = group / 2 * 4, highShift = group * 2;
      for (int i = 0; i < 16; ++i) {
        const unsigned q = ((byteAt(low, i) >> lowShift) & 0xF) | ((byteAt(high, i) >> highShift) & 3) << 4;
        out[i] = partScale * static_cast<float>(static_cast<int>(q) - 32);
      }
    }
  }
}

void q8K(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 292, out += kLength) {
    const auto scale = load<float>(data);
    for (int i = 0; i < kLength; ++i) out[i] = scale * static_cast<float>(signedByteAt(data + 4, i));
  }
}

void tq1_0(const std::byte* data, std::int64_t blocks, float* out) {
  constexpr unsigned kPowers[] = {1, 3, 9, 27, 81};
  for (; blocks > 0; --blocks, data += 54) {
    const float scale = loadHalf(data + 52);
    const auto digits = [&](int offset, int bytes, int perByte) {
      for (int digit = 0; digit < perByte; ++digit, out += bytes)
        for (int i = 0; i < bytes; ++i)
          out[i] = scale * ternaryDigit(byteAt(data, offset + i), kPowers[digit]);
    };
    digits(0, 32, 5);
    digits(32, 16, 5);
    digits(48, 4, 4);
  }
}

void tq2_0(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 66) {
    const float scale = loadHalf(data + 64);
    for (int part = 0; part < 8; ++part, out += 32) {
      const std::byte* quants = data + part / 4 * 32;
      const int shift = part % 4 * 2;
      for (int i = 0; i < 32; ++i)
        out[i] = scale * static_cast<float>(static_cast<int>((byteAt(quants, i) >> shift) & 3) - 1);
    }
  }
}

}  // namespace decoscope::decoders
