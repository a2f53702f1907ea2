#include "core/decode/speculative/SpeculativeDecoder.h"

#include <algorithm>
#include <deque>
#include <numeric>

namespace decoscope {

namespace {

VerifierSettings verifierSettings(const ParamSet& parameters) {
  VerifierSettings settings;
  settings.typical = parameters.has("rule") && parameters.text("rule") == "r4";
  if (settings.typical) {
    settings.epsilon = parameters.real("epsilon");
    settings.delta = parameters.real("delta");
  }
  return settings;
}

class SpeculativeDecoder final : public CausalDecoder {
 public:
  SpeculativeDecoder(Chooser chooser, std::unique_ptr<Proposer> proposer, const DecoderSetup& setup)
      : CausalDecoder(std::move(chooser)), proposer_(std::move(proposer)), notes_(setup.notes) {
    configure(setup.parameters);
  }

  Status begin(DecodeEnvironment& environment) override {
    DECOSCOPE_TRY(proposer_->begin(environment));
    watches_ = proposer_->watches(environment);
    DECOSCOPE_TRY(catchUp(environment));
    return controller_->begin(environment, *proposer_);
  }

  Status reconfigure(const ParamSet& parameters) override {
    DECOSCOPE_ASSIGN(chooser_, Chooser::create(parameters));
    DECOSCOPE_TRY(proposer_->reconfigure(parameters));
    if (adaptive_ != parameters.boolean("adaptive")) configure(parameters), controllerFresh_ = true;
    verifier_ = verifierSettings(parameters);
    return {};
  }

  Status step(DecodeEnvironment& environment) override {
    if (std::exchange(controllerFresh_, false)) DECOSCOPE_TRY(controller_->begin(environment, *proposer_));
    Recorder& recorder = *environment.recorder;
    ForwardRequest request;
    DECOSCOPE_ASSIGN(request.tokens, pending(environment));
    if (request.tokens.empty()) return {};
    if (!watches_.empty()) {
      DECOSCOPE_TRY(catchUp(environment));
      DECOSCOPE_ASSIGN(request.tokens, pending(environment));
    }

    DraftTree tree;
    {
      Recorder::Timer timer(recorder, TimeShare::draft);
      DECOSCOPE_ASSIGN(tree, draft(environment));
      if (controller_->learnsFromText() && !tree.nodes.empty())
        shadows_.push_back({tree, environment.text.size()});
      const std::string reason = controller_->prune(tree);
      if (!reason.empty() && recorder.wantsDetail()) recorder.note("controller", reason);
    }
    for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
      const DraftNode& node = tree.nodes[i];
      recorder.add(ProposeFact{static_cast<NodeId>(i), node.parent, node.token, node.q, node.rank, node.depth,
                               tree.owner});
    }

    Recorder::Timer timer(recorder, TimeShare::verify);
    const auto textRows = static_cast<std::int32_t>(request.tokens.size());
    const std::size_t firstRow = environment.text.size() - request.tokens.size();
    appendTree(request, tree);
    request.taps = watches_;
    const int base = environment.target().model->cached();
    DECOSCOPE_ASSIGN(const ForwardOutput output,
                     environment.forward("target", request, ForwardPhase::verify));
    const Logits& logits = *output.logits;
    std::vector<RowSummary> summaries;
    const int observed = proposer_->observedTokens();
    std::vector<std::vector<TokenId>> best;  // of each row, for the proposer
    if (observed > 0) {
      DECOSCOPE_ASSIGN(best, logits.largest(observed));
    }
    if (recorder.wantsDistributions()) {
      const Recorder::Timer recording(recorder, TimeShare::recording);
      DECOSCOPE_ASSIGN(summaries, logits.summaries(recorder.topK()));
      for (std::size_t row = 0; row < summaries.size(); ++row)
        recorder.add(digest(summaries[row], DistributionKind::targetRaw, static_cast<NodeId>(row) - 1));
    }
    DECOSCOPE_ASSIGN(const Walk walk, verifyTree(environment, chooser_, tree, logits, summaries, verifier_));

