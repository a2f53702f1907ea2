// Drafts by a model: a separate one, or the target stopped early. Chain: Leviathan et al. 2023, arXiv
// 2211.17192. Tree of samples: Miao et al., "SpecInfer", arXiv 2305.09781. Early exit as its own drafter:
// Elhoushi et al., "LayerSkip", arXiv 2404.16710 (without its cache reuse).
#include <algorithm>

#include "core/decode/Methods.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/speculative/SpeculativeDecoder.h"

namespace decoscope {

namespace {

class ModelProposer final : public Proposer {
 public:
  ModelProposer(ModelDraftShape shape, Chooser chooser, ShapeReader shapeOf)
      : shape_(std::move(shape)), chooser_(std::move(chooser)), shapeOf_(std::move(shapeOf)) {}

  DraftBudget fullSize() const override { return {shape_.nodes, shape_.depth}; }
  bool free() const override { return false; }

  Status begin(DecodeEnvironment& environment) override {
    const Model& drafter = *environment.role(shape_.role).model;
    const Model& target = *environment.target().model;
    if (drafter.info().vocabularySize != target.info().vocabularySize)
      return fail(ErrorCode::badInput,
                  "the drafter has " + std::to_string(drafter.info().vocabularySize) +
                      " tokens and the target " + std::to_string(target.info().vocabularySize),
                  drafter.info().name, "Choose a drafter with the target's own tokenizer.");
    if (shape_.exitLayer >= 0 && shape_.exitLayer >= target.info().layers)
      return fail(ErrorCode::usage,
                  "exit_layer must be below the model's " + std::to_string(target.info().layers) + " layers",
                  "parameter exit_layer");
    return {};
  }

  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    RoleModel& drafter = environment.role(shape_.role);
    DraftTree tree;
    tree.kind = shape_.kind;
    tree.owner = shape_.owner;
    const std::span<const TokenId> text(environment.text);
    DECOSCOPE_ASSIGN(const std::size_t done,
                     drafter.sequence.align(*drafter.model, text.first(text.size() - 1)));
    const auto room = drafter.model->info().contextLength - static_cast<std::int64_t>(text.size());
    const int maximum =
        static_cast<int>(std::clamp<std::int64_t>(room, 0, std::min(budget.nodes, shape_.nodes)));
    const int cachedText = drafter.model->cached();
    const std::vector<TokenId> missing(text.begin() + static_cast<std::ptrdiff_t>(done), text.end());
    const Status grown = grow(environment, drafter, missing, budget, maximum, tree);
    // An early exit leaves layers without keys; a tree leaves siblings in the cache. Neither may stay there
    // for the text, not even when the drafting was stopped.
    if (shape_.exitLayer > 0 || shape_.width > 1) {
      const int keep = shape_.exitLayer > 0
                           ? cachedText
                           : std::min(cachedText + static_cast<int>(missing.size()), drafter.model->cached());
      DECOSCOPE_TRY(drafter.sequence.retain(*drafter.model, keep));
    }
    DECOSCOPE_TRY(grown);
    return tree;
  }

  Status reconfigure(const ParamSet& parameters) override {
    DECOSCOPE_ASSIGN(shape_, shapeOf_(parameters));
    DECOSCOPE_ASSIGN(chooser_, Chooser::create(parameters));
    return {};
  }

