#include "core/train/nets/DraftJudge.h"

#include <algorithm>
#include <numeric>

#include "core/train/nets/AcceptanceNet.h"
#include "core/train/nets/Draws.h"
#include "core/train/nets/TargetEnds.h"

namespace decoscope::train {

namespace {

using at::Tensor;

Tensor draw(const Tensor& logits, at::Generator generator) {
  return chosenColumns(at::softmax(logits, -1), std::move(generator)).squeeze(1);
}

// Which of the drafted tokens the text's own replace.
Tensor replaced(const Tensor& drawn, double mixing, at::Generator generator) {
  return uniforms(drawn.sizes(), std::move(generator), drawn.options().dtype(at::kFloat)) < mixing;
}

class NetJudge final : public DraftJudge {
 public:
  explicit NetJudge(Net target) : target_(std::move(target)) {}

  Status prepare(Net& drafter) override {
    const TransformerConfig& config = drafter.architecture().config;
    if (!config.followsFeatures && !config.diffusion &&
        config.vocabulary == target_.architecture().config.vocabulary)
      return {};
    return fail(
        ErrorCode::badInput, "the drafter does not write the target's own tokens", "the recipe's field start",
        "Choose a next-token model with the target's tokenizer, or a draft head and texts with features.");
  }

  Judged judge(Net& drafter, const Batch& batch, at::Generator generator,
               const JudgeSettings& settings) override {
    const c10::NoGradGuard guard;
    // Flat indices of what stands in answers, and of the positions before that it was drafted at.
    Tensor inside = batch.answer & batch.text;
    inside.select(1, 0).fill_(false);
    const Tensor drafted = inside.reshape({-1}).nonzero().squeeze(1), before = drafted - 1;
    const auto logitsBefore = [&](Net& net) {
      const Tensor states = lastStates(net, batch.tokens, {}, settings.precision);
      return net.logits(states.index_select(0, before), at::kFloat);
    };
    const Tensor q = logitsBefore(drafter), drawn = draw(q, generator);
    const Tensor acceptance = acceptanceOf(logitsBefore(target_), q, drawn);
    const Tensor own = replaced(drawn, settings.mixing, generator);
    const Tensor flat = batch.tokens.reshape({-1});
    const Tensor mixed = flat.scatter(0, drafted, at::where(own, flat.index_select(0, drafted), drawn));
    const Tensor kept = own.logical_not().nonzero().squeeze(1);
    const Tensor states = lastStates(drafter, mixed.view(batch.tokens.sizes()), {}, settings.precision);
    return {drawn.index_select(0, kept), states.index_select(0, drafted.index_select(0, kept)),
            acceptance.index_select(0, kept)};
  }

  std::vector<DraftChain> chains(Net& drafter, const Rows& rows, const ChainPlan& plan) override {
    return draftChains(drafter, target_, rows, plan);
  }

 private:
  Net target_;
};

class FeatureJudge final : public DraftJudge {
 public:
  FeatureJudge(TargetEnds ends, std::vector<std::int64_t> distances)
      : ends_(std::move(ends)), distances_(std::move(distances)) {
    std::vector<std::int64_t> ranked(distances_.size());
    std::iota(ranked.begin(), ranked.end(), 0);
    for (std::size_t i = 0; i < ranked.size(); ++i) ranked[i] += distances_[i];
    ranked_ = at::tensor(ranked, ends_.head.options().dtype(at::kLong));
  }

  Status prepare(Net& drafter) override {
    const TransformerConfig& config = drafter.architecture().config;
    if (!config.followsFeatures || config.width != ends_.head.size(1))
      return fail(ErrorCode::badInput, "the drafter is no draft head on the target's features",
                  "the recipe's fields start and features",
                  "For a model that drafts by itself the texts need no features.");
    drafter.borrow(ends_.embedding, ends_.head.index_select(0, ranked_), distances_);
    return {};
  }

