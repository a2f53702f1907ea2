// Products with weights in half precision, 8 and 4 bits; inputs and sums are f32.
//
// A block of 32 inputs is summed by itself in two chains (even and odd k), then scaled and added to the
// output, in the same order whatever the tile: the promise of Kernels.h holds.
#include "core/model/torch/kernels/Kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/torch/kernels/Quantised.cpp"
// clang-format off: the order matters to Highway
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace decoscope::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, kGroup>;
using FloatVector = hn::Vec<FloatTag>;
constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kVectors = kGroup / kLanes;

HWY_INLINE FloatVector LoadHalf(const std::uint16_t* at) {
  const FloatTag d;
  const hn::Rebind<hwy::float16_t, FloatTag> dh;
  return hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(at)));
}

// The weights of one k of one vector of outputs, before scaling.
struct HalfWeights {
  const std::uint16_t* base;
  std::size_t inputs;
  HalfWeights(const PackedMatrix& m, std::size_t group)
      : base(m.half.data() + group * m.inputs * kGroup), inputs(m.inputs) {}
  HWY_INLINE FloatVector At(std::size_t k, std::size_t vector) const {
    return LoadHalf(base + k * kGroup + vector * kLanes);
  }
};

struct ByteWeights {
  const std::int8_t* base;
  ByteWeights(const PackedMatrix& m, std::size_t group)
      : base(m.bytes8.data() + group * m.blocks() * kBlock * kGroup) {}
  HWY_INLINE FloatVector At(std::size_t k, std::size_t vector) const {
    const FloatTag d;
    const hn::Rebind<std::int32_t, FloatTag> di;
    const hn::Rebind<std::int8_t, FloatTag> db;
    return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(db, base + k * kGroup + vector * kLanes)));
  }
};

struct NibbleWeights {
  const std::uint32_t* base;
  NibbleWeights(const PackedMatrix& m, std::size_t group)
      : base(m.words4.data() + group * m.blocks() * (kBlock / 8) * kGroup) {}
  HWY_INLINE FloatVector At(std::size_t k, std::size_t vector) const {
    const FloatTag d;
    const hn::Rebind<std::int32_t, FloatTag> di;
    const hn::Rebind<std::uint32_t, FloatTag> du;
    const auto word = hn::LoadU(du, base + k / 8 * kGroup + vector * kLanes);
    const auto code = hn::ShiftRightSame(word, static_cast<int>(k % 8 * 4));
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
    // The permutation looks at the lowest four bits only, so it is mask and conversion in one.
    const auto table = hn::ConvertTo(d, hn::Iota(di, 0));
    return FloatVector{_mm512_permutexvar_ps(code.raw, table.raw)};
#else
    return hn::ConvertTo(d, hn::BitCast(di, hn::And(code, hn::Set(du, 15u))));
#endif
  }
};

enum class Scaling { none, scale, scaleAndMinimum };