 private:
  // Level by level: only the nodes that the last level added are fed, each behind its parent.
  Status grow(DecodeEnvironment& environment, RoleModel& drafter, const std::vector<TokenId>& missing,
              const DraftBudget& budget, int maximum, DraftTree& tree) {
    std::vector<NodeId> frontier = {kRootNode};
    std::vector<std::int32_t> slots;  // of the nodes that were fed; the text's last token is not among them
    const std::int32_t root = drafter.model->cached() + static_cast<std::int32_t>(missing.size()) - 1;
    const int levels = std::min(budget.depth, shape_.depth);
    for (int depth = 1; depth <= levels && !frontier.empty() && static_cast<int>(tree.nodes.size()) < maximum;
         ++depth) {
      ForwardRequest request;
      request.lastLayer = shape_.exitLayer > 0 ? shape_.exitLayer : -1;
      if (depth == 1) {
        request.tokens = missing;
        request.logitRows = {static_cast<std::int32_t>(missing.size()) - 1};
      } else {
        slots.resize(tree.nodes.size(), -1);
        for (const NodeId id : frontier) {
          const DraftNode& node = tree.nodes[static_cast<std::size_t>(id)];
          const auto row = static_cast<std::int32_t>(request.tokens.size());
          request.tokens.push_back(node.token);
          request.parents.push_back(-1);
          request.follows.push_back(node.parent == kRootNode ? root
                                                             : slots[static_cast<std::size_t>(node.parent)]);
          request.logitRows.push_back(row);
          slots[static_cast<std::size_t>(id)] = drafter.model->cached() + row;
        }
      }
      DECOSCOPE_ASSIGN(const ForwardOutput output,
                       environment.forward(shape_.role, request, ForwardPhase::draft));
      std::vector<NodeId> next;
      for (std::size_t i = 0; i < frontier.size(); ++i)
        DECOSCOPE_TRY(expand(environment, *output.logits, static_cast<int>(i), frontier[i], depth, maximum,
                             tree, next));
      frontier = std::move(next);
    }
    return {};
  }

  Status expand(DecodeEnvironment& environment, const Logits& logits, int row, NodeId parent, int depth,
                int maximum, DraftTree& tree, std::vector<NodeId>& next) {
    const std::vector<TokenId> path = tree.path(parent);
    DECOSCOPE_ASSIGN(Distribution q, chooser_.distribution(environment, logits, row, path));
    const auto position = static_cast<std::int64_t>(environment.text.size() + path.size());
    const bool ranked = chooser_.settings().greedy() || shape_.kind == ChildKind::deterministic;
    std::vector<TokenId> ranking;
    if (ranked) ranking = digest(q, DistributionKind::draft, parent, shape_.width).tokens;
    Distribution left = q;
    for (int rank = 0; rank < shape_.width; ++rank) {
      if (static_cast<int>(tree.nodes.size()) >= maximum) break;
      TokenId token = 0;
      if (ranked) {
        if (rank >= static_cast<int>(ranking.size())) break;
        token = ranking[static_cast<std::size_t>(rank)];
      } else {
        const double u =
            environment.draw(position, parent, DrawPurpose::propose, static_cast<std::uint32_t>(rank));
        token = drawFrom(left, u).token;
        if (shape_.kind == ChildKind::withoutReplacement) {
          const bool lastOne = left[static_cast<std::size_t>(token)] >= 1;
          left = without(left, token);
          if (lastOne) rank = shape_.width;  // nothing is left to draw
        }
      }
      const auto id = static_cast<NodeId>(tree.nodes.size());
      tree.nodes.push_back(
          {parent, token, q[static_cast<std::size_t>(token)], siblingRank(tree, parent), depth, 0});
      // Two equal samples are two chances to accept, but only one needs a subtree.
      const bool repeated = std::any_of(next.begin(), next.end(), [&](NodeId other) {
        const DraftNode& node = tree.nodes[static_cast<std::size_t>(other)];
        return node.parent == parent && node.token == token;
      });
      if (!repeated) next.push_back(id);
    }
    tree.q[parent] = std::move(q);
    return {};
  }

  static int siblingRank(const DraftTree& tree, NodeId parent) {
    return static_cast<int>(std::count_if(tree.nodes.begin(), tree.nodes.end(),
                                          [&](const DraftNode& node) { return node.parent == parent; }));
  }

