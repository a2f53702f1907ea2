#include "core/model/torch/kernels/Kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/torch/kernels/Kernels.cpp"
// clang-format off: the order matters to Highway
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/model/torch/kernels/Tiles.h"

HWY_BEFORE_NAMESPACE();
namespace decoscope::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, kGroup>;
using FloatVector = hn::Vec<FloatTag>;
constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kVectors = kGroup / kLanes;  // per group

// Accumulates kTokens rows against kGroups groups. Each accumulator runs over k alone, so its value does not
// depend on the tile.
template <int kTokens, int kGroups>
HWY_INLINE void TileFull(const float* HWY_RESTRICT x, std::size_t inputs, const float* HWY_RESTRICT weights,
                         FloatVector (&sum)[kTokens][kGroups * kVectors]) {
  const FloatTag d;
  for (auto& row : sum)
    for (auto& vector : row) vector = hn::Zero(d);
  const std::size_t groupStride = inputs * kGroup;
  for (std::size_t k = 0; k < inputs; ++k) {
    FloatVector w[kGroups * kVectors];
    for (int g = 0; g < kGroups; ++g)
      for (std::size_t v = 0; v < kVectors; ++v)
        w[static_cast<std::size_t>(g) * kVectors + v] =
            hn::LoadU(d, weights + static_cast<std::size_t>(g) * groupStride + k * kGroup + v * kLanes);
    for (int t = 0; t < kTokens; ++t) {
      const auto value = hn::Set(d, x[static_cast<std::size_t>(t) * inputs + k]);
      for (std::size_t i = 0; i < kGroups * kVectors; ++i) sum[t][i] = hn::MulAdd(w[i], value, sum[t][i]);
    }
  }
}

// The same over bf16 pairs, without a native dot product: the even k of a pair first, then the odd one.
template <int kTokens, int kGroups>
HWY_INLINE void TileHalf(const std::uint16_t* HWY_RESTRICT x, std::size_t pairs,
                         const std::uint16_t* HWY_RESTRICT weights,
                         FloatVector (&sum)[kTokens][kGroups * kVectors]) {
  const FloatTag d;
  const hn::Rebind<std::uint32_t, FloatTag> du;
  for (auto& row : sum)
    for (auto& vector : row) vector = hn::Zero(d);
  const std::size_t groupStride = pairs * kGroup * 2;
  const auto high = hn::Set(du, 0xFFFF0000u);
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    FloatVector even[kGroups * kVectors], odd[kGroups * kVectors];
    for (int g = 0; g < kGroups; ++g)
      for (std::size_t v = 0; v < kVectors; ++v) {
        const auto* at =
            weights + static_cast<std::size_t>(g) * groupStride + (pair * kGroup + v * kLanes) * 2;
        const auto bits = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(at));
        const std::size_t i = static_cast<std::size_t>(g) * kVectors + v;
        even[i] = hn::BitCast(d, hn::ShiftLeft<16>(bits));
        odd[i] = hn::BitCast(d, hn::And(bits, high));
      }
    for (int t = 0; t < kTokens; ++t) {
      std::uint32_t bits;
      std::memcpy(&bits, x + (static_cast<std::size_t>(t) * pairs + pair) * 2, sizeof bits);
      const auto both = hn::Set(du, bits);
      const auto first = hn::BitCast(d, hn::ShiftLeft<16>(both)),
                 second = hn::BitCast(d, hn::And(both, high));
      for (std::size_t i = 0; i < kGroups * kVectors; ++i)
        sum[t][i] = hn::MulAdd(odd[i], second, hn::MulAdd(even[i], first, sum[t][i]));
    }
  }
}

template <int kTokens, int kGroups>
HWY_INLINE void StoreTile(const FloatVector (&sum)[kTokens][kGroups * kVectors], float* out,
                          std::size_t outStride, std::size_t firstOutput, std::size_t outputs) {
  const FloatTag d;
  for (int t = 0; t < kTokens; ++t) {
    float* row = out + static_cast<std::size_t>(t) * outStride;
    for (std::size_t i = 0; i < kGroups * kVectors; ++i) {
      const std::size_t at = firstOutput + i * kLanes;
      if (at + kLanes <= outputs)
        hn::StoreU(sum[t][i], d, row + at);
      else if (at < outputs) {
        float lanes[kLanes];
        hn::StoreU(sum[t][i], d, lanes);
        std::copy(lanes, lanes + (outputs - at), row + at);
      }
    }
  }
}

