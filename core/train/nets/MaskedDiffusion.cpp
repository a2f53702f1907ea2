#include "core/train/nets/Draws.h"
#include "core/train/nets/Objective.h"

namespace decoscope::train {

namespace {

using at::Tensor;

constexpr double kLeastMasked = 1e-3;  // LLaDA's ε

class MaskedDiffusion final : public Objective {
 public:
  MaskedDiffusion(const TransformerConfig& config, double promptShare)
      : mask_(config.maskToken),
        shifted_(config.shifted),
        layers_(config.layers),
        promptShare_(promptShare) {}

  Loss loss(Net& net, const Batch& batch, const Place& place) override {
    const std::int64_t rows = batch.tokens.size(0);
    const at::TensorOptions floats = batch.tokens.options().dtype(at::kFloat);
    // Stratified over the batch: every batch sees weak and strong masking.
    const Tensor t = (at::arange(rows, floats) + uniforms({rows}, place.generator, floats)) / rows;
    const Tensor prompts = uniforms({rows, 1}, place.generator, floats) < promptShare_;
    return masked(net, batch, t, prompts, place.generator, place.precision);
  }

  std::vector<Measure> evaluate(Net& net, const Rows& rows, at::ScalarType precision) override {
    constexpr std::int64_t kRows = 16;
    at::Generator generator = at::detail::createCPUGenerator(1);
    double sum = 0;
    std::int64_t batches = 0;
    rows.forHeldOut(kRows, [&](const Batch& batch, std::span<const TrainingText>) {
      const std::int64_t count = batch.tokens.size(0);
      const Tensor t = (at::arange(count, batch.tokens.options().dtype(at::kFloat)) + 0.5) / count;
      const Tensor prompts = at::zeros({count, 1}, batch.answer.options());
      sum += masked(net, batch, t, prompts, generator, precision).total.item<double>();
      ++batches;
    });
    return {{"held_out_loss", batches > 0 ? sum / static_cast<double>(batches) : 0, "nats"}};
  }

 private:
  Loss masked(Net& net, const Batch& batch, const Tensor& t, const Tensor& prompts,
              const at::Generator& generator, at::ScalarType precision) {
    const std::int64_t rows = batch.tokens.size(0), length = batch.tokens.size(1) - 1;
    const Tensor tokens = batch.tokens.narrow(1, 0, length), answer = batch.answer.narrow(1, 0, length);
    const Tensor p = ((1 - kLeastMasked) * t + kLeastMasked).unsqueeze(1);
    const Tensor eligible = answer | prompts;
    const Tensor hidden = (uniforms({rows, length}, generator, p.options()) < p) & eligible;
    NetRequest request;
    request.tokens = at::where(hidden, at::full_like(tokens, mask_), tokens);
    request.exits = {layers_};
    request.precision = precision;
    // Of each row by its own number of tokens that could be masked, as for answers in the paper.
    Tensor wanted = tokens,
           weights = hidden.to(at::kFloat) * (1 / p / eligible.sum(1, true).clamp_min(1).to(at::kFloat));
    if (shifted_) {
      // The row of position j speaks for j + 1; nothing speaks for position 0.
      wanted = wanted.roll({-1}, {1});
      weights = at::cat({weights.narrow(1, 1, length - 1), at::zeros({rows, 1}, weights.options())}, 1);
    }
    const Tensor places = weights.reshape({-1}).nonzero().squeeze(1);
    const Tensor states = net.states(request).front().index_select(0, places);
    const Tensor each = at::cross_entropy_loss(
        net.logits(states, precision), wanted.reshape({-1}).index_select(0, places), {}, at::Reduction::None);
    const Tensor mean =
        (each * weights.reshape({-1}).index_select(0, places)).sum() / static_cast<double>(rows);
    return {mean, {}};
  }

  TokenId mask_;
  bool shifted_;
  int layers_;
  double promptShare_;
};

}  // namespace

Result<std::unique_ptr<Objective>> makeMaskedDiffusion(const ObjectiveSetup& setup) {
  const Recipe& recipe = setup.recipe;
  const std::string where = recipe.folder + "/recipe.json, field shape";
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureFromConfig(recipe.shape.dump(), where));
  if (!architecture.config.diffusion)
    return fail(ErrorCode::badInput, "masked diffusion needs \"is_causal\": false and a mask_token_id",
                where);
  return std::unique_ptr<Objective>(
      std::make_unique<MaskedDiffusion>(architecture.config, optionOf(recipe, "prompts", 0.1)));
}

}  // namespace decoscope::train