  Judged judge(Net& drafter, const Batch& batch, at::Generator generator,
               const JudgeSettings& settings) override {
    const c10::NoGradGuard guard;
    // What the head reads at position i is token i + 1 and feature i; it guesses feature i + 1, and what is
    // drawn from that is token i + 2, which it reads at position i + 1.
    const std::int64_t rows = batch.tokens.size(0), length = batch.tokens.size(1) - 1;
    const std::int64_t width = batch.features.size(2);
    const Tensor tokens = batch.tokens.narrow(1, 1, length), features = batch.features.narrow(1, 0, length);
    Tensor inside = at::zeros({rows, length}, batch.answer.options());
    inside.narrow(1, 0, length - 1).copy_((batch.answer & batch.text).narrow(1, 2, length - 1));
    const Tensor before = inside.reshape({-1}).nonzero().squeeze(1), drafted = before + 1;
    const Tensor guesses = lastStates(drafter, tokens, features, settings.precision).index_select(0, before);
    const Tensor q = drafter.logits(guesses, at::kFloat), column = draw(q, generator);
    const Tensor drawn = ranked_.index_select(0, column);
    const Tensor truth = batch.features.narrow(1, 1, length).reshape({-1, width}).index_select(0, before);
    const Tensor logQ = at::log_softmax(q, -1).gather(1, column.unsqueeze(1)).squeeze(1);
    const Tensor acceptance = at::exp(logProbabilities(truth, drawn) - logQ).clamp_max(1);
    const Tensor own = replaced(drawn, settings.mixing, generator);
    const Tensor kept = own.logical_not().nonzero().squeeze(1), keptDrafts = drafted.index_select(0, kept);
    const Tensor mixed = tokens.reshape({-1}).index_copy(0, keptDrafts, drawn.index_select(0, kept));
    const Tensor guessed =
        features.reshape({-1, width}).index_copy(0, keptDrafts, guesses.index_select(0, kept));
    const Tensor states = lastStates(drafter, mixed.view({rows, length}), guessed.view({rows, length, width}),
                                     settings.precision);
    return {drawn.index_select(0, kept), states.index_select(0, keptDrafts),
            acceptance.index_select(0, kept)};
  }

 private:
  // Of the target, behind its features; some rows at a time, because each is as long as the vocabulary.
  Tensor logProbabilities(const Tensor& features, const Tensor& tokens) const {
    constexpr std::int64_t kRows = 256;
    std::vector<Tensor> parts = {at::empty({0}, features.options())};
    for (std::int64_t first = 0; first < features.size(0); first += kRows) {
      const std::int64_t count = std::min(kRows, features.size(0) - first);
      const Tensor logits = at::linear(features.narrow(0, first, count), ends_.head);
      const Tensor chosen = logits.gather(1, tokens.narrow(0, first, count).unsqueeze(1)).squeeze(1);
      parts.push_back(chosen - at::logsumexp(logits, 1));
    }
    return at::cat(parts);
  }

  TargetEnds ends_;
  std::vector<std::int64_t> distances_;
  Tensor ranked_;
};

}  // namespace

std::unique_ptr<DraftJudge> judgeByNet(Net target) {
  return std::make_unique<NetJudge>(std::move(target));
}

Result<std::unique_ptr<DraftJudge>> judgeByFeatures(const std::string& target, const std::string& head,
                                                    at::Device device) {
  DECOSCOPE_ASSIGN(TargetEnds ends, TargetEnds::read(target, device));
  DECOSCOPE_ASSIGN(const auto weights, openWeights(head));
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(*weights, head));
  const std::int64_t vocabulary = ends.head.size(0);
  std::vector<std::int64_t> distances(static_cast<std::size_t>(vocabulary), 0);
  if (const WeightTensor* tensor = weights->find(architecture.names.ranked)) {
    if (tensor->shape.size() != 1 || tensor->elements() > vocabulary)
      return fail(ErrorCode::badInput, "the head ranks more tokens than its target has", head);
    std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
    DECOSCOPE_TRY(dequantise(*tensor, 0, values));
    distances.assign(values.begin(), values.end());
    for (std::size_t i = 0; i < distances.size(); ++i)
      if (const std::int64_t token = distances[i] + static_cast<std::int64_t>(i);
          token < 0 || token >= vocabulary)
        return fail(ErrorCode::badInput, "the head ranks a token that its target does not have",
                    head + ", tensor " + architecture.names.ranked + ", entry " + std::to_string(i));
  }
  return std::unique_ptr<DraftJudge>(std::make_unique<FeatureJudge>(std::move(ends), std::move(distances)));
}

}  // namespace decoscope::train
