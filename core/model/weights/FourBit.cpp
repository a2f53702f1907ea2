#include "core/model/weights/FourBit.h"

#include "core/model/weights/Bits.h"

namespace decoscope {

namespace {

// 32 codes: byte i holds code i in its low half and code i + 16 in its high half.
void splitHalves(const std::byte* bytes, std::uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<std::uint8_t>(bytes[i]) & 15;
    codes[i + 16] = static_cast<std::uint8_t>(bytes[i]) >> 4;
  }
}

constexpr std::int64_t kSuperBlock = 256, kSuperBytes = 144;

void readSuperBlock(const std::byte* block, FourBitRow& row, std::size_t at) {
  const float scale = loadHalf(block), minimum = loadHalf(block + 2);
  const std::byte* quants = block + 16;
  // Sub-blocks 2 i and 2 i + 1 are the low and the high halves of the same 32 bytes.
  for (int sub = 0; sub < 8; ++sub) {
    const auto [subScale, subMinimum] = sixBitPair(block + 4, sub);
    row.scales[(at + static_cast<std::size_t>(sub) * 32) / 32] = scale * subScale;
    row.minima[(at + static_cast<std::size_t>(sub) * 32) / 32] = -minimum * subMinimum;
    for (int i = 0; i < 32; ++i) {
      const auto byte = static_cast<std::uint8_t>(quants[sub / 2 * 32 + i]);
      row.codes[at + static_cast<std::size_t>(sub * 32 + i)] =
          static_cast<std::uint8_t>(sub % 2 ? byte >> 4 : byte & 15);
    }
  }
}

}  // namespace

bool holdsFourBitRows(const WeightTensor& tensor) {
  return tensor.type == ElementType::q4_0 || tensor.type == ElementType::q4_1 ||
         tensor.type == ElementType::q4K;
}

Status readFourBitRow(const WeightTensor& tensor, std::int64_t begin, std::int64_t count, FourBitRow& row) {
  const bool super = tensor.type == ElementType::q4K, shifted = tensor.type == ElementType::q4_1;
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
    row.scales[at / 32] = loadHalf(block);
    row.minima[at / 32] = shifted ? loadHalf(block + 2) : -8 * row.scales[at / 32];
    splitHalves(block + (shifted ? 4 : 2), row.codes.data() + at);
  }
  return {};
}

}  // namespace decoscope
