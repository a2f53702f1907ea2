#include "core/train/nets/AcceptanceNet.h"

#include "core/model/AcceptanceHead.h"

namespace decoscope::train {

using at::Tensor;

namespace {

constexpr std::int64_t kClasses = 2;

std::string blockName(int block) {
  return "blocks." + std::to_string(block);
}

Tensor linear(const ParameterSet& net, const std::string& name, const Tensor& x) {
  return at::linear(x, net.find(name + ".weight")->value, net.find(name + ".bias")->value);
}

}  // namespace

Result<AcceptanceNet> AcceptanceNet::create(const std::string& config, const std::string& where,
                                            std::uint64_t seed) {
  DECOSCOPE_ASSIGN(const AcceptanceShape shape, acceptanceShape(config, where));
  AcceptanceNet net;
  net.width_ = shape.width;
  net.passes_ = shape.blocks;
  net.stored_ = shape.stored();
  for (int block = 0; block < net.stored_; ++block) {
    net.add(blockName(block) + ".weight", at::zeros({shape.width, shape.width}, at::kFloat), true);
    net.add(blockName(block) + ".bias", at::zeros({shape.width}, at::kFloat), false);
  }
  at::Generator generator = at::detail::createCPUGenerator(seed);
  net.add("classifier.weight",
          at::normal(0, 0.02, {kClasses, shape.width}, generator, at::TensorOptions(at::kFloat)), true);
  net.add("classifier.bias", at::zeros({kClasses}, at::kFloat), false);
  return net;
}

Tensor AcceptanceNet::logits(const Tensor& states) const {
  Tensor state = states.to(at::kFloat);
  for (int pass = 0; pass < passes_; ++pass)
    state = state + at::silu(linear(*this, blockName(std::min(pass, stored_ - 1)), state));
  return linear(*this, "classifier", state);
}

Tensor acceptanceOf(const Tensor& target, const Tensor& draft, const Tensor& drafted) {
  const auto ofToken = [&](const Tensor& logits) {
    return at::log_softmax(logits.to(at::kFloat), -1).gather(1, drafted.unsqueeze(1)).squeeze(1);
  };
  return at::exp(ofToken(target) - ofToken(draft)).clamp_max(1);
}

Tensor acceptanceLoss(const Tensor& logits, const Tensor& acceptance, double rejectionWeight) {
  const Tensor logs = at::log_softmax(logits, -1), rejection = rejectionWeight * (1 - acceptance);
  const Tensor costs = -(rejection * logs.select(1, 0) + acceptance * logs.select(1, 1));
  return costs.sum() / (rejection + acceptance).sum();
}

Tensor estimatesOf(const Tensor& logits) {
  return at::softmax(logits, -1).select(1, 1);
}

double areaUnderCurve(const Tensor& estimates, const Tensor& acceptance) {
  const auto [sorted, order] = estimates.to(at::kCPU, at::kFloat).reshape({-1}).sort();
  const Tensor accepted =
      acceptance.to(at::kCPU).reshape({-1}).index_select(0, order).to(at::kDouble).contiguous();
  const auto* value = sorted.const_data_ptr<float>();
  const auto* weight = accepted.const_data_ptr<double>();
  const std::int64_t count = accepted.numel();
  double rejectedBelow = 0, above = 0, acceptedAll = 0;
  for (std::int64_t first = 0; first < count;) {
    double acceptedHere = 0, rejectedHere = 0;
    std::int64_t i = first;
    for (; i < count && value[i] == value[first]; ++i) {
      acceptedHere += weight[i];
      rejectedHere += 1 - weight[i];
    }
    above += acceptedHere * (rejectedBelow + rejectedHere / 2);
    rejectedBelow += rejectedHere;
    acceptedAll += acceptedHere;
    first = i;
  }
  const double pairs = acceptedAll * rejectedBelow;
  return pairs > 0 ? above / pairs : 0.5;
}

}  // namespace decoscope::train
