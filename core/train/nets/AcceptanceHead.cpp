// Training of SpecDec++'s head (Huang et al. 2024, arXiv 2405.19715; methods sheet §5). At every position of
// a text's answer the drafter draws a token, which the target would accept with probability P = min(1, p ÷
// q); read behind the others, the drafter's state at that token is what P is to be told from. The texts stand
// for the target's samples: the target has learned from the same ones.
#include <algorithm>

#include "core/train/nets/AcceptanceNet.h"
#include "core/train/nets/DraftChains.h"
#include "core/train/nets/Objective.h"

namespace decoscope::train {

namespace {

using at::Tensor;

// SpecDec++'s own, as the method has them by default.
constexpr double kThreshold = 0.7;
constexpr int kShortest = 2, kLongest = 20;

struct Settings {
  double rejectionWeight = 6, mixing = 0.15;
  int starts = 4;
  std::uint64_t seed = 0;
};

class AcceptanceHead final : public Objective {
 public:
  AcceptanceHead(Settings settings, AcceptanceNet head, Net target)
      : settings_(settings), head_(std::move(head)), target_(std::move(target)) {}

  ParameterSet* head() override { return &head_; }

  Status prepare(Net& drafter, const Rows&) override {
    const TransformerConfig& config = drafter.architecture().config;
    if (config.width != head_.width())
      return fail(ErrorCode::badInput,
                  "the head reads states of width " + std::to_string(head_.width()) +
                      ", the drafter's have " + std::to_string(config.width),
                  "the recipe's field shape.hidden_size");
    if (config.followsFeatures || config.diffusion ||
        config.vocabulary != target_.architecture().config.vocabulary)
      return fail(ErrorCode::badInput,
                  "an acceptance head needs a drafter that writes the target's own tokens",
                  "the recipe's field start", "Choose a next-token model with the target's tokenizer.");
    return {};
  }

  Loss loss(Net& drafter, const Batch& batch, const Place& place) override {
    const Judged judged = judge(drafter, batch, place.generator, place.precision);
    const Tensor logits = head_.logits(judged.states);
    Loss loss;
    loss.total = acceptanceLoss(logits, judged.acceptance, settings_.rejectionWeight);
    const c10::NoGradGuard guard;
    loss.measures.push_back({"acceptance", judged.acceptance.mean().item<double>(), ""});
    loss.measures.push_back({"estimated_acceptance", estimatesOf(logits).mean().item<double>(), ""});
    return loss;
  }

  // The same loss, how well estimates rank tokens, and what drafts come to that end by them, beside drafts of
  // fixed length that accept as much.
  std::vector<Measure> evaluate(Net& drafter, const Rows& rows, at::ScalarType precision) override {
    constexpr std::int64_t kRows = 16;
    at::Generator generator = at::detail::createCPUGenerator(settings_.seed);
    std::vector<Tensor> logits, acceptance;
    rows.forHeldOut(kRows, [&](const Batch& batch, std::span<const TrainingText>) {
      const Judged judged = judge(drafter, batch, generator, precision);
      logits.push_back(head_.logits(judged.states));
      acceptance.push_back(judged.acceptance);
    });
    if (logits.empty()) return {};
    const Tensor all = at::cat(logits), wanted = at::cat(acceptance);
    if (chains_.empty())
      chains_ = draftChains(drafter, target_, rows, {settings_.starts, kLongest, settings_.seed, precision});
    const DraftFigures own = figuresOf(chains_, [&](const DraftChain& chain) {
      const Tensor estimates = estimatesOf(head_.logits(chain.states)).to(at::kDouble).contiguous();
      const auto* first = estimates.const_data_ptr<double>();
      return lengthByRule(chain, {first, first + estimates.numel()}, kThreshold, kShortest);
    });
    const DraftFigures fixed = fixedLengthsThatAccept(chains_, own.accepted);
    return {{"held_out_loss", acceptanceLoss(all, wanted, settings_.rejectionWeight).item<double>(), "nats"},
            {"held_out_area_under_curve", areaUnderCurve(estimatesOf(all), wanted), ""},
            {"held_out_drafted", own.drafted, "tokens"},
            {"held_out_accepted", own.accepted, "tokens"},
            {"held_out_wasted", own.wasted(), ""},
            {"held_out_wasted_at_fixed_length", fixed.wasted(), ""}};
  }

