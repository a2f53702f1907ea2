// The bf16 product with the CPU's own pair dot product. Highway 1.0 does not reach this instruction with the
// order of summation that we promise, so it stands here by itself, behind a check at run time.
#include <cstring>

#include "core/model/torch/kernels/Kernels.h"
#include "core/model/torch/kernels/Tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace decoscope::kernels {

#if defined(__x86_64__)

#define DECOSCOPE_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace {

template <int kTokens, int kGroups>
DECOSCOPE_BF16 void tile(const PackedMatrix& m, const std::uint16_t* x, std::size_t row, std::size_t group,
                         float* out, std::size_t outStride) {
  const std::size_t pairs = (m.inputs + 1) / 2;
  const std::uint16_t* weights = m.half.data() + group * pairs * kGroup * 2;
  const std::uint16_t* input = x + row * pairs * 2;
  const std::size_t groupStride = pairs * kGroup * 2;
  __m512 sum[kTokens][kGroups];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) sum[t][g] = _mm512_setzero_ps();
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    __m512i w[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g)
      w[g] = _mm512_loadu_si512(weights + static_cast<std::size_t>(g) * groupStride + pair * kGroup * 2);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      int bits;
      std::memcpy(&bits, input + (static_cast<std::size_t>(t) * pairs + pair) * 2, sizeof bits);
      const __m512i value = _mm512_set1_epi32(bits);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g)
        sum[t][g] =
            _mm512_dpbf16_ps(sum[t][g], reinterpret_cast<__m512bh>(w[g]), reinterpret_cast<__m512bh>(value));
    }
  }
  for (int t = 0; t < kTokens; ++t)
    for (int g = 0; g < kGroups; ++g) {
      const std::size_t at = (group + static_cast<std::size_t>(g)) * kGroup;
      const std::size_t lanes = m.outputs - at < kGroup ? m.outputs - at : kGroup;
      _mm512_mask_storeu_ps(out + (row + static_cast<std::size_t>(t)) * outStride + at,
                            static_cast<__mmask16>((1u << lanes) - 1), sum[t][g]);
    }
}

template <int kMost, int kGroups>
void rowsOf(const PackedMatrix& m, const std::uint16_t* x, std::size_t rows, std::size_t group, float* out,
            std::size_t outStride) {
  inEvenTiles<kMost>(rows, [&](auto count, std::size_t row) {
    tile<decltype(count)::value, kGroups>(m, x, row, group, out, outStride);
  });
}

}  // namespace

bool hasBfloatDot() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

void multiplyBfloatDot(const PackedMatrix& m, const std::uint16_t* x, std::size_t rows, float* out,
                       std::size_t outStride, std::size_t first, std::size_t end) {
  std::size_t group = first;
  if (rows <= 12)  // the memory is what is waited for, and four streams keep it busy
    for (; group + 4 <= end; group += 4) rowsOf<6, 4>(m, x, rows, group, out, outStride);
  for (; group + 2 <= end; group += 2) rowsOf<8, 2>(m, x, rows, group, out, outStride);
  for (; group < end; ++group) rowsOf<8, 1>(m, x, rows, group, out, outStride);
}

#else

bool hasBfloatDot() {
  return false;
}
void multiplyBfloatDot(const PackedMatrix&, const std::uint16_t*, std::size_t, float*, std::size_t,
                       std::size_t, std::size_t) {}

#endif

}  // namespace decoscope::kernels
