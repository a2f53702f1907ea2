#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/model/Model.h"
#include "core/model/RowSums.h"

namespace decoscope {

double RowSummary::probability(std::size_t i) const {
  return std::exp(static_cast<double>(logits[i]) - logSumExp);
}

RowSummary RowSums::summary(std::vector<TokenId> tokens, std::vector<float> logits) const {
  RowSummary result;
  result.tokens = std::move(tokens);
  result.logits = std::move(logits);
  result.logSumExp = largest + std::log(sum);
  result.entropy = std::log(sum) - weighted / sum;
  double mass = 0;
  for (const float logit : result.logits) mass += std::exp(logit - result.logSumExp);
  result.tailMass = std::max(0.0, 1 - mass);
  return result;
}

Result<TokenId> Logits::argmax(int index) const {
  DECOSCOPE_ASSIGN(const RowSummary top, summary(index, 1));
  return top.tokens.front();
}

Result<RowSummary> Logits::summary(int index, int k) const {
  const auto values = row(index);
  float largest = -std::numeric_limits<float>::infinity();
  bool bad = values.empty();
  for (const float value : values) {
    bad |= std::isnan(value);
    largest = std::max(largest, value);
  }
  if (bad || !std::isfinite(largest))
    return fail(ErrorCode::failed, "the model gave a logit that is not a number",
                "row " + std::to_string(index),
                "The weights may be damaged, or the precision too low: try --dtype f32.");
  RowSums sums{largest};
  for (const float value : values) {
    const double x = static_cast<double>(value) - largest;
    if (x < -700) continue;  // also minus infinity
    sums.sum += std::exp(x);
    sums.weighted += std::exp(x) * x;
  }
  std::vector<TokenId> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto keep = std::min(order.size(), static_cast<std::size_t>(std::max(k, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(keep), order.end(),
                    [&](TokenId a, TokenId b) {
                      const float x = values[static_cast<std::size_t>(a)],
                                  y = values[static_cast<std::size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  std::vector<TokenId> tokens;
  std::vector<float> logits;
  for (std::size_t i = 0; i < keep; ++i) {
    const float value = values[static_cast<std::size_t>(order[i])];
    if (!std::isfinite(value)) break;  // impossible tokens are not candidates
    tokens.push_back(order[i]);
    logits.push_back(value);
  }
  return sums.summary(std::move(tokens), std::move(logits));
}

Result<std::vector<RowSummary>> Logits::summaries(int k) const {
  std::vector<RowSummary> result;
  for (int i = 0; i < rows(); ++i) {
    DECOSCOPE_ASSIGN(RowSummary one, summary(i, k));
    result.push_back(std::move(one));
  }
  return result;
}

Result<std::vector<std::vector<TokenId>>> Logits::largest(int k) const {
  std::vector<std::vector<TokenId>> result;
  for (int i = 0; i < rows(); ++i) {
    DECOSCOPE_ASSIGN(RowSummary one, summary(i, k));
    result.push_back(std::move(one.tokens));
  }
  return result;
}

Result<std::unique_ptr<Logits>> Model::readout(std::span<const float>, bool) {
  return fail(ErrorCode::unsupported, "this model has no hidden states to read out", info().name);
}

Result<std::vector<float>> Model::weights(MatrixRole, int, bool, std::int64_t, std::int64_t) const {
  return fail(ErrorCode::unsupported, "this model has no weight matrices", info().name);
}

}  // namespace decoscope
