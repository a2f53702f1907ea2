#include <array>
#include <cmath>
#include <limits>

#include "core/model/weights/Bits.h"
#include "core/model/weights/Decoders.h"

namespace decoscope::decoders {

namespace {

template <typename T>
void convert(const std::byte* data, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = static_cast<float>(load<T>(data + i * static_cast<std::int64_t>(sizeof(T))));
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float powerOfTwo(int exponent) {
  return std::ldexp(1.0f, exponent);
}

// An eight-bit float with a sign, `mantissa` bits of fraction and this bias; the caller handles what is
// special.
float eightBits(unsigned byte, int mantissa, int bias) {
  const int fraction = static_cast<int>(byte & ((1u << mantissa) - 1)),
            exponent = static_cast<int>((byte & 0x7F) >> mantissa);
  const float magnitude =
      exponent == 0 ? static_cast<float>(fraction) * powerOfTwo(1 - bias - mantissa)
                    : static_cast<float>((1 << mantissa) + fraction) * powerOfTwo(exponent - bias - mantissa);
  return (byte & 0x80) ? -magnitude : magnitude;
}

template <typename Rule>
std::array<float, 256> tableOf(Rule rule) {
  std::array<float, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) table[byte] = rule(byte);
  return table;
}

void lookUp(const std::array<float, 256>& table, const std::byte* data, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = table[byteAt(data, i)];
}

}  // namespace

void f32(const std::byte* data, std::int64_t blocks, float* out) {
  std::memcpy(out, data, static_cast<std::size_t>(blocks) * sizeof(float));
}

void f16(const std::byte* data, std::int64_t blocks, float* out) {
  for (std::int64_t i = 0; i < blocks; ++i) out[i] = loadHalf(data + i * 2);
}

void bf16(const std::byte* data, std::int64_t blocks, float* out) {
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(load<std::uint16_t>(data + i * 2)) << 16;
    std::memcpy(out + i, &bits, sizeof bits);
  }
}

void f64(const std::byte* data, std::int64_t blocks, float* out) {
  convert<double>(data, blocks, out);
}
void i8(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::int8_t>(data, blocks, out);
}
void i16(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::int16_t>(data, blocks, out);
}
void i32(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::int32_t>(data, blocks, out);
}
void i64(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::int64_t>(data, blocks, out);
}
void u8(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::uint8_t>(data, blocks, out);
}
void u16(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::uint16_t>(data, blocks, out);
}
void u32(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::uint32_t>(data, blocks, out);
}
void u64(const std::byte* data, std::int64_t blocks, float* out) {
  convert<std::uint64_t>(data, blocks, out);
}

// OCP 8-bit floats. E4M3 has no infinities and one NaN per sign; E5M2 is the upper half of an IEEE half.
void f8E4M3(const std::byte* data, std::int64_t blocks, float* out) {
  static const auto table = tableOf([](unsigned byte) {
    return (byte & 0x7F) == 0x7F ? std::copysign(kNan, (byte & 0x80) ? -1.0f : 1.0f) : eightBits(byte, 3, 7);
  });
  lookUp(table, data, blocks, out);
}
void f8E5M2(const std::byte* data, std::int64_t blocks, float* out) {
  static const auto table =
      tableOf([](unsigned byte) { return halfToFloat(static_cast<std::uint16_t>(byte << 8)); });
  lookUp(table, data, blocks, out);
}

// The "finite, NaN, unsigned zero" variants: a bias of one more, and 0x80 is the only NaN.
void f8E4M3Fnuz(const std::byte* data, std::int64_t blocks, float* out) {
  static const auto table =
      tableOf([](unsigned byte) { return byte == 0x80 ? -kNan : eightBits(byte, 3, 8); });
  lookUp(table, data, blocks, out);
}
void f8E5M2Fnuz(const std::byte* data, std::int64_t blocks, float* out) {
  static const auto table =
      tableOf([](unsigned byte) { return byte == 0x80 ? -kNan : eightBits(byte, 2, 16); });
  lookUp(table, data, blocks, out);
}

// A bare exponent: the scales of microscaled blocks.
void f8E8M0(const std::byte* data, std::int64_t blocks, float* out) {
  static const auto table =
      tableOf([](unsigned byte) { return byte == 0xFF ? kNan : powerOfTwo(static_cast<int>(byte) - 127); });
  lookUp(table, data, blocks, out);
}

}  // namespace decoscope::decoders
