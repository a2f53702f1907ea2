#include <cmath>

#include "core/train/nets/Exits.h"

namespace decoscope::train {

namespace {

using at::Tensor;

class NextToken final : public Objective {
 public:
  explicit NextToken(Exits exits) : exits_(std::move(exits)) {}

  Loss loss(Net& net, const Batch& batch, const Place& place) override {
    const std::vector<int> exits = exits_.of(place.step);
    const std::vector<Tensor> states = statesOf(net, batch, exits, &place, exits_.layerDrop, place.precision);
    const Predictions predictions(batch);
    Loss loss;
    for (std::size_t i = 0; i < exits.size(); ++i) {
      const Tensor each = at::cross_entropy_loss(net.logits(states[i], place.precision), predictions.wanted,
                                                 {}, at::Reduction::None);
      const Tensor mean = predictions.mean(each);
      const Tensor weighted = mean * exits_.weightOf(exits[i], exits.size());
      loss.total = loss.total.defined() ? loss.total + weighted : weighted;
      loss.measures.push_back(
          {exits[i] == exits_.last ? "loss.next_token" : "loss.exit_" + std::to_string(exits[i]),
           mean.item<double>(), "nats"});
    }
    return loss;
  }

  std::vector<Measure> evaluate(Net& net, const Rows& rows, at::ScalarType precision) override {
    return {{"held_out_bits_per_byte", bitsPerByte(net, rows, exits_.last, precision), "bits/byte"}};
  }

 private:
  static double bitsPerByte(Net& net, const Rows& rows, int exit, at::ScalarType precision) {
    constexpr std::int64_t kRows = 16;
    double nats = 0, bytes = 0;
    rows.forHeldOut(kRows, [&](const Batch& batch, std::span<const TrainingText> texts) {
      const Tensor states = statesOf(net, batch, {exit}, nullptr, 0, precision).front();
      const Tensor wanted = batch.tokens.narrow(1, 1, batch.tokens.size(1) - 1).reshape({-1});
      const Tensor counts = batch.text.narrow(1, 1, batch.text.size(1) - 1).reshape({-1}).to(at::kFloat);
      nats +=
          (at::cross_entropy_loss(net.logits(states, precision), wanted, {}, at::Reduction::None) * counts)
              .sum()
              .item<double>();
      for (const TrainingText& text : texts) bytes += static_cast<double>(text.bytes);
    });
    return bytes > 0 ? nats / std::log(2.0) / bytes : 0;
  }

  Exits exits_;
};

}  // namespace

Result<std::unique_ptr<Objective>> makeNextToken(const ObjectiveSetup& setup) {
  DECOSCOPE_ASSIGN(Exits exits, Exits::read(setup.recipe));
  return std::unique_ptr<Objective>(std::make_unique<NextToken>(std::move(exits)));
}

}  // namespace decoscope::train