 private:
  // Drafted tokens: the drafter's states at them [n, width] and the target's probability to accept them [n].
  struct Judged {
    Tensor states, acceptance;
  };

  static Tensor statesOf(Net& net, const Tensor& tokens, at::ScalarType precision) {
    NetRequest request;
    request.tokens = tokens;
    request.exits = {net.architecture().config.layers};
    request.precision = precision;
    return net.states(request).front();
  }

  Judged judge(Net& drafter, const Batch& batch, at::Generator generator, at::ScalarType precision) {
    const c10::NoGradGuard guard;
    const std::int64_t rows = batch.tokens.size(0), length = batch.tokens.size(1);
    // Flat indices of what stands in answers, and of the positions before that it was drafted at.
    Tensor inside = batch.answer & batch.text;
    inside.select(1, 0).fill_(false);
    const Tensor drafted = inside.reshape({-1}).nonzero().squeeze(1), before = drafted - 1;
    const auto logitsBefore = [&](Net& net) {
      return net.logits(statesOf(net, batch.tokens, precision).index_select(0, before), precision);
    };
    const Tensor q = logitsBefore(drafter);
    const Tensor drawn = at::multinomial(at::softmax(q, -1), 1, true, generator).squeeze(1);
    const Tensor acceptance = acceptanceOf(logitsBefore(target_), q, drawn);
    // A share keeps the text's own token, so that not all that is read was drafted; those are not judged.
    const Tensor own = at::rand({drawn.size(0)}, generator, at::TensorOptions(at::kFloat)) < settings_.mixing;
    const Tensor flat = batch.tokens.reshape({-1});
    const Tensor mixed =
        flat.scatter(0, drafted, at::where(own, flat.index_select(0, drafted), drawn)).view({rows, length});
    const Tensor kept = own.logical_not().nonzero().squeeze(1);
    return {statesOf(drafter, mixed, precision).index_select(0, drafted.index_select(0, kept)),
            acceptance.index_select(0, kept)};
  }

  Settings settings_;
  AcceptanceNet head_;
  Net target_;
  std::vector<DraftChain> chains_;  // made once: they do not depend on the head
};

}  // namespace

Result<std::unique_ptr<Objective>> makeAcceptanceHead(const ObjectiveSetup& setup) {
  const Recipe& recipe = setup.recipe;
  const std::string where = recipe.folder + "/recipe.json";
  if (recipe.start.empty() || recipe.teacher.empty())
    return fail(ErrorCode::badInput, "an acceptance head needs a drafter and a target",
                where + ", fields start and teacher");
  Settings settings;
  settings.rejectionWeight = optionOf(recipe, "rejection_weight", settings.rejectionWeight);
  settings.mixing = optionOf(recipe, "mixing", settings.mixing);
  settings.starts = static_cast<int>(std::clamp(optionOf(recipe, "starts", settings.starts), 1.0, 64.0));
  settings.seed = recipe.seed;
  if (settings.rejectionWeight <= 0 || settings.mixing < 0 || settings.mixing >= 1)
    return fail(ErrorCode::badInput, "'rejection_weight' must be positive, 'mixing' at least 0 and below 1",
                where + ", field options");
  DECOSCOPE_ASSIGN(AcceptanceNet head,
                   AcceptanceNet::create(recipe.shape.dump(), where + ", field shape", recipe.seed));
  DECOSCOPE_ASSIGN(Net target, setup.openNet(recipe.teacher));
  return std::unique_ptr<Objective>(
      std::make_unique<AcceptanceHead>(settings, std::move(head), std::move(target)));
}

}  // namespace decoscope::train
