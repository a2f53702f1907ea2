// Loads from unaligned bytes, and halves to floats.
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

}  // namespace decoscope
