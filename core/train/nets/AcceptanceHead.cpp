// Training of SpecDec++'s head (Huang et al. 2024, arXiv 2405.19715; methods sheet §5): from the drafter's
// state at a token that it drew, how probably the target accepts it. The texts stand for the target's
// samples: it has learned from them, or written them.
#include <algorithm>

#include "core/train/nets/AcceptanceNet.h"
#include "core/train/nets/DraftChains.h"
#include "core/train/nets/DraftJudge.h"
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
  AcceptanceHead(Settings settings, AcceptanceNet head, std::unique_ptr<DraftJudge> judge)
      : settings_(settings), head_(std::move(head)), judge_(std::move(judge)) {}

  ParameterSet* head() override { return &head_; }

  Status prepare(Net& drafter, const Rows&) override {
    const TransformerConfig& config = drafter.architecture().config;
    if (config.width != head_.width())
      return fail(ErrorCode::badInput,
                  "the head reads states of width " + std::to_string(head_.width()) +
                      ", the drafter's have " + std::to_string(config.width),
                  "the recipe's field shape.hidden_size");
    return judge_->prepare(drafter);
  }

  Loss loss(Net& drafter, const Batch& batch, const Place& place) override {
    const Judged judged = judge_->judge(drafter, batch, place.generator, {settings_.mixing, place.precision});
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
      const Judged judged = judge_->judge(drafter, batch, generator, {settings_.mixing, precision});
      logits.push_back(head_.logits(judged.states));
      acceptance.push_back(judged.acceptance);
    });
    if (logits.empty()) return {};
    const Tensor all = at::cat(logits), wanted = at::cat(acceptance);
    std::vector<Measure> measures = {
        {"held_out_loss", acceptanceLoss(all, wanted, settings_.rejectionWeight).item<double>(), "nats"},
        {"held_out_area_under_curve", areaUnderCurve(estimatesOf(all), wanted), ""}};
    if (chains_.empty())
      chains_ = judge_->chains(drafter, rows, {settings_.starts, kLongest, settings_.seed, precision});
    if (chains_.empty()) return measures;
    const DraftFigures own = figuresOf(chains_, [&](const DraftChain& chain) {
      const Tensor estimates = estimatesOf(head_.logits(chain.states)).to(at::kCPU, at::kDouble).contiguous();
      const auto* first = estimates.const_data_ptr<double>();
      return lengthByRule(chain, {first, first + estimates.numel()}, kThreshold, kShortest);
    });
    measures.push_back({"held_out_drafted", own.drafted, "tokens"});
    measures.push_back({"held_out_accepted", own.accepted, "tokens"});
    measures.push_back({"held_out_wasted", own.wasted(), ""});
    measures.push_back(
        {"held_out_wasted_at_fixed_length", fixedLengthsThatAccept(chains_, own.accepted).wasted(), ""});
    return measures;
  }

 private:
  Settings settings_;
  AcceptanceNet head_;
  std::unique_ptr<DraftJudge> judge_;
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
  std::unique_ptr<DraftJudge> judge;
  if (recipe.features) {
    DECOSCOPE_ASSIGN(judge,
                     judgeByFeatures(setup.pathOf(recipe.teacher), setup.pathOf(recipe.start), setup.device));
  } else {
    DECOSCOPE_ASSIGN(Net target, setup.openNet(recipe.teacher));
    judge = judgeByNet(std::move(target));
  }
  return std::unique_ptr<Objective>(
      std::make_unique<AcceptanceHead>(settings, std::move(head), std::move(judge)));
}

}  // namespace decoscope::train
