// Attention over the cache for a few queries at a time. A query's result is a function of the query and of
// its slots in their order alone, however queries are tiled.
#include "core/model/torch/kernels/Kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/torch/kernels/Attention.cpp"
// clang-format off: the order matters to Highway
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace decoscope::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, kGroup>;
using FloatVector = hn::Vec<FloatTag>;
constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kParts = 4;  // vectors of an output that are summed at once

// The sums of the lanes of kLanes vectors, as the lanes of one. The tree is the same for every vector.
HWY_INLINE FloatVector SumsOfLanes(FloatVector (&vectors)[kLanes]) {
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
#pragma GCC unroll 4
  for (std::size_t half = kLanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (std::size_t i = 0; i < half; ++i)
      vectors[i] = hn::Add(hn::ConcatEven(d, vectors[2 * i + 1], vectors[2 * i]),
                           hn::ConcatOdd(d, vectors[2 * i + 1], vectors[2 * i]));
#endif
  return vectors[0];
}

// One query against kLanes keys of kChunks whole vectors each, unrolled.
template <std::size_t kChunks>
HWY_INLINE void AddChunks(const float* HWY_RESTRICT query, const float* const* keys,
                          FloatVector (&sums)[kLanes]) {
  const FloatTag d;
  FloatVector q[kChunks];
  for (std::size_t c = 0; c < kChunks; ++c) q[c] = hn::LoadU(d, query + c * kLanes);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kLanes; ++i)
#pragma GCC unroll 4
    for (std::size_t c = 0; c < kChunks; ++c)
      sums[i] = hn::MulAdd(q[c], hn::LoadU(d, keys[i] + c * kLanes), sums[i]);
}

// Products of one query with kLanes keys.
HWY_INLINE FloatVector DotProducts(const float* query, const float* const* keys, std::size_t size) {
  const FloatTag d;
  FloatVector sums[kLanes];
  for (auto& sum : sums) sum = hn::Zero(d);
  const float* rows[kLanes];
  std::copy(keys, keys + kLanes, rows);
  std::size_t k = 0;
  for (; k + 4 * kLanes <= size; k += 4 * kLanes) {
    AddChunks<4>(query + k, rows, sums);
    for (auto& row : rows) row += 4 * kLanes;
  }
  for (; k + kLanes <= size; k += kLanes) {
    AddChunks<1>(query + k, rows, sums);
    for (auto& row : rows) row += kLanes;
  }
  if (k < size) {
    float q[kLanes] = {}, key[kLanes] = {};
    std::copy(query + k, query + size, q);
    for (std::size_t i = 0; i < kLanes; ++i) {
      std::copy(rows[i], rows[i] + (size - k), key);
      sums[i] = hn::MulAdd(hn::LoadU(d, q), hn::LoadU(d, key), sums[i]);
    }
  }
  return SumsOfLanes(sums);
}

// A balanced sum over kCount lanes from `lane` on of the products of kQueries queries with kLanes turned
// keys: what SumsOfLanes() does within a vector, here across vectors, to the same bits.
template <std::size_t kQueries>
struct Products {
  FloatVector of[kQueries];
};
template <std::size_t kQueries, std::size_t kCount>
HWY_INLINE Products<kQueries> TurnedProducts(const AttentionQuery* queries, const float* HWY_RESTRICT keys,
                                             std::size_t size, std::size_t lane) {
  const FloatTag d;
  Products<kQueries> sums;
  if constexpr (kCount == 1) {
    for (auto& sum : sums.of) sum = hn::Zero(d);
    for (std::size_t k = lane; k < size; k += kLanes) {
      const auto key = hn::LoadU(d, keys + k * kGroup);
      for (std::size_t q = 0; q < kQueries; ++q)
        sums.of[q] = hn::MulAdd(hn::Set(d, queries[q].query[k]), key, sums.of[q]);
    }
  } else {
    sums = TurnedProducts<kQueries, kCount / 2>(queries, keys, size, lane);
    const auto others = TurnedProducts<kQueries, kCount / 2>(queries, keys, size, lane + kCount / 2);
    for (std::size_t q = 0; q < kQueries; ++q) sums.of[q] = hn::Add(sums.of[q], others.of[q]);
  }
  return sums;
}

