#include <algorithm>
#include <numeric>

#include "core/train/nets/Draws.h"
#include "core/train/nets/Objective.h"
#include "core/train/nets/TargetEnds.h"

namespace decoscope::train {

namespace {

using at::Tensor;

struct Settings {
  std::int64_t ranked = 8192;
  double features = 1, tokens = 1, noise = 0.1;
  int rounds = 1;
};

class FeatureHead final : public Objective {
 public:
  FeatureHead(Settings settings, TargetEnds target) : settings_(settings), target_(std::move(target)) {}

  Status prepare(Net& net, const Rows& rows) override {
    const std::int64_t vocabulary = target_.config.vocabulary;
    const std::vector<std::int64_t> counts = rows.answerCounts(vocabulary);
    std::vector<std::int64_t> order(counts.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return counts[static_cast<std::size_t>(a)] > counts[static_cast<std::size_t>(b)];
    });
    order.resize(static_cast<std::size_t>(std::min(settings_.ranked, vocabulary)));
    std::sort(order.begin(), order.end());
    const Tensor ranked = at::tensor(order, target_.head.options().dtype(at::kLong));
    std::vector<std::int64_t> distances(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) distances[i] = order[i] - static_cast<std::int64_t>(i);
    net.borrow(target_.embedding, target_.head.index_select(0, ranked), std::move(distances));
    ranked_ = ranked;
    return {};
  }

  Loss loss(Net& net, const Batch& batch, const Place& place) override {
    const Views view(batch);
    Tensor features = view.features;
    if (settings_.noise > 0)
      features = features +
                 settings_.noise * (uniforms(features.sizes(), place.generator, features.options()) - 0.5);
    const Tensor next = view.counted(view.next), wanted = softTargets(net, next, place.precision);
    Loss loss;
    for (int round = 0; round < settings_.rounds; ++round) {
      const Tensor made = lastStates(net, view.tokens, features, place.precision);
      const Tensor guess = view.counted(made), logits = net.logits(guess, place.precision);
      const Tensor regression = at::smooth_l1_loss(guess, next),
                   ranking = -(wanted * at::log_softmax(logits, -1)).sum(-1).mean();
      const Tensor part = (settings_.features * regression + settings_.tokens * ranking) / settings_.rounds;
      loss.total = loss.total.defined() ? loss.total + part : part;
      const std::string suffix = round > 0 ? "_" + std::to_string(round + 1) : "";
      loss.measures.push_back({"loss.features" + suffix, regression.item<double>(), ""});
      loss.measures.push_back({"loss.tokens" + suffix, ranking.item<double>(), "nats"});
      const c10::NoGradGuard guard;
      const Tensor agreed = (logits.argmax(-1) == wanted.argmax(-1)).to(at::kFloat);
      loss.measures.push_back({"agreement" + suffix, agreed.mean().item<double>(), ""});
      if (round + 1 == settings_.rounds) break;
      // Behind the first position half of the features become the head's own.
      Tensor own = made.detach().view(view.features.sizes());
      own = at::cat({view.features.narrow(1, 0, 1), own.narrow(1, 0, own.size(1) - 1)}, 1);
      const Tensor mixed = uniforms({own.size(0), own.size(1), 1}, place.generator, own.options()) < 0.5;
      features = at::where(mixed, own, features);
    }
    return loss;
  }

  // How often the target's most probable token is among the head's 1, 2, 4 and 8 most probable ones.
  std::vector<Measure> evaluate(Net& net, const Rows& rows, at::ScalarType precision) override {
    constexpr std::int64_t kRows = 8;
    std::vector<double> hits(4, 0);
    double positions = 0;
    rows.forHeldOut(kRows, [&](const Batch& batch, std::span<const TrainingText>) {
      const Views view(batch);
      const Tensor made = view.counted(lastStates(net, view.tokens, view.features, precision));
      const Tensor logits = net.logits(made, precision);
      const Tensor best =
          at::linear(view.counted(view.next).to(precision), target_.head.to(precision)).argmax(-1);
      const Tensor drafted =
          ranked_.index_select(0, std::get<1>(logits.topk(8, -1)).reshape({-1})).view({-1, 8});
      const Tensor same = (drafted == best.unsqueeze(1)).to(at::kFloat);
      for (std::size_t i = 0; i < hits.size(); ++i)
        hits[i] += same.narrow(1, 0, std::int64_t{1} << i).sum().item<double>();
      positions += static_cast<double>(best.size(0));
    });
    std::vector<Measure> measures;
    for (std::size_t i = 0; i < hits.size() && positions > 0; ++i)
      measures.push_back({"held_out_top_" + std::to_string(1 << i), hits[i] / positions, ""});
    return measures;
  }

 private:
  // What the head reads at position i is token i + 1 and feature i; what it should say is feature i + 1.
  struct Views {
    explicit Views(const Batch& batch) {
      const std::int64_t length = batch.tokens.size(1) - 1, width = batch.features.size(2);
      tokens = batch.tokens.narrow(1, 1, length);
      features = batch.features.narrow(1, 0, length);
      next = batch.features.narrow(1, 1, length).reshape({-1, width});
      // From the last token of the prompt on: what is drafted are answers.
      const Tensor answers = batch.answer.narrow(1, 1, length) & batch.text.narrow(1, 1, length);
      places = answers.reshape({-1}).nonzero().squeeze(1);
    }
    // Of rows [positions, …] those that count.
    Tensor counted(const Tensor& rows) const { return rows.index_select(0, places); }
    Tensor tokens, features, next, places;
  };

  static Tensor softTargets(const Net& net, const Tensor& features, at::ScalarType precision) {
    const c10::NoGradGuard guard;
    return at::softmax(net.logits(features, precision), -1);
  }

  Settings settings_;
  TargetEnds target_;
  Tensor ranked_;
};

}  // namespace

Result<std::unique_ptr<Objective>> makeFeatureHead(const ObjectiveSetup& setup) {
  const Recipe& recipe = setup.recipe;
  if (recipe.packing != Packing::texts || recipe.teacher.empty() || !recipe.features)
    return fail(ErrorCode::badInput,
                "a draft head needs a teacher, texts with features and one of them a row",
                recipe.folder + "/recipe.json, fields teacher, features and packing");
  Settings settings;
  settings.ranked = recipe.shape.value("draft_vocab_size", std::int64_t{0});
  settings.features = optionOf(recipe, "features_weight", settings.features);
  settings.tokens = optionOf(recipe, "tokens_weight", settings.tokens);
  settings.noise = optionOf(recipe, "noise", settings.noise);
  settings.rounds = std::clamp(static_cast<int>(optionOf(recipe, "rounds", 1)), 1, 4);
  DECOSCOPE_ASSIGN(TargetEnds target, TargetEnds::read(setup.pathOf(recipe.teacher), setup.device));
  if (target.config.width != recipe.shape.value("hidden_size", 0))
    return fail(ErrorCode::badInput, "head and target have different widths",
                recipe.folder + "/recipe.json, field shape.hidden_size");
  if (settings.ranked == 0) settings.ranked = target.config.vocabulary;
  return std::unique_ptr<Objective>(std::make_unique<FeatureHead>(settings, std::move(target)));
}

}  // namespace decoscope::train