template <int kTokens, int kGroups>
void Tile(const PackedMatrix& m, const float* x, const std::uint16_t* xHalf, std::size_t row,
          std::size_t group, float* out, std::size_t outStride) {
  FloatVector sum[kTokens][kGroups * kVectors];
  if (m.format == WeightFormat::bf16) {
    const std::size_t pairs = (m.inputs + 1) / 2;
    TileHalf<kTokens, kGroups>(xHalf + row * pairs * 2, pairs, m.half.data() + group * pairs * kGroup * 2,
                               sum);
  } else {
    TileFull<kTokens, kGroups>(x + row * m.inputs, m.inputs, m.full.data() + group * m.inputs * kGroup, sum);
  }
  StoreTile<kTokens, kGroups>(sum, out + row * outStride, outStride, group * kGroup, m.outputs);
}

template <int kGroups>
void Rows(const PackedMatrix& m, const float* x, const std::uint16_t* xHalf, std::size_t rows,
          std::size_t group, float* out, std::size_t outStride) {
  inEvenTiles<8>(rows, [&](auto count, std::size_t row) {
    Tile<decltype(count)::value, kGroups>(m, x, xHalf, row, group, out, outStride);
  });
}

void Multiply(const PackedMatrix& m, const float* x, const std::uint16_t* xHalf, std::size_t rows, float* out,
              std::size_t outStride, std::size_t first, std::size_t end) {
  std::size_t group = first;
  if (rows == 1)  // four streams keep the memory busy
    for (; group + 4 <= end; group += 4) Tile<1, 4>(m, x, xHalf, 0, group, out, outStride);
  for (; group + 2 <= end; group += 2) Rows<2>(m, x, xHalf, rows, group, out, outStride);
  for (; group < end; ++group) Rows<1>(m, x, xHalf, rows, group, out, outStride);
}

void RmsNorm(const float* x, const float* weight, float epsilon, std::size_t width, float* out) {
  const FloatTag d;
  auto sum = hn::Zero(d);
  std::size_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const auto value = hn::LoadU(d, x + i);
    sum = hn::MulAdd(value, value, sum);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < width; ++i) total += x[i] * x[i];
  const float factor = 1.0f / std::sqrt(total / static_cast<float>(width) + epsilon);
  const auto scale = hn::Set(d, factor);
  for (i = 0; i + kLanes <= width; i += kLanes)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), scale), hn::LoadU(d, weight + i)), d, out + i);
  for (; i < width; ++i) out[i] = x[i] * factor * weight[i];
}

void Add(const float* values, float factor, std::size_t size, float* out) {
  const FloatTag d;
  const auto scale = hn::Set(d, factor);
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes)
    hn::StoreU(hn::MulAdd(hn::LoadU(d, values + i), scale, hn::LoadU(d, out + i)), d, out + i);
  for (; i < size; ++i) out[i] = std::fma(values[i], factor, out[i]);
}

void Rotate(float* HWY_RESTRICT values, const float* HWY_RESTRICT cosine, const float* HWY_RESTRICT sine,
            std::size_t half) {
  const FloatTag d;
  std::size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const auto a = hn::LoadU(d, values + i), b = hn::LoadU(d, values + half + i),
               c = hn::LoadU(d, cosine + i), s = hn::LoadU(d, sine + i);
    hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), d, values + i);
    hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), d, values + half + i);
  }
  for (; i < half; ++i) {
    const float a = values[i], b = values[half + i];
    values[i] = a * cosine[i] - b * sine[i];
    values[half + i] = b * cosine[i] + a * sine[i];
  }
}

// Plain code that the compiler vectorises for each target: round to nearest even, NaN kept quiet.
void RoundToBfloat16(const float* HWY_RESTRICT x, std::size_t size, std::uint16_t* HWY_RESTRICT out) {
  for (std::size_t i = 0; i < size; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    const std::uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    out[i] = static_cast<std::uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
  }
}

// x / (1 + exp(−factor · x)) with the exponent inside the range of Exp.
HWY_INLINE FloatVector Sigmoid(FloatVector x) {
  const FloatTag d;
  const auto one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(x), hn::Set(d, 88.0f)))));
}

HWY_INLINE FloatVector ActivateVector(Activation kind, FloatVector x) {
  const FloatTag d;
  switch (kind) {
    case Activation::silu:
      return hn::Mul(x, Sigmoid(x));
    case Activation::geluTanh: {
      // 0.5 (1 + tanh u) is the sigmoid of 2u.
      const auto cubic = hn::Mul(hn::Mul(x, x), x);
      const auto u = hn::MulAdd(cubic, hn::Set(d, 0.044715f), x);
      return hn::Mul(x, Sigmoid(hn::Mul(u, hn::Set(d, 1.5957691216057308f))));
    }
    case Activation::relu:
      return hn::Max(x, hn::Zero(d));
    default: {
      float lanes[kLanes];
      hn::StoreU(x, d, lanes);
      for (float& value : lanes) value = 0.5f * value * (1 + std::erf(value * 0.70710678118654752f));
      return hn::LoadU(d, lanes);
    }
  }
}