  ModelDraftShape shape_;
  Chooser chooser_;
  ShapeReader shapeOf_;
};

ParamSpec gammaSpec(std::int64_t value) {
  return {"gamma", "Draft length", ParamType::integer,         value, 1, 64,
          {},      "tokens",       "Tokens drafted per round."};
}
ParamSpec exitLayerSpec() {
  return {"exit_layer",
          "Exit layer",
          ParamType::integer,
          std::int64_t{0},
          0,
          1000,
          {},
          "layers",
          "Blocks of the target that the self-drafter runs before the final norm and LM head; 0 takes half "
          "of them."};
}

// exit_layer 0 means half of the target's blocks; only the environment knows how many there are, so begin()
// resolves it.
class SelfDraftProposer final : public Proposer {
 public:
  SelfDraftProposer(ParamSet parameters, ShapeReader shapeOf)
      : parameters_(std::move(parameters)), shapeOf_(std::move(shapeOf)) {}
  DraftBudget fullSize() const override {
    return inner_ ? inner_->fullSize()
                  : DraftBudget{static_cast<int>(parameters_.integer("gamma")),
                                static_cast<int>(parameters_.integer("gamma"))};
  }
  bool free() const override { return false; }
  Status begin(DecodeEnvironment& environment) override {
    layers_ = environment.target().model->info().layers;
    if (!environment.target().model->capabilities().earlyExit)
      return fail(ErrorCode::unsupported, "self-drafting needs a model with early exit",
                  environment.target().model->info().name);
    DECOSCOPE_TRY(rebuild());
    return inner_->begin(environment);
  }
  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    return inner_->propose(environment, budget);
  }
  Status reconfigure(const ParamSet& parameters) override {
    parameters_ = parameters;
    return layers_ > 0 ? rebuild() : Status{};
  }

 private:
  Status rebuild() {
    ParamSet resolved = parameters_;
    if (resolved.integer("exit_layer") == 0)
      resolved.set("exit_layer", std::int64_t{std::max(1, layers_ / 2)});
    DECOSCOPE_ASSIGN(inner_, makeModelProposer(resolved, shapeOf_));
    return {};
  }
  ParamSet parameters_;
  ShapeReader shapeOf_;
  std::unique_ptr<Proposer> inner_;
  int layers_ = 0;
};

ChildKind kindOf(const std::string& rule) {
  if (rule == "r2") return ChildKind::withoutReplacement;
  if (rule == "r3" || rule == "r4") return ChildKind::deterministic;
  return ChildKind::independent;
}

Result<ModelDraftShape> chainShape(const ParamSet& parameters) {
  ModelDraftShape shape;
  shape.depth = shape.nodes = static_cast<int>(parameters.integer("gamma"));
  shape.kind = parameters.has("rule") ? kindOf(parameters.text("rule")) : ChildKind::independent;
  return shape;
}

Result<ModelDraftShape> selfShape(const ParamSet& parameters) {
  DECOSCOPE_ASSIGN(ModelDraftShape shape, chainShape(parameters));
  shape.role = "target";
  shape.owner = "self-draft";
  shape.exitLayer = static_cast<int>(parameters.integer("exit_layer"));
  return shape;
}

Result<ModelDraftShape> treeShape(const ParamSet& parameters) {
  ModelDraftShape shape;
  shape.depth = static_cast<int>(parameters.integer("tree_depth"));
  shape.width = static_cast<int>(parameters.integer("tree_width"));
  shape.nodes = static_cast<int>(parameters.integer("tree_nodes"));
  shape.kind = kindOf(parameters.text("rule"));
  return shape;
}

}  // namespace

Result<std::unique_ptr<Proposer>> makeModelProposer(const ParamSet& parameters, ShapeReader shapeOf) {
  DECOSCOPE_ASSIGN(ModelDraftShape shape, shapeOf(parameters));
  DECOSCOPE_ASSIGN(Chooser chooser, Chooser::create(parameters));
  return std::unique_ptr<Proposer>(
      std::make_unique<ModelProposer>(std::move(shape), std::move(chooser), std::move(shapeOf)));
}

