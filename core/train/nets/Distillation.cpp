#include "core/train/nets/Exits.h"

namespace decoscope::train {

namespace {

using at::Tensor;
using Divergence = Tensor (*)(const Tensor& target, const Tensor& draft);

class Distillation final : public Objective {
 public:
  Distillation(Exits exits, Net teacher, Divergence divergence, double hard)
      : exits_(std::move(exits)), teacher_(std::move(teacher)), divergence_(divergence), hard_(hard) {}

  Loss loss(Net& net, const Batch& batch, const Place& place) override {
    const Tensor target = teach(batch, place.precision);
    const std::vector<int> exits = exits_.of(place.step);
    const std::vector<Tensor> states = statesOf(net, batch, exits, &place, exits_.layerDrop, place.precision);
    const Predictions predictions(batch);
    Loss loss;
    for (std::size_t i = 0; i < exits.size(); ++i) {
      const Tensor logits = net.logits(states[i], place.precision);
      Tensor each = divergence_(target, logits);
      if (hard_ > 0)
        each = (1 - hard_) * each +
               hard_ * at::cross_entropy_loss(logits, predictions.wanted, {}, at::Reduction::None);
      const Tensor weighted = predictions.mean(each) * exits_.weightOf(exits[i], exits.size());
      loss.total = loss.total.defined() ? loss.total + weighted : weighted;
      const c10::NoGradGuard guard;
      const Tensor& counts = predictions.counts;
      const double kept =
          ((1 - totalVariation(target, logits)) * counts).sum().item<double>() / counts.sum().item<double>();
      loss.measures.push_back(
          {exits[i] == exits_.last ? "acceptance" : "acceptance.exit_" + std::to_string(exits[i]), kept, ""});
    }
    return loss;
  }

  // Σ min(p, q), averaged over the tokens of answers: the acceptance rate at temperature 1 (methods sheet
  // §1).
  std::vector<Measure> evaluate(Net& net, const Rows& rows, at::ScalarType precision) override {
    constexpr std::int64_t kRows = 16;
    double kept = 0, tokens = 0;
    rows.forHeldOut(kRows, [&](const Batch& batch, std::span<const TrainingText>) {
      const Tensor logits =
          net.logits(statesOf(net, batch, {exits_.last}, nullptr, 0, precision).front(), precision);
      const std::int64_t length = batch.tokens.size(1) - 1;
      const Tensor counts =
          (batch.answer.narrow(1, 1, length) & batch.text.narrow(1, 1, length)).reshape({-1}).to(at::kFloat);
      kept += ((1 - totalVariation(teach(batch, precision), logits)) * counts).sum().item<double>();
      tokens += counts.sum().item<double>();
    });
    return {{"held_out_acceptance", tokens > 0 ? kept / tokens : 0, ""}};
  }

 private:
  Tensor teach(const Batch& batch, at::ScalarType precision) {
    const c10::NoGradGuard guard;
    const int last = teacher_.architecture().config.layers;
    return teacher_.logits(statesOf(teacher_, batch, {last}, nullptr, 0, precision).front(), precision);
  }

  Exits exits_;
  Net teacher_;
  Divergence divergence_;
  double hard_;
};

}  // namespace

Result<std::unique_ptr<Objective>> makeDistillation(const ObjectiveSetup& setup) {
  const Recipe& recipe = setup.recipe;
  const std::string where = recipe.folder + "/recipe.json";
  DECOSCOPE_ASSIGN(Exits exits, Exits::read(recipe));
  const std::string name = recipe.options.value("divergence", std::string("forward-kl"));
  Divergence divergence = nullptr;
  for (const auto& [known, function] : {std::pair<const char*, Divergence>{"forward-kl", forwardKl},
                                        {"reverse-kl", reverseKl},
                                        {"tvd", totalVariation},
                                        {"tvd++", totalVariationPlus}})
    if (name == known) divergence = function;
  if (!divergence)
    return fail(ErrorCode::badInput, "there is no divergence '" + name + "'",
                where + ", field options.divergence", "There are: forward-kl, reverse-kl, tvd, tvd++.");
  if (recipe.teacher.empty())
    return fail(ErrorCode::badInput, "a distillation needs a teacher", where + ", field teacher");
  DECOSCOPE_ASSIGN(Net teacher, setup.openNet(recipe.teacher));
  if (teacher.architecture().config.vocabulary != recipe.shape.value("vocab_size", 0))
    return fail(ErrorCode::badInput, "teacher and student have vocabularies of different size", where);
  return std::unique_ptr<Objective>(std::make_unique<Distillation>(
      std::move(exits), std::move(teacher), divergence, recipe.options.value("hard", 0.0)));
}

}  // namespace decoscope::train