HWY_INLINE FloatVector ClampedSwish(FloatVector gate, FloatVector up) {
  const FloatTag d;
  const auto limit = hn::Set(d, 7.0f);
  const auto g = hn::Min(gate, limit), u = hn::Max(hn::Min(up, limit), hn::Neg(limit));
  const auto glu = hn::Mul(g, Sigmoid(hn::Mul(g, hn::Set(d, 1.702f))));
  return hn::MulAdd(u, glu, glu);
}

void Activate(Activation kind, const float* gate, const float* up, std::size_t width, float* out) {
  const FloatTag d;
  const auto apply = [&](const float* g, const float* u, float* result) HWY_ATTR {
    const auto value = hn::LoadU(d, g);
    if (!u)
      hn::StoreU(ActivateVector(kind, value), d, result);
    else if (kind == Activation::clampedSwish)
      hn::StoreU(ClampedSwish(value, hn::LoadU(d, u)), d, result);
    else
      hn::StoreU(hn::Mul(ActivateVector(kind, value), hn::LoadU(d, u)), d, result);
  };
  std::size_t i = 0;
  for (; i + kLanes <= width; i += kLanes) apply(gate + i, up ? up + i : nullptr, out + i);
  if (i < width) {
    float g[kLanes] = {}, u[kLanes] = {}, r[kLanes];
    std::copy(gate + i, gate + width, g);
    if (up) std::copy(up + i, up + width, u);
    apply(g, up ? u : nullptr, r);
    std::copy(r, r + (width - i), out + i);
  }
}

void LayerNorm(const float* x, const float* weight, const float* bias, float epsilon, std::size_t width,
               float* out) {
  // Plain loops: the sums run in one order, in double where cancellation would hurt.
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(width);
  double squares = 0;
  for (std::size_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const auto factor = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(width) + epsilon));
  const auto centre = static_cast<float>(mean);
  for (std::size_t i = 0; i < width; ++i)
    out[i] = (x[i] - centre) * factor * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
}

Summary Summarise(const float* row, std::size_t size) {
  const FloatTag d;
  Summary summary;
  auto top = hn::Set(d, -INFINITY);
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) top = hn::Max(top, hn::LoadU(d, row + i));
  float largest = hn::GetLane(hn::MaxOfLanes(d, top));
  for (; i < size; ++i) largest = std::max(largest, row[i]);
  summary.largest = largest;
  const auto shift = hn::Set(d, largest), floor = hn::Set(d, -200.0f);
  // Partial sums of a few hundred terms keep single precision exact enough; the rest is double.
  constexpr std::size_t kChunk = 512;
  for (std::size_t begin = 0; begin < size; begin += kChunk) {
    const std::size_t end = std::min(size, begin + kChunk);
    auto sum = hn::Zero(d), weighted = hn::Zero(d);
    std::size_t j = begin;
    for (; j + kLanes <= end; j += kLanes) {
      const auto raw = hn::Sub(hn::LoadU(d, row + j), shift);
      // A comparison with NaN is false, so a NaN stays one; −∞ becomes a finite value whose exponential is 0.
      const auto x = hn::IfThenElse(hn::Lt(raw, floor), floor, raw);
      const auto e = hn::Exp(d, x);
      const auto checked = hn::IfThenElse(hn::IsNaN(x), x, e);
      sum = hn::Add(sum, checked);
      weighted = hn::MulAdd(checked, x, weighted);
    }
    summary.sum += hn::GetLane(hn::SumOfLanes(d, sum));
    summary.weighted += hn::GetLane(hn::SumOfLanes(d, weighted));
    for (; j < end; ++j) {
      const double x = std::isnan(row[j]) ? NAN : std::max(-200.0, static_cast<double>(row[j]) - largest);
      summary.sum += std::exp(x);
      summary.weighted += std::exp(x) * x;
    }
  }
  return summary;
}

float Highest(const float* row, std::size_t size) {
  const FloatTag d;
  auto top = hn::Set(d, -INFINITY);
  auto clean = hn::FirstN(d, kLanes);  // lanes that have met no NaN
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const auto x = hn::LoadU(d, row + i);
    clean = hn::And(clean, hn::Eq(x, x));
    top = hn::Max(top, x);
  }
  float highest = hn::GetLane(hn::MaxOfLanes(d, top));
  bool bad = !hn::AllTrue(d, clean);
  for (; i < size; ++i) {
    bad |= std::isnan(row[i]);
    highest = std::max(highest, row[i]);
  }
  return bad ? NAN : highest;
}

// Whether any of the next kLanes values exceeds the bound.
bool AnyAbove(const float* row, float bound) {
  const FloatTag d;
  return !hn::AllFalse(d, hn::Gt(hn::LoadU(d, row), hn::Set(d, bound)));
}
std::size_t Lanes() {
  return kLanes;
}

