// The products of one decoding step by weight format, beside the time that reading the weights once takes.
#include <benchmark/benchmark.h>

#include <cmath>

#include "core/model/torch/kernels/Kernels.h"

using namespace decoscope;
using kernels::WeightFormat;

namespace {

// SmolLM2's shape: one layer's four products, times as many layers as exceed every cache.
constexpr std::size_t kWidth = 576, kInner = 1536, kLayers = 24;

void products(benchmark::State& state) {
  const auto format = static_cast<WeightFormat>(state.range(0));
  const auto rows = static_cast<std::size_t>(state.range(1));
  std::vector<kernels::PackedMatrix> matrices;
  std::vector<float> row(kInner);
  for (std::size_t layer = 0; layer < kLayers; ++layer)
    for (const auto& [outputs, inputs] : {std::pair(960ul, kWidth), std::pair(kWidth, kWidth),
                                          std::pair(2 * kInner, kWidth), std::pair(kWidth, kInner)}) {
      auto& matrix = matrices.emplace_back();
      matrix.resize(outputs, inputs, format);
      for (std::size_t o = 0; o < outputs; ++o) {
        for (std::size_t k = 0; k < inputs; ++k)
          row[k] = std::sin(static_cast<float>(o * inputs + k + layer));
        matrix.setRow(o, row.data());
      }
    }
  std::size_t bytes = 0;
  for (const auto& matrix : matrices) bytes += matrix.bytes();
  std::vector<float> x(rows * kInner, 0.5f), out(rows * 2 * kInner), sums(rows * kInner / 32);
  std::vector<std::uint16_t> rounded(rows * kInner);
  for (auto _ : state)
    for (const auto& matrix : matrices) {
      kernels::roundToBfloat16(x.data(), rows, matrix.inputs, rounded.data());
      kernels::blockSums(x.data(), rows, matrix.inputs, sums.data());
      kernels::multiply(matrix, x.data(), {rounded.data(), sums.data()}, rows, out.data(), matrix.outputs, 0,
                        matrix.groups());
      benchmark::DoNotOptimize(out.data());
    }
  state.SetLabel(kernels::weightFormatName(format));
  state.counters["weights"] = benchmark::Counter(
      static_cast<double>(bytes), benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1024);
}

void arguments(benchmark::internal::Benchmark* benchmark) {
  for (const int rows : {1, 8, 64})
    for (int format = 0; format <= static_cast<int>(WeightFormat::q4); ++format)
      benchmark->Args({format, rows});
}
BENCHMARK(products)->Apply(arguments)->Unit(benchmark::kMillisecond);

// Reading a buffer of the size of the f32 weights: the floor.
void reading(benchmark::State& state) {
  std::vector<std::uint64_t> buffer(kLayers * (960 * kWidth + kWidth * kWidth + 3 * kInner * kWidth) / 2, 1);
  for (auto _ : state) {
    std::uint64_t sum = 0;
    for (const std::uint64_t value : buffer) sum += value;
    benchmark::DoNotOptimize(sum);
  }
  state.counters["weights"] =
      benchmark::Counter(static_cast<double>(buffer.size() * 8),
                         benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1024);
}
BENCHMARK(reading)->Unit(benchmark::kMillisecond);

}  // namespace
