// A chain of a drafter's samples that ends where an acceptance head thinks that something in it will be
// rejected. Source: Huang et al. 2024, "SpecDec++: Boosting Speculative Decoding via Adaptive Candidate
// Lengths", arXiv 2405.19715. Stopping looks only at what is drafted already, so rule R1 stays exact. The
// drafter is a model of its own or a head on the target's features: of that, the feature that it guesses at a
// token is the state that is judged.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/decode/Methods.h"
#include "core/decode/draft/FeatureFeed.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/draft/StopRule.h"
#include "core/decode/speculative/SpeculativeDecoder.h"

namespace decoscope {

namespace {

constexpr const char* kDrafter = "drafter";

// Logits of a draft head that ranks some tokens only, as a row over the whole vocabulary.
class WholeRow final : public Logits {
 public:
  WholeRow(const Logits& ranked, const std::vector<TokenId>& tokens, int vocabulary)
      : values_(static_cast<std::size_t>(vocabulary), -std::numeric_limits<float>::infinity()) {
    const auto row = ranked.row(0);
    for (std::size_t i = 0; i < std::min(row.size(), tokens.size()); ++i)
      if (tokens[i] < vocabulary) values_[static_cast<std::size_t>(tokens[i])] = row[i];
  }
  int rows() const override { return 1; }
  int vocabularySize() const override { return static_cast<int>(values_.size()); }
  std::span<const float> row(int) const override { return values_; }

 private:
  std::vector<float> values_;
};

// What the drafter says behind a token: logits of the next one, and its state there.
struct Said {
  std::unique_ptr<Logits> logits;
  std::vector<float> state;
};

class JudgedChainProposer final : public Proposer {
 public:
  JudgedChainProposer(const ParamSet& parameters, Chooser chooser) : chooser_(std::move(chooser)) {
    configure(parameters);
  }

  DraftBudget fullSize() const override { return {most_, most_, {}}; }
  bool free() const override { return false; }

  Status begin(DecodeEnvironment& environment) override {
    const Model& drafter = *environment.role(kDrafter).model;
    const ModelInfo& target = environment.target().model->info();
    const ModelInfo& head = environment.role("head").model->info();
    followsFeatures_ = drafter.capabilities().followsFeatures;
    if (followsFeatures_) DECOSCOPE_TRY(feed_.check(environment));
    if (!followsFeatures_ && drafter.info().vocabularySize != target.vocabularySize)
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

  std::vector<Tap> watches(const DecodeEnvironment& environment) const override {
    return followsFeatures_ ? feed_.watches(environment) : std::vector<Tap>();
  }
  Result<std::size_t> watched(DecodeEnvironment& environment) override { return feed_.watched(environment); }
  Status watch(DecodeEnvironment& environment, std::size_t first, std::span<const TapValue> states) override {
    return feed_.watch(environment, first, states);
  }

  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    DraftTree tree;
    tree.kind = ChildKind::independent;
    tree.owner = kDrafter;
    std::int64_t room = environment.role(kDrafter).model->info().contextLength -
                        static_cast<std::int64_t>(environment.text.size());
    if (followsFeatures_) {
      DECOSCOPE_ASSIGN(room, feed_.room(environment));
    }
    const int most =
        static_cast<int>(std::clamp<std::int64_t>(room, 0, std::min({budget.nodes, budget.depth, most_})));
    const Status drafted = draft(environment, most, tree);
    if (followsFeatures_ && most > 0) DECOSCOPE_TRY(feed_.forgetDraft(environment));
    if (!drafted) return tl::unexpected(drafted.error());
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

  Status draft(DecodeEnvironment& environment, int most, DraftTree& tree) {
    StopRule rule(threshold_, least_);
    const char* reason = "max";
    for (int drafted = 0; drafted < most; ++drafted) {
      // The first row stands at a token of the text, whose fate is known.
      Said said;
      if (drafted == 0) {
        DECOSCOPE_ASSIGN(said, sayBehindText(environment));
      } else {
        DECOSCOPE_ASSIGN(said, sayBehind(environment, tree.nodes.back().token));
        DECOSCOPE_ASSIGN(const double acceptance, judge(environment, said.state));
        environment.recorder->add(ScoreFact{drafted - 1, "estimated_acceptance", acceptance});
        rule.add(acceptance);
      }
      DECOSCOPE_ASSIGN(const TokenId token, extend(environment, *said.logits, tree));
      state_ = std::move(said.state);
      if (std::find(environment.stopTokens.begin(), environment.stopTokens.end(), token) !=
          environment.stopTokens.end()) {
        reason = "end of text";
        break;
      }
      if (rule.stops(drafted + 1)) {
        reason = "threshold";
        break;
      }
    }
    environment.recorder->add(ScoreFact{kRootNode, "estimated_rejection", rule.rejection()});
    if (!tree.nodes.empty()) environment.recorder->note("draft", std::string("Ended by: ") + reason + ".");
    return {};
  }

  Result<Said> sayBehindText(DecodeEnvironment& environment) {
    if (followsFeatures_) {
      DECOSCOPE_ASSIGN(FeatureFeed::Row row, feed_.read(environment, true));
      return Said{whole(environment, std::move(row.logits)), std::move(row.feature)};
    }
    RoleModel& drafter = environment.role(kDrafter);
    const std::span<const TokenId> text(environment.text);
    DECOSCOPE_ASSIGN(const std::size_t done,
                     drafter.sequence.align(*drafter.model, text.first(text.size() - 1)));
    ForwardRequest request;
    request.tokens.assign(text.begin() + static_cast<std::ptrdiff_t>(done), text.end());
    request.logitRows = {static_cast<std::int32_t>(request.tokens.size()) - 1};
    DECOSCOPE_ASSIGN(ForwardOutput output, environment.forward(kDrafter, request, ForwardPhase::draft));
    return Said{std::move(output.logits), {}};
  }

  // Behind a drafted token, the last one that the drafter has not read.
  Result<Said> sayBehind(DecodeEnvironment& environment, TokenId token) const {
    ForwardRequest request;
    request.tokens = {token};
    request.logitRows = {0};
    request.taps = {{TapSite::residual, environment.role(kDrafter).model->info().layers}};
    if (followsFeatures_) {
      request.inputs = state_;
      request.follows = {environment.role(kDrafter).model->cached() - 1};
    }
    DECOSCOPE_ASSIGN(ForwardOutput output, environment.forward(kDrafter, request, ForwardPhase::draft));
    return Said{whole(environment, std::move(output.logits)), std::move(output.taps.front().values)};
  }

  static std::unique_ptr<Logits> whole(const DecodeEnvironment& environment, std::unique_ptr<Logits> logits) {
    const std::vector<TokenId>& ranked = environment.role(kDrafter).model->info().rankedTokens;
    if (ranked.empty()) return logits;
    return std::make_unique<WholeRow>(*logits, ranked, environment.target().model->info().vocabularySize);
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
  bool followsFeatures_ = false;
  FeatureFeed feed_{kDrafter};
  std::vector<float> state_;  // the drafter's at its last token
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