// kTokens rows against kGroups groups.
template <typename Weights, Scaling kScaling, int kTokens, int kGroups>
void BlockTile(const PackedMatrix& m, const float* HWY_RESTRICT x, const float* HWY_RESTRICT sums,
               std::size_t row, std::size_t group, float* HWY_RESTRICT out, std::size_t outStride) {
  const FloatTag d;
  constexpr std::size_t kParts = static_cast<std::size_t>(kGroups) * kVectors;
  FloatVector total[kTokens][kParts];
  for (auto& line : total)
    for (auto& part : line) part = hn::Zero(d);
  const std::size_t blocks = m.blocks();
  x += row * m.inputs;
  sums += row * blocks;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t begin = block * kBlock, end = std::min(m.inputs, begin + kBlock);
    FloatVector even[kTokens][kParts], odd[kTokens][kParts];
    for (int t = 0; t < kTokens; ++t)
      for (std::size_t i = 0; i < kParts; ++i) even[t][i] = odd[t][i] = hn::Zero(d);
    const auto step = [&](std::size_t k, FloatVector(&sum)[kTokens][kParts]) HWY_ATTR {
      FloatVector w[kParts];
      for (int g = 0; g < kGroups; ++g) {
        const Weights weights(m, group + static_cast<std::size_t>(g));
        for (std::size_t v = 0; v < kVectors; ++v)
          w[static_cast<std::size_t>(g) * kVectors + v] = weights.At(k, v);
      }
      for (int t = 0; t < kTokens; ++t) {
        const auto value = hn::Set(d, x[static_cast<std::size_t>(t) * m.inputs + k]);
        for (std::size_t i = 0; i < kParts; ++i) sum[t][i] = hn::MulAdd(w[i], value, sum[t][i]);
      }
    };
    std::size_t k = begin;
    if (end - begin == kBlock) {
      // The whole block unrolled: shifts become constants.
#pragma GCC unroll 16
      for (std::size_t pair = 0; pair < kBlock / 2; ++pair) {
        step(begin + 2 * pair, even);
        step(begin + 2 * pair + 1, odd);
      }
      k = end;
    }
    for (; k + 1 < end; k += 2) {
      step(k, even);
      step(k + 1, odd);
    }
    if (k < end) step(k, even);
    for (int g = 0; g < kGroups; ++g)
      for (std::size_t v = 0; v < kVectors; ++v) {
        const std::size_t i = static_cast<std::size_t>(g) * kVectors + v;
        const std::size_t at = (group + static_cast<std::size_t>(g)) * blocks + block;
        if constexpr (kScaling == Scaling::none) {
          for (int t = 0; t < kTokens; ++t)
            total[t][i] = hn::Add(total[t][i], hn::Add(even[t][i], odd[t][i]));
        } else if constexpr (kScaling == Scaling::scale) {
          const auto scale = LoadHalf(m.scales.data() + at * kGroup + v * kLanes);
          for (int t = 0; t < kTokens; ++t)
            total[t][i] = hn::MulAdd(hn::Add(even[t][i], odd[t][i]), scale, total[t][i]);
        } else {
          const auto scale = LoadHalf(m.scales.data() + at * 2 * kGroup + v * kLanes),
                     minimum = LoadHalf(m.scales.data() + (at * 2 + 1) * kGroup + v * kLanes);
          for (int t = 0; t < kTokens; ++t) {
            const auto sum = hn::Set(d, sums[static_cast<std::size_t>(t) * blocks + block]);
            total[t][i] =
                hn::MulAdd(minimum, sum, hn::MulAdd(hn::Add(even[t][i], odd[t][i]), scale, total[t][i]));
          }
        }
      }
  }
  for (int t = 0; t < kTokens; ++t) {
    float* line = out + (row + static_cast<std::size_t>(t)) * outStride;
    for (std::size_t i = 0; i < kParts; ++i) {
      const std::size_t at = group * kGroup + i * kLanes;
      if (at + kLanes <= m.outputs)
        hn::StoreU(total[t][i], d, line + at);
      else if (at < m.outputs) {
        float lanes[kLanes];
        hn::StoreU(total[t][i], d, lanes);
        std::copy(lanes, lanes + (m.outputs - at), line + at);
      }
    }
  }
}

template <typename Weights, Scaling kScaling>
void BlockRows(const PackedMatrix& m, const float* x, const float* sums, std::size_t rows, float* out,
               std::size_t outStride, std::size_t group, std::size_t end) {
  if (rows == 1)
    for (; group + 4 <= end; group += 4)
      BlockTile<Weights, kScaling, 1, 4>(m, x, sums, 0, group, out, outStride);
  for (; group < end; ++group) {
    std::size_t row = 0;
    for (; row + 8 <= rows; row += 8)
      BlockTile<Weights, kScaling, 8, 1>(m, x, sums, row, group, out, outStride);
    for (; row + 4 <= rows; row += 4)
      BlockTile<Weights, kScaling, 4, 1>(m, x, sums, row, group, out, outStride);
    for (; row < rows; ++row) BlockTile<Weights, kScaling, 1, 1>(m, x, sums, row, group, out, outStride);
  }
}

void MultiplyBlocks(const PackedMatrix& m, const float* x, const float* sums, std::size_t rows, float* out,
                    std::size_t outStride, std::size_t first, std::size_t end) {
  if (m.format == WeightFormat::f16)
    BlockRows<HalfWeights, Scaling::none>(m, x, sums, rows, out, outStride, first, end);
  else if (m.format == WeightFormat::q8)
    BlockRows<ByteWeights, Scaling::scale>(m, x, sums, rows, out, outStride, first, end);
  else
    BlockRows<NibbleWeights, Scaling::scaleAndMinimum>(m, x, sums, rows, out, outStride, first, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace decoscope::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace decoscope::kernels {

HWY_EXPORT(MultiplyBlocks);

void blockSums(const float* x, std::size_t rows, std::size_t inputs, float* out) {
  const std::size_t blocks = (inputs + kBlock - 1) / kBlock;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t block = 0; block < blocks; ++block) {
      float sum = 0;
      for (std::size_t k = block * kBlock; k < std::min(inputs, (block + 1) * kBlock); ++k)
        sum += x[row * inputs + k];
      out[row * blocks + block] = sum;
    }
}

void multiplyBlocks(const PackedMatrix& weights, const float* x, const float* sums, std::size_t rows,
                    float* out, std::size_t outStride, std::size_t first, std::size_t end) {
  HWY_DYNAMIC_DISPATCH(MultiplyBlocks)(weights, x, sums, rows, out, outStride, first, end);
}

}  // namespace decoscope::kernels
#endif
