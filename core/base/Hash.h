// Hashes that tell things apart and are no defence.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace decoscope {

// FNV-1a, byte by byte: begins with kFnvStart.
inline constexpr std::uint64_t kFnvStart = 1469598103934665603ull;
constexpr std::uint64_t fnvStep(std::uint64_t hash, unsigned char byte) {
  return (hash ^ byte) * 1099511628211ull;
}
constexpr std::uint64_t fnv(std::string_view bytes, std::uint64_t hash = kFnvStart) {
  for (const char byte : bytes) hash = fnvStep(hash, static_cast<unsigned char>(byte));
  return hash;
}
// "fnv1a:0123…", without leading zeros: an identity for small local files.
std::string fnvFingerprint(std::string_view bytes);

// The finaliser of splitmix64 (S. Vigna, public domain description): a bijection that mixes every bit.
constexpr std::uint64_t mixBits(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace decoscope
