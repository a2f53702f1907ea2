#include "core/model/torch/GroupedWeights.h"

namespace decoscope {

using at::Tensor;
using kernels::kBlock;
using kernels::kGroup;

std::int64_t GroupedWeights::bytes() const {
  std::int64_t sum = 0;
  for (const Tensor* tensor : {&codes, &scales, &minima})
    if (tensor->defined()) sum += static_cast<std::int64_t>(tensor->nbytes());
  return sum;
}

Tensor GroupedWeights::rows(std::int64_t first, std::int64_t count, at::ScalarType type) const {
  Tensor values = codes.narrow(0, first, count);
  const std::int64_t groups = codes.size(1);
  if (minima.defined()) values = at::stack({values.bitwise_and(15), values.bitwise_right_shift(4)}, -1);
  // Rounded once, at the end: scale and minimum mostly cancel.
  values = values.to(at::kFloat).view({count, groups, static_cast<std::int64_t>(kBlock)}) *
           scales.narrow(0, first, count);
  if (minima.defined()) values.add_(minima.narrow(0, first, count));
  return values.to(type).view({count, -1}).narrow(1, 0, inputs);
}

// The kernels' layout has 16 outputs side by side; see PackedMatrix.
GroupedWeights groupedFrom(const kernels::PackedMatrix& matrix, at::Device device) {
  const auto groups = static_cast<std::int64_t>(matrix.groups()),
             blocks = static_cast<std::int64_t>(matrix.blocks()),
             outputs = static_cast<std::int64_t>(matrix.outputs);
  constexpr auto kLanes = static_cast<std::int64_t>(kGroup), kSize = static_cast<std::int64_t>(kBlock);
  const auto byOutput = [&](const Tensor& lanesBeforeLast) {
    return lanesBeforeLast.permute({0, 3, 1, 2, 4})
        .reshape({groups * kLanes, blocks, -1})
        .narrow(0, 0, outputs);
  };
  const auto view = [](const auto& values, std::vector<std::int64_t> shape, at::ScalarType type) {
    return at::from_blob(const_cast<void*>(static_cast<const void*>(values.data())), shape, type);
  };
  const bool four = matrix.format == kernels::WeightFormat::q4;
  GroupedWeights grouped;
  grouped.inputs = static_cast<std::int64_t>(matrix.inputs);
  // Eight codes of a word are four bytes on the machines that this runs on.
  grouped.codes = byOutput(four ? view(matrix.words4, {groups, blocks, kSize / 8, kLanes, 4}, at::kByte)
                                : view(matrix.bytes8, {groups, blocks, kSize, kLanes, 1}, at::kChar))
                      .clone()
                      .to(device);
  const Tensor scales =
      view(matrix.scales, {groups, blocks, four ? 2 : 1, kLanes, 1}, at::kHalf).permute({2, 0, 3, 1, 4});
  const auto scaleOf = [&](std::int64_t which) {
    return scales.select(0, which)
        .reshape({groups * kLanes, blocks, 1})
        .narrow(0, 0, outputs)
        .clone()
        .to(device);
  };
  grouped.scales = scaleOf(0);
  if (four) grouped.minima = scaleOf(1);
  return grouped;
}

}  // namespace decoscope