// Keeps the scores of the slots from `first` on that the query sees. `largest` by lane.
HWY_INLINE void KeepScores(const AttentionQuery& query, FloatVector scores, std::size_t first, float cap,
                           FloatVector& largest) {
  const FloatTag d;
  const std::size_t some = std::min(kLanes, query.count - first);
  if (some < kLanes || cap > 0) {
    float lanes[kLanes];
    hn::StoreU(scores, d, lanes);
    if (cap > 0)
      for (float& score : lanes) score = cap * std::tanh(score / cap);
    std::copy(lanes, lanes + some, query.weights + first);
    std::fill(lanes + some, lanes + kLanes, lanes[0]);
    scores = hn::LoadU(d, lanes);
  } else {
    hn::StoreU(scores, d, query.weights + first);
  }
  largest = hn::Max(largest, scores);
}

template <std::size_t kQueries>
void TurnedScores(const AttentionQuery* queries, const AttentionCache& cache, std::size_t most, float scale,
                  float cap, FloatVector* largest) {
  const auto factor = hn::Set(FloatTag(), scale);
  for (std::size_t first = 0; first < most; first += kLanes) {
    const float* keys = cache.turned + first / kGroup * kGroup * cache.headSize + first % kGroup;
    const auto products = TurnedProducts<kQueries, kLanes>(queries, keys, cache.headSize, 0);
    for (std::size_t q = 0; q < kQueries; ++q)
      if (first < queries[q].count)
        KeepScores(queries[q], hn::Mul(products.of[q], factor), first, cap, largest[q]);
  }
}

void Scores(const AttentionQuery* queries, std::size_t size, const AttentionCache& cache,
            const std::int32_t* slots, std::size_t most, float scale, float cap, FloatVector* largest) {
  const auto factor = hn::Set(FloatTag(), scale);
  for (std::size_t first = 0; first < most; first += kLanes) {
    const float* keys[kLanes];
    // Behind the last slot the last one stands in; its products are not kept.
    for (std::size_t j = 0; j < kLanes; ++j) {
      const std::size_t at = std::min(first + j, most - 1);
      keys[j] = cache.keys + (slots ? static_cast<std::size_t>(slots[at]) : at) * cache.stride;
    }
    for (std::size_t q = 0; q < size; ++q)
      if (first < queries[q].count)
        KeepScores(queries[q], hn::Mul(DotProducts(queries[q].query, keys, cache.headSize), factor), first,
                   cap, largest[q]);
  }
}

// Scores to probabilities, in place.
void Normalise(const AttentionQuery& query, float largest) {
  const FloatTag d;
  const auto shift = hn::Set(d, largest);
  auto sums = hn::Zero(d);
  std::size_t i = 0;
  for (; i + kLanes <= query.count; i += kLanes) {
    const auto e = hn::Exp(d, hn::Sub(hn::LoadU(d, query.weights + i), shift));
    hn::StoreU(e, d, query.weights + i);
    sums = hn::Add(sums, e);
  }
  if (i < query.count) {
    float lanes[kLanes];
    std::fill(lanes, lanes + kLanes, largest - 200);  // whose exponential is nothing
    std::copy(query.weights + i, query.weights + query.count, lanes);
    const auto e = hn::Exp(d, hn::Sub(hn::LoadU(d, lanes), shift));
    hn::StoreU(e, d, lanes);
    std::copy(lanes, lanes + (query.count - i), query.weights + i);
    std::fill(lanes + (query.count - i), lanes + kLanes, 0.0f);
    sums = hn::Add(sums, hn::LoadU(d, lanes));
  }
  const float total =
      hn::GetLane(hn::SumOfLanes(d, sums)) + (query.sink ? std::exp(*query.sink - largest) : 0.0f);
  const float factor = 1.0f / total;
  for (std::size_t j = 0; j < query.count; ++j) query.weights[j] *= factor;
}

