#include "core/base/Rng.h"

namespace decoscope {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0], product1 = kMultiplier1 * counter[2];
    const auto high0 = static_cast<std::uint32_t>(product0 >> 32),
               high1 = static_cast<std::uint32_t>(product1 >> 32);
    counter = {high1 ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1), high0 ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

double uniform(const DrawContext& context, NodeId node, DrawPurpose purpose, std::uint32_t index) {
  // The stream, the purpose and the index share one counter word: 12, 4 and 16 bits.
  const std::uint32_t mixed =
      (context.stream << 20) ^ (static_cast<std::uint32_t>(purpose) << 16) ^ (index & 0xFFFF);
  const auto step = static_cast<std::uint64_t>(context.step);
  const auto block =
      philox({static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32),
              static_cast<std::uint32_t>(node), mixed},
             {static_cast<std::uint32_t>(context.seed), static_cast<std::uint32_t>(context.seed >> 32)});
  const std::uint64_t bits = (static_cast<std::uint64_t>(block[0]) << 21) ^ (block[1] >> 11);
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace decoscope
