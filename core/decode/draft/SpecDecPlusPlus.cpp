// A chain of a drafter's samples that ends where an acceptance head thinks that something in it will be
// rejected. Source: Huang et al. 2024, "SpecDec++: Boosting Speculative Decoding via Adaptive Candidate
// Lengths", arXiv 2405.19715. Stopping looks only at what is drafted already, so rule R1 stays exact.
#include <algorithm>
#include <cmath>

#include "core/decode/Methods.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/draft/StopRule.h"
#include "core/decode/speculative/SpeculativeDecoder.h"

namespace decoscope {

namespace {

class JudgedChainProposer final : public Proposer {
 public:
  JudgedChainProposer(const ParamSet& parameters, Chooser chooser) : chooser_(std::move(chooser)) {
    configure(parameters);
  }

  DraftBudget fullSize() const override { return {most_, most_, {}}; }
  bool free() const override { return false; }

  Status begin(DecodeEnvironment& environment) override {
    const Model& drafter = *environment.role("drafter").model;
    const ModelInfo& target = environment.target().model->info();
    const ModelInfo& head = environment.role("head").model->info();
    if (drafter.info().vocabularySize != target.vocabularySize)
      return fail(ErrorCode::badInput,
                  "the drafter has " + std::to_string(drafter.info().vocabularySize) +
                      " tokens and the target " + std::to_string(target.vocabularySize),
                  drafter.info().name, "Choose a drafter with the target's own tokenizer.");
    if (!drafter.capabilities().hiddenStates)
      return fail(ErrorCode::unsupported,
                  "an acceptance head needs the drafter's hidden states, which it does not show",
                  drafter.info().name, "Choose another drafter.");
    if (head.architecture != "specdec-pp" || head.width != drafter.info().width)
      return fail(ErrorCode::badInput,
                  "this is no acceptance head for a drafter of width " + std::to_string(drafter.info().width),
                  head.name, "The role 'head' takes the acceptance head that was trained for the drafter.");
    return {};
  }

  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    RoleModel& drafter = environment.role("drafter");
    DraftTree tree;
    tree.kind = ChildKind::independent;
    tree.owner = "drafter";
    const std::span<const TokenId> text(environment.text);
    DECOSCOPE_ASSIGN(const std::size_t done,
                     drafter.sequence.align(*drafter.model, text.first(text.size() - 1)));
    const auto room = drafter.model->info().contextLength - static_cast<std::int64_t>(text.size());
    const int most =
        static_cast<int>(std::clamp<std::int64_t>(room, 0, std::min({budget.nodes, budget.depth, most_})));
    std::vector<TokenId> unread(text.begin() + static_cast<std::ptrdiff_t>(done), text.end());
    StopRule rule(threshold_, least_);
    const char* reason = "max";
    for (int drafted = 0; drafted < most; ++drafted) {
      ForwardRequest request;
      request.logitRows = {static_cast<std::int32_t>(unread.size()) - 1};
      request.tokens = std::move(unread);
      // The first row stands at a token of the text, whose fate is known.
      if (drafted > 0) request.taps = {{TapSite::residual, drafter.model->info().layers}};
      DECOSCOPE_ASSIGN(const ForwardOutput output,
                       environment.forward("drafter", request, ForwardPhase::draft));
      if (drafted > 0) {
        DECOSCOPE_ASSIGN(const double acceptance, judge(environment, output.taps.front().values));
        environment.recorder->add(ScoreFact{drafted - 1, "estimated_acceptance", acceptance});
        rule.add(acceptance);
      }
      DECOSCOPE_ASSIGN(const TokenId token, extend(environment, *output.logits, tree));
      if (std::find(environment.stopTokens.begin(), environment.stopTokens.end(), token) !=
          environment.stopTokens.end()) {
        reason = "end of text";
        break;
      }
      if (rule.stops(drafted + 1)) {
        reason = "threshold";
        break;
      }
      unread = {token};
    }
    environment.recorder->add(ScoreFact{kRootNode, "estimated_rejection", rule.rejection()});
    if (!tree.nodes.empty()) environment.recorder->note("draft", std::string("Ended by: ") + reason + ".");
    return tree;
  }

  Status reconfigure(const ParamSet& parameters) override {
    configure(parameters);
    DECOSCOPE_ASSIGN(chooser_, Chooser::create(parameters));
    return {};
  }

 private:
  void configure(const ParamSet& parameters) {
    most_ = static_cast<int>(parameters.integer("gamma"));
    least_ = static_cast<int>(parameters.integer("min_length"));
    threshold_ = parameters.real("threshold");
  }

  // The probability of class 1 for the drafter's state at its last token.
  static Result<double> judge(const DecodeEnvironment& environment, const std::vector<float>& state) {
    ForwardRequest request;
    request.visibility = Visibility::full;
    request.tokens = {0};
    request.inputs = state;
    request.logitRows = {0};
    DECOSCOPE_ASSIGN(const ForwardOutput output,
                     environment.role("head").model->forward(request, environment.stop));
    const auto classes = output.logits->row(0);
    return 1 / (1 + std::exp(static_cast<double>(classes[0]) - classes[1]));
  }

  // Adds the drafter's sample, or its most probable token at temperature 0.
  Result<TokenId> extend(DecodeEnvironment& environment, const Logits& logits, DraftTree& tree) const {
    const NodeId parent = static_cast<NodeId>(tree.nodes.size()) - 1;
    const std::vector<TokenId> path = tree.path(parent);
    DECOSCOPE_ASSIGN(Distribution q, chooser_.distribution(environment, logits, 0, path));
    const auto position = static_cast<std::int64_t>(environment.text.size() + path.size());
    const TokenId token = chooser_.settings().greedy()
                              ? argmax(q)
                              : drawFrom(q, environment.draw(position, parent, DrawPurpose::propose)).token;
    tree.nodes.push_back({parent, token, q[static_cast<std::size_t>(token)], 0, parent + 2, 0});
    tree.q[parent] = std::move(q);
    return token;
  }

  Chooser chooser_;
  int most_ = 0, least_ = 0;
  double threshold_ = 0;
};

}  // namespace

void addSpecDecPlusPlus(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "specdec-pp";
  info.title = "SpecDec++";
  info.family = "speculative";
  info.citation = "Huang et al. 2024, arXiv 2405.19715";
  info.summary =
      "A drafter's chain that ends where a small head on its states thinks that something in it will be "
      "rejected.";
  info.lossless = "sampled";
  info.roles = {"target", "drafter", "head"};
  info.needs = {"causal"};
  info.schema = speculativeSchema(false).with(ParamSchema({
      {"gamma",
       "Longest draft",
       ParamType::integer,
       std::int64_t{20},
       1,
       64,
       {},
       "tokens",
       "Tokens drafted at most."},
      {"min_length",
       "Shortest draft",
       ParamType::integer,
       std::int64_t{2},
       1,
       64,
       {},
       "tokens",
       "Tokens drafted before the head may end the draft."},
      {"threshold",
       "Threshold",
       ParamType::real,
       0.7,
       0,
       1,
       {},
       "",
       "The draft ends where the estimated probability that one of its tokens will be rejected exceeds "
       "this."},
  }));
  addSpeculative(
      registry, std::move(info),
      [](const DecoderSetup& setup, const Chooser& chooser) -> Result<std::unique_ptr<Proposer>> {
        return std::unique_ptr<Proposer>(std::make_unique<JudgedChainProposer>(setup.parameters, chooser));
      });
}

}  // namespace decoscope