void Largest(const float* row, std::size_t size, std::size_t k, std::vector<TokenId>& tokens) {
  tokens.clear();
  if (k == 0) return;
  const auto better = [row](TokenId a, TokenId b) {
    const float x = row[static_cast<std::size_t>(a)], y = row[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  float bound = -INFINITY;
  const auto offer = [&](std::size_t i) {
    if (tokens.size() < k) {
      tokens.push_back(static_cast<TokenId>(i));
      std::push_heap(tokens.begin(), tokens.end(), better);
    } else if (row[i] > bound) {
      std::pop_heap(tokens.begin(), tokens.end(), better);
      tokens.back() = static_cast<TokenId>(i);
      std::push_heap(tokens.begin(), tokens.end(), better);
    } else {
      return;
    }
    if (tokens.size() == k) bound = row[static_cast<std::size_t>(tokens.front())];
  };
  std::size_t i = 0;
  for (; i < size && tokens.size() < k; ++i) offer(i);
  for (; i + kLanes <= size; i += kLanes)
    if (AnyAbove(row + i, bound))
      for (std::size_t j = i; j < i + kLanes; ++j) offer(j);
  for (; i < size; ++i) offer(i);
  std::sort(tokens.begin(), tokens.end(), better);
}

}  // namespace HWY_NAMESPACE
}  // namespace decoscope::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace decoscope::kernels {

HWY_EXPORT(Multiply);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(Activate);
HWY_EXPORT(LayerNorm);
HWY_EXPORT(Add);
HWY_EXPORT(Rotate);
HWY_EXPORT(RoundToBfloat16);
HWY_EXPORT(Summarise);
HWY_EXPORT(Highest);
HWY_EXPORT(Largest);

void roundToBfloat16(const float* x, std::size_t rows, std::size_t inputs, std::uint16_t* out) {
  const std::size_t padded = (inputs + 1) / 2 * 2;
  for (std::size_t row = 0; row < rows; ++row) {
    HWY_DYNAMIC_DISPATCH(RoundToBfloat16)(x + row * inputs, inputs, out + row * padded);
    if (padded != inputs) out[row * padded + inputs] = 0;
  }
}

// Native bf16 dot products (AVX512_BF16) where the CPU has them: BfloatDot.cpp.
bool hasBfloatDot();
void multiplyBfloatDot(const PackedMatrix& weights, const std::uint16_t* x, std::size_t rows, float* out,
                       std::size_t outStride, std::size_t firstGroup, std::size_t endGroup);

// Half precision, 8 and 4 bits: Quantised.cpp.
void multiplyBlocks(const PackedMatrix& weights, const float* x, const float* sums, std::size_t rows,
                    float* out, std::size_t outStride, std::size_t first, std::size_t end);

void multiply(const PackedMatrix& weights, const float* x, const Prepared& prepared, std::size_t rows,
              float* out, std::size_t outStride, std::size_t firstGroup, std::size_t endGroup) {
  static const bool native = hasBfloatDot();
  if (weights.format == WeightFormat::bf16 && native)
    multiplyBfloatDot(weights, prepared.rounded, rows, out, outStride, firstGroup, endGroup);
  else if (weights.format == WeightFormat::f32 || weights.format == WeightFormat::bf16)
    HWY_DYNAMIC_DISPATCH(Multiply)(weights, x, prepared.rounded, rows, out, outStride, firstGroup, endGroup);
  else
    multiplyBlocks(weights, x, prepared.sums, rows, out, outStride, firstGroup, endGroup);
}
void rmsNorm(const float* x, const float* weight, float epsilon, std::size_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight, epsilon, width, out);
}
void layerNorm(const float* x, const float* weight, const float* bias, float epsilon, std::size_t width,
               float* out) {
  HWY_DYNAMIC_DISPATCH(LayerNorm)(x, weight, bias, epsilon, width, out);
}
void activate(Activation kind, const float* gate, const float* up, std::size_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(Activate)(kind, gate, up, width, out);
}
void add(const float* values, std::size_t size, float* out, float factor) {
  HWY_DYNAMIC_DISPATCH(Add)(values, factor, size, out);
}
void rotate(float* values, const float* cosine, const float* sine, std::size_t half) {
  HWY_DYNAMIC_DISPATCH(Rotate)(values, cosine, sine, half);
}
Summary summarise(const float* row, std::size_t size) {
  return HWY_DYNAMIC_DISPATCH(Summarise)(row, size);
}
float highest(const float* row, std::size_t size) {
  return HWY_DYNAMIC_DISPATCH(Highest)(row, size);
}
void largest(const float* row, std::size_t size, std::size_t k, std::vector<TokenId>& tokens) {
  HWY_DYNAMIC_DISPATCH(Largest)(row, size, k, tokens);
}

}  // namespace decoscope::kernels
#endif
