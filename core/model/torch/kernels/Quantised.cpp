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

#include "core/model/torch/kernels/Tiles.h"

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

// A format gives the weights of eight successive k (a unit) of one vector of outputs, before scaling. The
// index within the unit is known when compiling, so that shifts are constants.
struct HalfUnit {
  static constexpr std::size_t kElements = 8 * kGroup;  // of storage a unit and group
  using Element = std::uint16_t;
  static const Element* Base(const PackedMatrix& m, std::size_t group) {
    return m.half.data() + group * m.inputs * kGroup;
  }
  const Element* at;
  HWY_INLINE void Load(const Element* unit, std::size_t vector) { at = unit + vector * kLanes; }
  template <std::size_t kIndex>
  HWY_INLINE FloatVector Get() const {
    return LoadHalf(at + kIndex * kGroup);
  }
};

struct ByteUnit {
  static constexpr std::size_t kElements = 8 * kGroup;
  using Element = std::int8_t;
  static const Element* Base(const PackedMatrix& m, std::size_t group) {
    return m.bytes8.data() + group * m.blocks() * kBlock * kGroup;
  }
  const Element* at;
  HWY_INLINE void Load(const Element* unit, std::size_t vector) { at = unit + vector * kLanes; }
  template <std::size_t kIndex>
  HWY_INLINE FloatVector Get() const {
    const FloatTag d;
    const hn::Rebind<std::int32_t, FloatTag> di;
    const hn::Rebind<std::int8_t, FloatTag> db;
    return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(db, at + kIndex * kGroup)));
  }
};

struct NibbleUnit {
  static constexpr std::size_t kElements = kGroup;
  using Element = std::uint32_t;
  static const Element* Base(const PackedMatrix& m, std::size_t group) {
    return m.words4.data() + group * m.blocks() * (kBlock / 8) * kGroup;
  }
  hn::Vec<hn::Rebind<std::uint32_t, FloatTag>> word;
  HWY_INLINE void Load(const Element* unit, std::size_t vector) {
    word = hn::LoadU(hn::Rebind<std::uint32_t, FloatTag>(), unit + vector * kLanes);
  }
  template <std::size_t kIndex>
  HWY_INLINE FloatVector Get() const {
    const FloatTag d;
    const hn::Rebind<std::int32_t, FloatTag> di;
    const hn::Rebind<std::uint32_t, FloatTag> du;
    const auto code = hn::ShiftRight<static_cast<int>(kIndex * 4)>(word);
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

template <int kTokens, std::size_t kParts>
using Sums = FloatVector[kTokens][kParts];

template <std::size_t kIndex, typename Unit, int kTokens, std::size_t kParts>
HWY_INLINE void Step(const Unit (&units)[kParts], const float* HWY_RESTRICT x, std::size_t stride,
                     Sums<kTokens, kParts>& sum) {
  const FloatTag d;
  FloatVector w[kParts];
  for (std::size_t i = 0; i < kParts; ++i) w[i] = units[i].template Get<kIndex>();
  for (int t = 0; t < kTokens; ++t) {
    const auto value = hn::Set(d, x[static_cast<std::size_t>(t) * stride + kIndex]);
    for (std::size_t i = 0; i < kParts; ++i) sum[t][i] = hn::MulAdd(w[i], value, sum[t][i]);
  }
}

// The first `count` k of a unit, even ones in one chain and odd ones in the other.
template <typename Unit, int kTokens, std::size_t kParts>
HWY_INLINE void AddUnit(const Unit (&units)[kParts], const float* HWY_RESTRICT x, std::size_t stride,
                        std::size_t count, Sums<kTokens, kParts>& even, Sums<kTokens, kParts>& odd) {
  Step<0>(units, x, stride, even);
  if (count > 1) Step<1>(units, x, stride, odd);
  if (count > 2) Step<2>(units, x, stride, even);
  if (count > 3) Step<3>(units, x, stride, odd);
  if (count > 4) Step<4>(units, x, stride, even);
  if (count > 5) Step<5>(units, x, stride, odd);
  if (count > 6) Step<6>(units, x, stride, even);
  if (count > 7) Step<7>(units, x, stride, odd);
}

// kTokens rows against kGroups groups.
template <typename Unit, Scaling kScaling, int kTokens, int kGroups>
void BlockTile(const PackedMatrix& m, const float* HWY_RESTRICT x, const float* HWY_RESTRICT sums,
               std::size_t row, std::size_t group, float* HWY_RESTRICT out, std::size_t outStride) {
  const FloatTag d;
  constexpr std::size_t kParts = static_cast<std::size_t>(kGroups) * kVectors;
  Sums<kTokens, kParts> total;
  for (auto& line : total)
    for (auto& part : line) part = hn::Zero(d);
  const std::size_t blocks = m.blocks(), stride = m.inputs;
  const typename Unit::Element* bases[kGroups];
  for (int g = 0; g < kGroups; ++g) bases[g] = Unit::Base(m, group + static_cast<std::size_t>(g));
  x += row * m.inputs;
  sums += row * blocks;
  for (std::size_t block = 0; block < blocks; ++block) {
    Sums<kTokens, kParts> even, odd;
    for (int t = 0; t < kTokens; ++t)
      for (std::size_t i = 0; i < kParts; ++i) even[t][i] = odd[t][i] = hn::Zero(d);
    const std::size_t begin = block * kBlock, left = m.inputs - begin;
    const std::size_t unit = begin / 8 * Unit::kElements;
    const auto load = [&](Unit(&units)[kParts], std::size_t u) HWY_ATTR {
      for (std::size_t i = 0; i < kParts; ++i)
        units[i].Load(bases[i / kVectors] + unit + u * Unit::kElements, i % kVectors);
    };
    Unit units[kParts];
    if (left >= kBlock)
      for (std::size_t u = 0; u < kBlock / 8; ++u) {
        load(units, u);
        AddUnit<Unit, kTokens, kParts>(units, x + begin + 8 * u, stride, 8, even, odd);
      }
    else
      for (std::size_t u = 0; 8 * u < left; ++u) {
        load(units, u);
        AddUnit<Unit, kTokens, kParts>(units, x + begin + 8 * u, stride, left - 8 * u, even, odd);
      }
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

template <typename Unit, Scaling kScaling>
void BlockRows(const PackedMatrix& m, const float* x, const float* sums, std::size_t rows, float* out,
               std::size_t outStride, std::size_t group, std::size_t end) {
  if (rows == 1)  // four streams keep the memory busy
    for (; group + 4 <= end; group += 4)
      BlockTile<Unit, kScaling, 1, 4>(m, x, sums, 0, group, out, outStride);
  for (; group < end; ++group)
    inEvenTiles<8>(rows, [&](auto count, std::size_t row) {
      BlockTile<Unit, kScaling, decltype(count)::value, 1>(m, x, sums, row, group, out, outStride);
    });
}

void MultiplyBlocks(const PackedMatrix& m, const float* x, const float* sums, std::size_t rows, float* out,
                    std::size_t outStride, std::size_t first, std::size_t end) {
  if (m.format == WeightFormat::f16)
    BlockRows<HalfUnit, Scaling::none>(m, x, sums, rows, out, outStride, first, end);
  else if (m.format == WeightFormat::q8)
    BlockRows<ByteUnit, Scaling::scale>(m, x, sums, rows, out, outStride, first, end);
  else
    BlockRows<NibbleUnit, Scaling::scaleAndMinimum>(m, x, sums, rows, out, outStride, first, end);
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
