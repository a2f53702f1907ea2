#include "core/model/weights/Bits.h"
#include "core/model/weights/Decoders.h"

namespace decoscope::decoders {

namespace {

constexpr int kLength = 32, kHalf = 16;

// Nibbles lie in 16 bytes: the low ones are the first 16 weights, the high ones the rest.
template <typename Value>
void eachNibble(const std::byte* quants, float* out, Value value) {
  for (int i = 0; i < kHalf; ++i) out[i] = value(byteAt(quants, i) & 0xF, i);
  for (int i = 0; i < kHalf; ++i) out[i + kHalf] = value(byteAt(quants, i) >> 4, i + kHalf);
}

}  // namespace

void q4_0(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 18, out += kLength) {
    const float scale = loadHalf(data);
    eachNibble(data + 2, out,
               [&](unsigned q, int) { return scale * static_cast<float>(static_cast<int>(q) - 8); });
  }
}

void q4_1(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 20, out += kLength) {
    const float scale = loadHalf(data), minimum = loadHalf(data + 2);
    eachNibble(data + 4, out,
               [&](unsigned q, int) { return scale * static_cast<float>(static_cast<int>(q)) + minimum; });
  }
}

void q5_0(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 22, out += kLength) {
    const float scale = loadHalf(data);
    const auto high = load<std::uint32_t>(data + 2);
    eachNibble(data + 6, out, [&](unsigned q, int i) {
      return scale * static_cast<float>(static_cast<int>(q | ((high >> i) & 1) << 4) - 16);
    });
  }
}

void q5_1(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 24, out += kLength) {
    const float scale = loadHalf(data), minimum = loadHalf(data + 2);
    const auto high = load<std::uint32_t>(data + 4);
    eachNibble(data + 8, out, [&](unsigned q, int i) {
      return scale * static_cast<float>(static_cast<int>(q | ((high >> i) & 1) << 4)) + minimum;
    });
  }
}

void q8_0(const std::byte* data, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, data += 34, out += kLength) {
    const float scale = loadHalf(data);
    for (int i = 0; i < kLength; ++i) out[i] = static_cast<float>(signedByteAt(data + 2, i)) * scale;
  }
}

}  // namespace decoscope::decoders