    const TokenId root = environment.text.back();
    const std::vector<TokenId> committed = commitWalk(environment, tree, walk);
    const std::size_t kept =
        std::min(walk.accepted.size(), committed.size() - std::min<std::size_t>(committed.size(), 1));
    DECOSCOPE_TRY(compact(environment, base + textRows, walk, kept, tree.nodes.size()));
    if (!watches_.empty())
      DECOSCOPE_TRY(proposer_->watch(
          environment, firstRow, textStates(output.taps, textRows, std::span(walk.accepted).first(kept))));
    observe(environment, tree, walk, root, best);
    learn(environment);
    return {};
  }

  std::string exportState() const override { return proposer_->exportState(); }
  Status importState(const std::string& bytes) override { return proposer_->importState(bytes); }

 private:
  // A draft whose fate is not known yet: the controller learns from it as the text grows.
  struct Shadow {
    DraftTree tree;
    std::size_t start = 0;  // length of the text when it was drafted
  };

  void configure(const ParamSet& parameters) {
    adaptive_ = parameters.boolean("adaptive");
    verifier_ = verifierSettings(parameters);
    if (!adaptive_)
      controller_ = makeFixedController();
    else if (proposer_->free())
      controller_ = makeAdaptiveController(notes_);
    else if (proposer_->growsByLevels())
      controller_ = makeLevelController(notes_);
    else
      controller_ = makeDepthController(proposer_->fullSize().depth);
  }

  Result<DraftTree> draft(DecodeEnvironment& environment) {
    DraftBudget budget = controller_->budget(proposer_->fullSize());
    // Neither beyond the end of the text nor beyond the context.
    const auto room =
        environment.target().model->info().contextLength - static_cast<std::int64_t>(environment.text.size());
    budget.depth = static_cast<int>(std::min<std::int64_t>(budget.depth, environment.remaining()));
    budget.nodes = static_cast<int>(std::clamp<std::int64_t>(room, 0, budget.nodes));
    if (budget.nodes <= 0 || budget.depth <= 0) return DraftTree{};
    return proposer_->propose(environment, budget);
  }

  // Appends the nodes below the pending token (the request's last) and asks for the rows of the root and of
  // every node.
  static void appendTree(ForwardRequest& request, const DraftTree& tree) {
    const auto root = static_cast<std::int32_t>(request.tokens.size()) - 1;
    for (std::int32_t i = 0; i <= root; ++i) request.parents.push_back(i - 1);
    request.logitRows.push_back(root);
    for (const DraftNode& node : tree.nodes) {
      request.parents.push_back(root + 1 + node.parent);
      request.logitRows.push_back(static_cast<std::int32_t>(request.tokens.size()));
      request.tokens.push_back(node.token);
    }
  }

  static std::vector<TokenId> commitWalk(DecodeEnvironment& environment, const DraftTree& tree,
                                         const Walk& walk) {
    const std::size_t before = environment.text.size();
    bool open = true;
    for (std::size_t i = 0; open && i < walk.accepted.size(); ++i)
      open = environment.commit(tree.nodes[static_cast<std::size_t>(walk.accepted[i])].token,
                                Provenance::accepted, walk.accepted[i]);
    if (open) environment.commit(walk.next, walk.provenance);
    return {environment.text.begin() + static_cast<std::ptrdiff_t>(before), environment.text.end()};
  }

  // Keeps the accepted path in the cache; the last committed token stays pending.
  static Status compact(DecodeEnvironment& environment, int prefix, const Walk& walk, std::size_t kept,
                        std::size_t nodes) {
    if (nodes == 0) return {};
    std::vector<std::int32_t> slots;
    for (std::size_t i = 0; i < kept; ++i) slots.push_back(prefix + walk.accepted[i]);
    environment.recorder->add(RollbackFact{"target", static_cast<std::int32_t>(nodes - kept)});
    RoleModel& target = environment.target();
    return target.sequence.retain(*target.model, prefix, slots);
  }