// kVectors vectors of the outputs of kQueries queries, from element k on. Every element sums over the slots
// in their order.
template <std::size_t kQueries, std::size_t kVectors>
HWY_INLINE void Mix(const AttentionQuery* queries, const AttentionCache& cache, const std::int32_t* slots,
                    std::size_t k) {
  const FloatTag d;
  FloatVector sums[kQueries][kVectors];
  std::size_t shared = queries[0].count;
  for (std::size_t q = 0; q < kQueries; ++q) {
    shared = std::min(shared, queries[q].count);
    for (auto& sum : sums[q]) sum = hn::Zero(d);
  }
  const auto valueAt = [&](std::size_t j) {
    return cache.values + (slots ? static_cast<std::size_t>(slots[j]) : j) * cache.stride + k;
  };
  for (std::size_t j = 0; j < shared; ++j) {
    const float* value = valueAt(j);
    FloatVector v[kVectors];
    for (std::size_t i = 0; i < kVectors; ++i) v[i] = hn::LoadU(d, value + i * kLanes);
    for (std::size_t q = 0; q < kQueries; ++q) {
      const auto w = hn::Set(d, queries[q].weights[j]);
      for (std::size_t i = 0; i < kVectors; ++i) sums[q][i] = hn::MulAdd(v[i], w, sums[q][i]);
    }
  }
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (std::size_t j = shared; j < queries[q].count; ++j) {
      const auto w = hn::Set(d, queries[q].weights[j]);
      for (std::size_t i = 0; i < kVectors; ++i)
        sums[q][i] = hn::MulAdd(hn::LoadU(d, valueAt(j) + i * kLanes), w, sums[q][i]);
    }
    for (std::size_t i = 0; i < kVectors; ++i) hn::StoreU(sums[q][i], d, queries[q].out + k + i * kLanes);
  }
}

template <std::size_t kQueries>
void MixAll(const AttentionQuery* queries, const AttentionCache& cache, const std::int32_t* slots) {
  std::size_t k = 0;
  for (; k + kParts * kLanes <= cache.headSize; k += kParts * kLanes)
    Mix<kQueries, kParts>(queries, cache, slots, k);
  for (; k + kLanes <= cache.headSize; k += kLanes) Mix<kQueries, 1>(queries, cache, slots, k);
  for (; k < cache.headSize; ++k)
    for (std::size_t q = 0; q < kQueries; ++q) {
      float sum = 0;
      for (std::size_t j = 0; j < queries[q].count; ++j)
        sum = std::fma(cache.values[(slots ? static_cast<std::size_t>(slots[j]) : j) * cache.stride + k],
                       queries[q].weights[j], sum);
      queries[q].out[k] = sum;
    }
}

template <std::size_t kQueries>
void AttendTile(const AttentionQuery* queries, const AttentionCache& cache, const std::int32_t* slots,
                float scale, float cap) {
  const FloatTag d;
  FloatVector largest[kQueries];
  std::size_t most = 0;
  for (std::size_t q = 0; q < kQueries; ++q) {
    largest[q] = hn::Set(d, queries[q].sink ? *queries[q].sink : -INFINITY);
    most = std::max(most, queries[q].count);
  }
  if (cache.turned)
    TurnedScores<kQueries>(queries, cache, most, scale, cap, largest);
  else
    Scores(queries, kQueries, cache, slots, most, scale, cap, largest);
  for (std::size_t q = 0; q < kQueries; ++q)
    Normalise(queries[q], hn::GetLane(hn::MaxOfLanes(d, largest[q])));
  MixAll<kQueries>(queries, cache, slots);
}

void Attend(const AttentionQuery* queries, std::size_t size, const AttentionCache& cache,
            const std::int32_t* slots, float scale, float cap) {
  switch (size) {
    case 1:
      return AttendTile<1>(queries, cache, slots, scale, cap);
    case 2:
      return AttendTile<2>(queries, cache, slots, scale, cap);
    case 3:
      return AttendTile<3>(queries, cache, slots, scale, cap);
    default:
      return AttendTile<4>(queries, cache, slots, scale, cap);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace decoscope::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace decoscope::kernels {

HWY_EXPORT(Attend);

void attend(std::span<const AttentionQuery> queries, const AttentionCache& cache, const std::int32_t* slots,
            float scale, float cap) {
  HWY_DYNAMIC_DISPATCH(Attend)(queries.data(), queries.size(), cache, slots, scale, cap);
}

void turnKeys(const AttentionCache& cache, const std::int32_t* slots, std::size_t first, std::size_t count,
              float* out) {
  for (std::size_t lane = 0; lane < kGroup; ++lane) {
    const std::size_t at = first + std::min(lane, count - 1);
    const float* key = cache.keys + (slots ? static_cast<std::size_t>(slots[at]) : at) * cache.stride;
    for (std::size_t k = 0; k < cache.headSize; ++k) out[k * kGroup + lane] = key[k];
  }
}

}  // namespace decoscope::kernels
#endif
