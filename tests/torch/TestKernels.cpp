// The CPU kernels against plain loops, and their promise: a row's result does not depend on its neighbours.
#include <QTest>
#include <cmath>
#include <numeric>

#include "core/base/Bfloat16.h"
#include "core/model/torch/kernels/Kernels.h"

using namespace decoscope;
using kernels::WeightFormat;

namespace {

// Uneven on purpose: a last group and a last block that are not full.
constexpr std::size_t kOutputs = 85, kInputs = 133;

struct Problem {
  std::vector<float> weights, x;
  kernels::PackedMatrix packed;
  Problem(WeightFormat format, std::size_t rows) : weights(kOutputs * kInputs), x(rows * kInputs) {
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(3 * i));
    packed.resize(kOutputs, kInputs, format);
    for (std::size_t o = 0; o < kOutputs; ++o) packed.setRow(o, weights.data() + o * kInputs);
  }
  std::vector<float> product(std::size_t rows, const float* input) const {
    std::vector<float> out(rows * kOutputs), sums(rows * packed.blocks());
    std::vector<std::uint16_t> rounded(rows * (kInputs + 1));
    kernels::roundToBfloat16(input, rows, kInputs, rounded.data());
    kernels::blockSums(input, rows, kInputs, sums.data());
    kernels::multiply(packed, input, {rounded.data(), sums.data()}, rows, out.data(), kOutputs, 0,
                      packed.groups());
    return out;
  }
};

void addFormats() {
  QTest::addColumn<int>("format");
  for (const WeightFormat format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::f16, WeightFormat::q8, WeightFormat::q4})
    QTest::newRow(kernels::weightFormatName(format)) << static_cast<int>(format);
}

}  // namespace