  // Reads again what the proposer has not seen the target's states of: where it takes up a text in the
  // middle, or behind a token that was forced.
  Status catchUp(DecodeEnvironment& environment) {
    if (watches_.empty()) return environment.prefill("target");
    DECOSCOPE_ASSIGN(const std::size_t seen, proposer_->watched(environment));
    RoleModel& target = environment.target();
    DECOSCOPE_ASSIGN(
        const std::size_t cached,
        target.sequence.align(*target.model, std::span(environment.text).first(environment.text.size() - 1)));
    if (seen < cached) DECOSCOPE_TRY(target.sequence.retain(*target.model, static_cast<int>(seen)));
    return environment.prefill("target", watches_, [&](std::size_t first, std::span<const TapValue> states) {
      return proposer_->watch(environment, first, states);
    });
  }

  // Of a round's rows, those whose tokens stand in the text now: the first `textRows` ones and the path.
  static std::vector<TapValue> textStates(const std::vector<TapValue>& taps, std::int32_t textRows,
                                          std::span<const NodeId> path) {
    std::vector<TapValue> states;
    for (const TapValue& tap : taps) {
      const std::ptrdiff_t width = tap.values.size() / tap.shape.front();
      TapValue state{tap.tap, tap.shape, {tap.values.begin(), tap.values.begin() + textRows * width}};
      for (const NodeId node : path) {
        const auto row = tap.values.begin() + (textRows + node) * width;
        state.values.insert(state.values.end(), row, row + width);
      }
      state.shape.front() = textRows + static_cast<std::int64_t>(path.size());
      states.push_back(std::move(state));
    }
    return states;
  }

  void observe(DecodeEnvironment& environment, const DraftTree& tree, const Walk& walk, TokenId root,
               const std::vector<std::vector<TokenId>>& best) {
    controller_->observe(tree, walk.accepted);
    if (best.empty()) return;
    std::vector<RowObservation> rows;
    for (std::size_t row = 0; row < best.size(); ++row)
      rows.push_back({static_cast<NodeId>(row) - 1, row == 0 ? root : tree.nodes[row - 1].token, best[row]});
    proposer_->observe(environment, rows, walk.accepted);
  }

  void learn(const DecodeEnvironment& environment) {
    const std::span<const TokenId> text(environment.text);
    std::erase_if(shadows_, [&](const Shadow& shadow) {
      return controller_->observeText(shadow.tree, text.subspan(shadow.start));
    });
  }

  std::unique_ptr<Proposer> proposer_;
  std::unique_ptr<Controller> controller_;
  std::vector<Tap> watches_;
  std::map<std::string, std::string>* notes_;
  VerifierSettings verifier_;
  std::deque<Shadow> shadows_;
  bool adaptive_ = false;
  bool controllerFresh_ = false;
};

}  // namespace

ParamSchema speculativeSchema(bool adaptiveByDefault) {
  return samplingSchema().with(
      ParamSchema({{"adaptive",
                    "Adaptive size",
                    ParamType::boolean,
                    adaptiveByDefault,
                    0,
                    1,
                    {},
                    "",
                    "On: a controller sizes each draft, down to none, by what it costs on this machine and "
                    "how often it was right. Off: always the full size, as in papers."}}));
}

void addSpeculative(MethodRegistry& registry, MethodInfo info, ProposerFactory proposer) {
  registry.add(
      std::move(info),
      [proposer = std::move(proposer)](const DecoderSetup& setup) -> Result<std::unique_ptr<Decoder>> {
        DECOSCOPE_ASSIGN(Chooser chooser, Chooser::create(setup.parameters));
        DECOSCOPE_ASSIGN(auto made, proposer(setup, chooser));
        return std::make_unique<SpeculativeDecoder>(std::move(chooser), std::move(made), setup);
      });
}

}  // namespace decoscope
