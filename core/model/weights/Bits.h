// Loads from unaligned bytes: halves to floats, packed scales.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace decoscope {

static_assert(std::endian::native == std::endian::little, "weight files are read in place");

template <typename T>
inline T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// Exact, denormals and the payloads of NaNs included. Without branches, so that loops over it are vectorised.
inline float halfToFloat(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t magnitude = half & 0x7FFF;
  const std::uint32_t small =
      std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
  const std::uint32_t normal = (magnitude << 13) + (112u << 23);
  const std::uint32_t special = normal + (112u << 23);
  const std::uint32_t bits = magnitude < 0x400 ? small : magnitude < 0x7C00 ? normal : special;
  return std::bit_cast<float>(sign | bits);
}

inline float loadHalf(const std::byte* at) {
  return halfToFloat(load<std::uint16_t>(at));
}

inline unsigned byteAt(const std::byte* at, std::int64_t index) {
  return static_cast<unsigned>(at[index]);
}

inline int signedByteAt(const std::byte* at, std::int64_t index) {
  return static_cast<std::int8_t>(at[index]);
}

// Eight six-bit scales and eight six-bit minima in twelve bytes: the first four of each lie in the lower six
// bits of bytes 0–3 and 4–7, the others in nibbles of bytes 8–11 with their upper two bits on top of bytes
// 0–7.
struct ScaleAndMinimum {
  float scale, minimum;
};
inline ScaleAndMinimum sixBitPair(const std::byte* packed, int index) {
  unsigned scale, minimum;
  if (index < 4) {
    scale = byteAt(packed, index) & 63;
    minimum = byteAt(packed, index + 4) & 63;
  } else {
    scale = (byteAt(packed, index + 4) & 0xF) | (byteAt(packed, index - 4) >> 6) << 4;
    minimum = byteAt(packed, index + 4) >> 4 | (byteAt(packed, index) >> 6) << 4;
  }
  return {static_cast<float>(scale), static_cast<float>(minimum)};
}

}  // namespace decoscope
