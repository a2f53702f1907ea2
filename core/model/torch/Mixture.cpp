#include "core/model/torch/Mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace decoscope {

using at::Tensor;

void mixture(Arithmetic& arithmetic, const TransformerConfig& model, const Experts& experts,
             const Tensor& normed, Tensor& projected) {
  const MixtureConfig& config = model.mixture;
  const std::int64_t rows = normed.size(0), d = model.width, count = config.experts;
  const auto buffer = [&](std::int64_t height, std::int64_t width) {
    return at::empty({height, width}, normed.options());
  };
  const auto expert = [&](const Linear& first, const Linear& second, const Tensor& x, Tensor& inner,
                          Tensor& neurons, Tensor& result) {
    arithmetic.linear(first, x, inner);
    arithmetic.activate(model.activation, true, inner, neurons);
    arithmetic.linear(second, neurons, result);
  };
  Tensor scores = buffer(rows, count);
  arithmetic.linear(experts.router, normed, scores);
  const Tensor host = scores.to(at::kCPU);
  struct Share {
    std::int64_t row;
    float weight;
  };
  std::vector<std::vector<Share>> shares(static_cast<std::size_t>(count));
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* values = host.const_data_ptr<float>() + row * count;
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + config.perToken, order.end(),
                      [&](std::int64_t a, std::int64_t b) {
                        return values[a] != values[b] ? values[a] > values[b] : a < b;
                      });
    const float largest = values[order.front()];
    double all = 0, chosen = 0;
    for (std::int64_t e = 0; e < count; ++e) all += std::exp(static_cast<double>(values[e]) - largest);
    for (int i = 0; i < config.perToken; ++i)
      chosen += std::exp(static_cast<double>(values[order[static_cast<std::size_t>(i)]]) - largest);
    const double sum = config.normalise || config.softmaxOfChosen ? chosen : all;
    for (int i = 0; i < config.perToken; ++i) {
      const std::int64_t e = order[static_cast<std::size_t>(i)];
      shares[static_cast<std::size_t>(e)].push_back(
          {row, static_cast<float>(std::exp(static_cast<double>(values[e]) - largest) / sum)});
    }
  }
  projected.zero_();
  Tensor gathered = buffer(rows, d), neurons = buffer(rows, experts.inner),
         in = buffer(rows, 2 * experts.inner), result = buffer(rows, d);
  for (std::int64_t e = 0; e < count; ++e) {
    const auto& mine = shares[static_cast<std::size_t>(e)];
    if (mine.empty()) continue;
    const auto size = static_cast<std::int64_t>(mine.size());
    std::vector<std::int64_t> indices;
    for (const Share& share : mine) indices.push_back(share.row);
    const Tensor at = at::tensor(indices).to(normed.device());
    Tensor x = gathered.narrow(0, 0, size), y = result.narrow(0, 0, size);
    x.copy_(normed.index_select(0, at));
    Tensor inPart = in.narrow(0, 0, size), neuronPart = neurons.narrow(0, 0, size);
    expert(experts.in[static_cast<std::size_t>(e)], experts.out[static_cast<std::size_t>(e)], x, inPart,
           neuronPart, y);
    for (std::int64_t i = 0; i < size; ++i) {
      Tensor row = projected.narrow(0, mine[static_cast<std::size_t>(i)].row, 1);
      arithmetic.add(y.narrow(0, i, 1), mine[static_cast<std::size_t>(i)].weight, row);
    }
  }
  if (experts.sharedInner > 0) {
    Tensor sharedIn = buffer(rows, 2 * experts.sharedInner),
           sharedNeurons = buffer(rows, experts.sharedInner);
    expert(experts.sharedIn, experts.sharedOut, normed, sharedIn, sharedNeurons, result);
    if (experts.sharedSwitch.outputs > 0) {
      Tensor open = buffer(rows, 1);
      arithmetic.linear(experts.sharedSwitch, normed, open);
      result.mul_(at::sigmoid(open));
    }
    arithmetic.add(result, 1, projected);
  }
}

}  // namespace decoscope