class TestKernels : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void productsAgreeWithPlainLoops_data() { addFormats(); }
  void productsAgreeWithPlainLoops() {
    QFETCH(int, format);
    const bool rounds = static_cast<WeightFormat>(format) == WeightFormat::bf16;
    for (const std::size_t rows : {1u, 2u, 3u, 8u, 13u}) {
      const Problem problem(static_cast<WeightFormat>(format), rows);
      const auto out = problem.product(rows, problem.x.data());
      std::vector<float> row(kInputs);
      for (std::size_t o = 0; o < kOutputs; ++o) {
        problem.packed.getRow(o, row.data());
        for (std::size_t r = 0; r < rows; ++r) {
          double sum = 0;
          for (std::size_t k = 0; k < kInputs; ++k) {
            const float a = problem.x[r * kInputs + k];
            sum += static_cast<double>(rounds ? fromBfloat16(toBfloat16(a)) : a) * row[k];
          }
          QVERIFY2(std::abs(sum - out[r * kOutputs + o]) < 1e-4,
                   qPrintable(QString("row %1 output %2: %3 is not %4")
                                  .arg(r)
                                  .arg(o)
                                  .arg(out[r * kOutputs + o])
                                  .arg(sum)));
        }
      }
    }
  }
  void aRowDoesNotDependOnItsNeighbours_data() { addFormats(); }
  void aRowDoesNotDependOnItsNeighbours() {
    QFETCH(int, format);
    const Problem problem(static_cast<WeightFormat>(format), 13);
    const auto all = problem.product(13, problem.x.data());
    for (std::size_t first = 0; first < 13; ++first)
      for (std::size_t rows = 1; first + rows <= 13; ++rows) {
        const auto some = problem.product(rows, problem.x.data() + first * kInputs);
        QVERIFY(std::equal(some.begin(), some.end(),
                           all.begin() + static_cast<std::ptrdiff_t>(first * kOutputs)));
      }
  }
  void storedWeightsAreNearTheGivenOnes_data() {
    QTest::addColumn<int>("format");
    QTest::addColumn<double>("bound");  // of values in [-1, 1]
    QTest::newRow("f32") << static_cast<int>(WeightFormat::f32) << 0.0;
    QTest::newRow("bf16") << static_cast<int>(WeightFormat::bf16) << 1.0 / 512;
    QTest::newRow("f16") << static_cast<int>(WeightFormat::f16) << 1.0 / 4096;
    QTest::newRow("q8") << static_cast<int>(WeightFormat::q8) << 0.502 / 127;
    QTest::newRow("q4") << static_cast<int>(WeightFormat::q4) << 0.51 * 2 / 15;
  }
  void storedWeightsAreNearTheGivenOnes() {
    QFETCH(int, format);
    QFETCH(double, bound);
    const Problem problem(static_cast<WeightFormat>(format), 1);
    std::vector<float> row(kInputs);
    for (std::size_t o = 0; o < kOutputs; ++o) {
      problem.packed.getRow(o, row.data());
      for (std::size_t k = 0; k < kInputs; ++k)
        QVERIFY(std::abs(row[k] - problem.weights[o * kInputs + k]) <= bound);
    }
  }
  void fourBitCodesAreKeptAsTheyAre() {
    kernels::PackedMatrix packed;
    packed.resize(17, 64, WeightFormat::q4);
    FourBitRow row;
    for (int k = 0; k < 64; ++k) row.codes.push_back(static_cast<std::uint8_t>(k * 7 % 16));
    row.scales = {0.5f, 0.25f};
    row.minima = {-3, 2};
    packed.setFourBitRow(16, row);
    std::vector<float> values(64);
    packed.getRow(16, values.data());
    for (std::size_t k = 0; k < 64; ++k)
      QCOMPARE(values[k], row.scales[k / 32] * row.codes[k] + row.minima[k / 32]);
  }
  void halvesRoundToTheNearest() {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      const float value = kernels::fromHalf(half);
      if (std::isnan(value))
        QVERIFY(std::isnan(kernels::fromHalf(kernels::toHalf(value))));
      else
        QCOMPARE(kernels::toHalf(value), half);
    }
    QCOMPARE(kernels::toHalf(1 + 0x1p-11f), std::uint16_t(0x3C00));             // a tie, to even
    QCOMPARE(kernels::toHalf(1 + 0x1p-11f + 0x1p-20f), std::uint16_t(0x3C01));  // above it
    QCOMPARE(kernels::toHalf(65520.0f), std::uint16_t(0x7C00));                 // rounds beyond the largest
    QCOMPARE(kernels::toHalf(0x1p-25f), std::uint16_t(0));                      // a tie, to even
    QCOMPARE(kernels::toHalf(0x1.8p-25f), std::uint16_t(1));
  }
  void activationsAgreeWithTheirFormulas_data() {
    QTest::addColumn<int>("kind");
    QTest::newRow("silu") << static_cast<int>(Activation::silu);
    QTest::newRow("gelu") << static_cast<int>(Activation::gelu);
    QTest::newRow("gelu, tanh") << static_cast<int>(Activation::geluTanh);
    QTest::newRow("relu") << static_cast<int>(Activation::relu);
  }
  void activationsAgreeWithTheirFormulas() {
    QFETCH(int, kind);
    std::vector<float> x, up, alone(403), gated(403);
    for (int i = 0; i < 403; ++i) {
      x.push_back(static_cast<float>(i - 200) * 0.7f);  // to ±140: beyond the range of a careless exponential
      up.push_back(std::sin(static_cast<float>(i)));
    }
    kernels::activate(static_cast<Activation>(kind), x.data(), nullptr, x.size(), alone.data());
    kernels::activate(static_cast<Activation>(kind), x.data(), up.data(), x.size(), gated.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      double wanted = std::max(v, 0.0);
      if (kind == static_cast<int>(Activation::silu)) wanted = v / (1 + std::exp(-v));
      if (kind == static_cast<int>(Activation::gelu)) wanted = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
      if (kind == static_cast<int>(Activation::geluTanh))
        wanted = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      const double slack = 2e-6 * std::max(1.0, std::abs(v));
      QVERIFY(std::abs(alone[i] - wanted) <= slack);
      QVERIFY(std::abs(gated[i] - wanted * up[i]) <= slack);
    }
  }
  void sinksAndCapsEnterTheSoftmax() {
    const std::vector<float> query = {1, 2}, keys = {1, 0, 0, 1, 2, 2}, values = {1, 10, 2, 20, 3, 30};
    std::vector<float> out(2), weights(3);
    const float sink = 1.5f;
    const kernels::AttentionQuery one{query.data(), 3, &sink, weights.data(), out.data()};
    kernels::attend({&one, 1}, {keys.data(), values.data(), 2, 2}, nullptr, 0.5f, 2);
    const double scores[] = {2 * std::tanh(0.25), 2 * std::tanh(0.5), 2 * std::tanh(1.5)};
    double sum = std::exp(1.5);
    for (const double score : scores) sum += std::exp(score);
    double first = 0;
    for (int i = 0; i < 3; ++i) {
      QVERIFY(std::abs(weights[static_cast<std::size_t>(i)] - std::exp(scores[i]) / sum) < 1e-6);
      first += std::exp(scores[i]) / sum * values[static_cast<std::size_t>(2 * i)];
    }
    QVERIFY(std::abs(out[0] - first) < 1e-5);
  }
  // Tiled in any way, with the slots named or not, a query's result has the same bits.
  void queriesDoNotDependOnTheirTile_data() {
    QTest::addColumn<int>("headSize");
    for (const int size : {2, 16, 64, 72, 100, 128}) QTest::addRow("heads of %d", size) << size;
  }
  void queriesDoNotDependOnTheirTile() {
    QFETCH(int, headSize);
    const auto size = static_cast<std::size_t>(headSize), slots = std::size_t(75);
    std::vector<float> keys(slots * size), values(keys.size()), queries(4 * size);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = std::sin(static_cast<float>(i));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::cos(static_cast<float>(5 * i));
    for (std::size_t i = 0; i < queries.size(); ++i) queries[i] = std::sin(static_cast<float>(7 * i));
    const kernels::AttentionCache cache{keys.data(), values.data(), size, size};
    std::vector<std::int32_t> list(slots);
    std::iota(list.begin(), list.end(), 0);
    std::vector<std::vector<float>> out(4), weights(4);
    std::vector<kernels::AttentionQuery> tile;
    for (std::size_t q = 0; q < 4; ++q) {
      out[q].resize(size);
      weights[q].resize(slots);
      tile.push_back({queries.data() + q * size, slots - 3 + q - (q == 3 ? 1 : 0), nullptr, weights[q].data(),
                      out[q].data()});
    }
    kernels::attend(tile, cache, nullptr, 0.3f, 0);
    std::vector<float> turned((slots + kernels::kGroup - 1) / kernels::kGroup * kernels::kGroup * size);
    for (std::size_t first = 0; first < slots; first += kernels::kGroup)
      kernels::turnKeys(cache, list.data(), first, std::min(kernels::kGroup, slots - first),
                        turned.data() + first * size);
    std::vector<std::vector<float>> turnedOut(4, std::vector<float>(size)),
        turnedWeights(4, std::vector<float>(slots));
    std::vector<kernels::AttentionQuery> turnedTile = tile;
    for (std::size_t q = 0; q < 4; ++q) {
      turnedTile[q].out = turnedOut[q].data();
      turnedTile[q].weights = turnedWeights[q].data();
    }
    kernels::AttentionCache turnedCache = cache;
    turnedCache.keys = nullptr;
    turnedCache.turned = turned.data();
    kernels::attend(turnedTile, turnedCache, nullptr, 0.3f, 0);
    for (std::size_t q = 0; q < 4; ++q) {
      std::vector<float> alone(size), probabilities(slots);
      const kernels::AttentionQuery one{tile[q].query, tile[q].count, nullptr, probabilities.data(),
                                        alone.data()};
      kernels::attend({&one, 1}, cache, list.data(), 0.3f, 0);
      QVERIFY(alone == out[q]);
      QVERIFY(std::equal(probabilities.begin(),
                         probabilities.begin() + static_cast<std::ptrdiff_t>(one.count),
                         turnedWeights[q].begin()));
      QVERIFY(alone == turnedOut[q]);
      double sum = 0, largest = -INFINITY;
      std::vector<double> scores;
      for (std::size_t s = 0; s < one.count; ++s) {
        double score = 0;
        for (std::size_t k = 0; k < size; ++k)
          score += static_cast<double>(one.query[k]) * keys[s * size + k];
        scores.push_back(0.3f * score);
        largest = std::max(largest, scores.back());
      }
      for (const double score : scores) sum += std::exp(score - largest);
      for (std::size_t k = 0; k < size; ++k) {
        double wanted = 0;
        for (std::size_t s = 0; s < one.count; ++s)
          wanted += std::exp(scores[s] - largest) / sum * values[s * size + k];
        QVERIFY(std::abs(wanted - alone[k]) < 1e-5);
      }
    }
  }
  void layersAreNormed() {
    const std::vector<float> x = {1, 2, 4, 9}, weight = {1, 2, 3, 4}, bias = {0.5f, 0, -1, 2};
    std::vector<float> out(4);
    kernels::layerNorm(x.data(), weight.data(), bias.data(), 1e-5f, 4, out.data());
    const double deviation = std::sqrt((9 + 4 + 0 + 25) / 4.0 + 1e-5);
    for (std::size_t i = 0; i < 4; ++i)
      QVERIFY(std::abs(out[i] - ((x[i] - 4) / deviation * weight[i] + bias[i])) < 1e-6);
  }
  void rowsAreSummarised() {
    std::vector<float> row(1000);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = 10 * std::sin(static_cast<float>(i * i));
    double sum = 0, top = -INFINITY;
    for (const float v : row) top = std::max<double>(top, v);
    for (const float v : row) sum += std::exp(v - top);
    const kernels::Summary summary = kernels::summarise(row.data(), row.size());
    QVERIFY(std::abs(summary.sum / sum - 1) < 1e-5);
    std::vector<TokenId> best, order(row.size());
    kernels::largest(row.data(), row.size(), 32, best);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
    std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
      return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
    });
    order.resize(32);
    QCOMPARE(best, order);
    QCOMPARE(kernels::highest(row.data(), row.size()), row[static_cast<std::size_t>(best.front())]);
    QCOMPARE(kernels::highest(row.data(), 0), -INFINITY);
    for (const std::size_t bad : {std::size_t{0}, std::size_t{500}, row.size() - 1}) {
      const float good = std::exchange(row[bad], NAN);
      QVERIFY(std::isnan(kernels::summarise(row.data(), row.size()).sum));
      QVERIFY(std::isnan(kernels::highest(row.data(), row.size())));
      row[bad] = good;
    }
  }
};

QTEST_GUILESS_MAIN(TestKernels)
#include "TestKernels.moc"