void addChain(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "chain";
  info.title = "Speculative chain";
  info.family = "speculative";
  info.citation = "Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318";
  info.summary =
      "A drafter proposes a chain of tokens; the target scores all of them in one forward and keeps a "
      "prefix.";
  info.lossless = "sampled";
  info.roles = {"target", "drafter"};
  info.needs = {"causal"};
  info.schema = speculativeSchema(false).with(ParamSchema({
      gammaSpec(4),
      {"drafter",
       "Drafter",
       ParamType::choice,
       std::string("model"),
       0,
       0,
       {"model", "self", "lookup", "recycling"},
       "",
       "Who drafts: another model, the target's own first layers, earlier text, or the target's earlier "
       "candidates."},
      {"rule",
       "Rule",
       ParamType::choice,
       std::string("r1"),
       0,
       0,
       {"r1", "r3"},
       "",
       "R1: samples of the drafter, tested with min(1, p/q). R3: the drafter's argmax, matched against one "
       "draw of the target."},
      exitLayerSpec(),
  }));
  info.rolesFor = [](const ParamSet& parameters) {
    return parameters.text("drafter") == "model" ? std::vector<std::string>{"target", "drafter"}
                                                 : std::vector<std::string>{"target"};
  };
  addSpeculative(
      registry, std::move(info),
      [](const DecoderSetup& setup, const Chooser&) -> Result<std::unique_ptr<Proposer>> {
        const std::string& drafter = setup.parameters.text("drafter");
        ParamSet chain = setup.parameters;
        if (drafter == "lookup") {
          chain.set("tree_width", std::int64_t{1});
          chain.set("max_ngram", std::int64_t{4});
          return makeLookupProposer(chain);
        }
        if (drafter == "recycling") return makeRecyclingChainProposer(chain);
        if (drafter == "self")
          return std::unique_ptr<Proposer>(std::make_unique<SelfDraftProposer>(setup.parameters, selfShape));
        return makeModelProposer(setup.parameters, chainShape);
      });
}

void addSelfDraft(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "self-draft";
  info.title = "Early-exit self-draft";
  info.family = "speculative";
  info.citation = "Elhoushi et al. 2024, arXiv 2404.16710 (drafting only; any model, untrained exits)";
  info.summary = "The target's first layers and its LM head draft a chain; the whole target verifies it.";
  info.lossless = "sampled";
  info.roles = {"target"};
  info.needs = {"causal", "early exit"};
  info.schema = speculativeSchema(false).with(
      ParamSchema({gammaSpec(4),
                   exitLayerSpec(),
                   {"rule",
                    "Rule",
                    ParamType::choice,
                    std::string("r1"),
                    0,
                    0,
                    {"r1", "r3"},
                    "",
                    "R1 tests samples of the early exit; R3 matches its argmax."}}));
  addSpeculative(
      registry, std::move(info),
      [](const DecoderSetup& setup, const Chooser&) -> Result<std::unique_ptr<Proposer>> {
        return std::unique_ptr<Proposer>(std::make_unique<SelfDraftProposer>(setup.parameters, selfShape));
      });
}

void addSpecInfer(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "specinfer";
  info.title = "Token tree of a drafter (SpecInfer)";
  info.family = "speculative";
  info.citation =
      "Miao et al. 2024, arXiv 2305.09781; rule R2: Jeon et al. 2024, Chen et al. 2024; rule R4: Cai et al. "
      "2024";
  info.summary =
      "A separate model drafts a tree of samples; one tree forward of the target verifies all of it.";
  info.lossless = "sampled";
  info.roles = {"target", "drafter"};
  info.needs = {"causal", "trees"};
  info.schema = speculativeSchema(false).with(ParamSchema({
      {"tree_depth",
       "Tree depth",
       ParamType::integer,
       std::int64_t{4},
       1,
       16,
       {},
       "tokens",
       "Levels of the tree."},
      {"tree_width",
       "Children",
       ParamType::integer,
       std::int64_t{2},
       1,
       16,
       {},
       "",
       "Children drafted at each node."},
      {"tree_nodes",
       "Tree nodes",
       ParamType::integer,
       std::int64_t{16},
       1,
       512,
       {},
       "nodes",
       "Bound on all nodes besides the root."},
      {"rule",
       "Rule",
       ParamType::choice,
       std::string("r1"),
       0,
       0,
       {"r1", "r2", "r3", "r4"},
       "",
       "R1: samples with replacement. R2: without replacement. R3: top-k, matched against one draw. R4: "
       "typical acceptance, which is not lossless."},
      {"epsilon",
       "Typical bound",
       ParamType::real,
       0.09,
       0,
       1,
       {},
       "",
       "R4: accept where p > min(epsilon, delta · exp(−entropy))."},
      {"delta", "Typical factor", ParamType::real, 0.3, 0, 10, {}, "", "R4: see the typical bound."},
  }));
  addSpeculative(registry, std::move(info),
                 [](const DecoderSetup& setup, const Chooser&) -> Result<std::unique_ptr<Proposer>> {
                   return makeModelProposer(setup.parameters, treeShape);
                 });
}

}  // namespace decoscope
