// Drafts by a head on the target's features. The head reads, at each token, that token and the feature of the
// one before it (the target's final state there), and its own output stands in for the feature that the
// target has not made yet, so the tree grows level by level. Static tree: Li et al., "EAGLE", arXiv
// 2401.15077. Dynamic tree and reranking: Li et al., "EAGLE-2", arXiv 2406.16858. The children are
// deterministic, so rule R3 keeps the target's distribution whatever the head says.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/decode/Methods.h"
#include "core/decode/draft/FeatureFeed.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/speculative/SpeculativeDecoder.h"

namespace decoscope {

namespace {

constexpr const char* kHead = "head";
constexpr int kStaticNodes = 25, kStaticDepth = 5;

// EAGLE-1's tree of 25 nodes: children by path of ranks.
int staticChildren(const std::string& path) {
  static const std::map<std::string, int> counts = {{"", 4},   {"0", 3},   {"1", 2},   {"2", 2},
                                                    {"3", 1},  {"00", 3},  {"01", 2},  {"02", 2},
                                                    {"10", 1}, {"000", 3}, {"0000", 2}};
  const auto found = counts.find(path);
  return found == counts.end() ? 0 : found->second;
}

class EagleProposer final : public Proposer {
 public:
  explicit EagleProposer(const ParamSet& parameters) { configure(parameters); }

  DraftBudget fullSize() const override { return {nodes_, depth_, {}}; }
  bool free() const override { return false; }
  bool growsByLevels() const override { return true; }

  Status begin(DecodeEnvironment& environment) override { return feed_.check(environment); }

  std::vector<Tap> watches(const DecodeEnvironment& environment) const override {
    return feed_.watches(environment);
  }
  Result<std::size_t> watched(DecodeEnvironment& environment) override { return feed_.watched(environment); }
  Status watch(DecodeEnvironment& environment, std::size_t first, std::span<const TapValue> states) override {
    return feed_.watch(environment, first, states);
  }

  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    DECOSCOPE_ASSIGN(const int room, feed_.room(environment));
    if (room < 0) return DraftTree{};
    Growth growth;
    growth.tree.owner = "eagle";
    const Status grown = grow(environment, budget, room, growth);
    const Status kept = feed_.forgetDraft(environment);
    if (!grown) return tl::unexpected(grown.error());
    if (!kept) return tl::unexpected(kept.error());
    environment.recorder->add(
        ScoreFact{kRootNode, "drafted_nodes", static_cast<double>(growth.tree.nodes.size())});
    environment.recorder->add(ScoreFact{kRootNode, "drafted_levels", static_cast<double>(growth.levels)});
    const auto wanted = static_cast<std::size_t>(std::min(budget.nodes, nodes_));
    growth.tree.keep(bestNodes(growth.values, wanted));
    return std::move(growth.tree);
  }

  Result<double> rehearse(DecodeEnvironment& environment, int nodes) override {
    Model& head = *environment.role(kHead).model;
    const int cached = head.cached(), count = std::min(nodes, head.info().contextLength - cached);
    if (count <= 0) return 0.0;
    ForwardRequest request =
        levelRequest(std::vector<TokenId>(static_cast<std::size_t>(count), environment.text.back()));
    request.inputs.resize(static_cast<std::size_t>(count) * width(environment));
    request.follows.assign(static_cast<std::size_t>(count), cached - 1);
    const auto start = std::chrono::steady_clock::now();
    DECOSCOPE_ASSIGN(const ForwardOutput output, head.forward(request, environment.stop));
    DECOSCOPE_TRY(output.logits->summaries(treeWidth_));
    DECOSCOPE_TRY(head.retain(cached));
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }

  Status reconfigure(const ParamSet& parameters) override {
    configure(parameters);
    return {};
  }

 private:
  // The rows of the head's last forward: the nodes they follow, their slots and the features guessed there.
  struct Level {
    std::vector<NodeId> nodes;
    int firstSlot = 0;
    std::vector<float> features;
  };
  // A tree under way.
  struct Growth {
    DraftTree tree;
    std::vector<double> values;                  // Σ log q along each node's path
    std::vector<std::string> ranks;              // of a static tree: each node's path of ranks
    std::vector<NodeId> frontier = {kRootNode};  // to be read next, best first
    Level read;
    int levels = 0;
  };

  void configure(const ParamSet& parameters) {
    static_ = parameters.text("tree") == "static";
    treeWidth_ = static_ ? 4 : static_cast<int>(parameters.integer("tree_width"));
    depth_ = static_cast<int>(parameters.integer("tree_depth"));
    nodes_ = static_cast<int>(parameters.integer("tree_nodes"));
    if (!static_) return;
    depth_ = std::min(depth_, kStaticDepth);
    nodes_ = std::min(nodes_, kStaticNodes);
  }

  static std::size_t width(const DecodeEnvironment& environment) {
    return static_cast<std::size_t>(environment.target().model->info().width);
  }

  static ForwardRequest levelRequest(std::vector<TokenId> tokens) {
    ForwardRequest request;
    request.parents.assign(tokens.size(), -1);
    for (std::size_t i = 0; i < tokens.size(); ++i) request.logitRows.push_back(static_cast<std::int32_t>(i));
    request.tokens = std::move(tokens);
    return request;
  }

  Status grow(DecodeEnvironment& environment, const DraftBudget& budget, int room, Growth& growth) {
    const int depth = std::min(budget.depth, depth_);
    for (int level = 1; level <= depth && !growth.frontier.empty(); ++level) {
      const bool last = level == depth;
      std::unique_ptr<Logits> logits;
      if (level == 1) {
        DECOSCOPE_ASSIGN(logits, readText(environment, growth, !last));
      } else {
        room -= static_cast<int>(growth.frontier.size());
        if (room < 0) return {};
        DECOSCOPE_ASSIGN(logits, readFrontier(environment, growth, !last));
      }
      ++growth.levels;
      DECOSCOPE_TRY(expand(environment, *logits, level, growth));
      if (last || !budget.another) continue;
      const int worth = budget.another(growth.tree, growth.frontier);
      growth.frontier.resize(std::min(growth.frontier.size(), static_cast<std::size_t>(std::max(worth, 0))));
    }
    return {};
  }

  Result<std::unique_ptr<Logits>> readText(DecodeEnvironment& environment, Growth& growth, bool features) {
    DECOSCOPE_ASSIGN(FeatureFeed::Row row, feed_.read(environment, features));
    growth.read = {{kRootNode}, environment.role(kHead).model->cached() - 1, std::move(row.feature)};
    return std::move(row.logits);
  }

  // Each node of the frontier follows its parent's slot and reads the feature guessed there.
  Result<std::unique_ptr<Logits>> readFrontier(DecodeEnvironment& environment, Growth& growth,
                                               bool features) {
    const Model& head = *environment.role(kHead).model;
    const auto size = static_cast<std::ptrdiff_t>(width(environment));
    std::vector<TokenId> tokens;
    std::vector<float> inputs;
    std::vector<std::int32_t> follows;
    for (const NodeId id : growth.frontier) {
      const DraftNode& node = growth.tree.nodes[static_cast<std::size_t>(id)];
      const auto row = std::find(growth.read.nodes.begin(), growth.read.nodes.end(), node.parent) -
                       growth.read.nodes.begin();
      const auto feature = growth.read.features.begin() + row * size;
      tokens.push_back(node.token);
      inputs.insert(inputs.end(), feature, feature + size);
      follows.push_back(growth.read.firstSlot + static_cast<std::int32_t>(row));
    }
    ForwardRequest request = levelRequest(std::move(tokens));
    request.inputs = std::move(inputs);
    request.follows = std::move(follows);
    if (features) request.taps = {FeatureFeed::featureTap(head)};
    const int firstSlot = head.cached();
    DECOSCOPE_ASSIGN(ForwardOutput output, environment.forward(kHead, request, ForwardPhase::draft));
    growth.read = {growth.frontier, firstSlot, {}};
    if (features) growth.read.features = std::move(output.taps.front().values);
    return std::move(output.logits);
  }

  // Proposes the children of the frontier, row by row, and chooses the next frontier, best first.
  Status expand(DecodeEnvironment& environment, const Logits& logits, int level, Growth& growth) {
    const std::vector<TokenId>& ranked = environment.role(kHead).model->info().rankedTokens;
    DECOSCOPE_ASSIGN(const std::vector<RowSummary> rows, logits.summaries(treeWidth_));
    std::vector<NodeId> fresh;
    for (std::size_t i = 0; i < growth.frontier.size(); ++i) {
      const NodeId parent = growth.frontier[i];
      const double above = parent < 0 ? 0 : growth.values[static_cast<std::size_t>(parent)];
      const std::string path = static_ && parent >= 0 ? growth.ranks[static_cast<std::size_t>(parent)] : "";
      const int count = static_ ? staticChildren(path) : treeWidth_;
      int rank = 0;
      for (std::size_t j = 0; j < rows[i].tokens.size() && rank < count; ++j) {
        const auto column = static_cast<std::size_t>(rows[i].tokens[j]);
        const TokenId token = ranked.empty() ? rows[i].tokens[j] : ranked[column];
        if (token >= environment.usableVocabulary()) continue;
        const double q = std::min(1.0, rows[i].probability(j));
        fresh.push_back(static_cast<NodeId>(growth.tree.nodes.size()));
        growth.tree.nodes.push_back({parent, token, q, rank, level, 0});
        growth.values.push_back(above + std::log(q));
        if (static_) growth.ranks.push_back(path + static_cast<char>('0' + rank));
        ++rank;
      }
    }
    if (static_) {
      std::erase_if(fresh, [&](NodeId node) {
        return staticChildren(growth.ranks[static_cast<std::size_t>(node)]) == 0;
      });
    } else {
      std::stable_sort(fresh.begin(), fresh.end(), [&](NodeId a, NodeId b) {
        return growth.values[static_cast<std::size_t>(a)] > growth.values[static_cast<std::size_t>(b)];
      });
      fresh.resize(std::min(fresh.size(), static_cast<std::size_t>(treeWidth_)));
    }
    growth.frontier = std::move(fresh);
    return {};
  }

  int depth_ = 0, nodes_ = 0, treeWidth_ = 0;
  bool static_ = false;
  FeatureFeed feed_{kHead};
};

}  // namespace

void addEagle(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "eagle";
  info.title = "EAGLE draft head";
  info.family = "speculative";
  info.citation = "Li et al. 2024, arXiv 2401.15077 (EAGLE), 2406.16858 (EAGLE-2)";
  info.summary =
      "A small head on the target's own features drafts a tree that grows where it is sure; one forward of "
      "the "
      "target verifies it.";
  info.lossless = "sampled";
  info.roles = {"target", "head"};
  info.needs = {"causal", "trees", "hidden states"};
  info.schema = speculativeSchema(true).with(ParamSchema({
      {"tree",
       "Tree",
       ParamType::choice,
       std::string("dynamic"),
       0,
       0,
       {"dynamic", "static"},
       "",
       "dynamic: EAGLE-2, the most probable nodes of a pool that grows from the most probable frontier. "
       "static: "
       "EAGLE-1's tree of 25 nodes."},
      {"tree_width",
       "Tree width",
       ParamType::integer,
       std::int64_t{8},
       1,
       32,
       {},
       "nodes",
       "Children that each node of the frontier proposes, and nodes of the next frontier (EAGLE-2's top_k; "
       "10 in "
       "the paper)."},
      {"tree_depth",
       "Tree depth",
       ParamType::integer,
       std::int64_t{6},
       1,
       16,
       {},
       "tokens",
       "Levels of the tree, each a forward of the head: EAGLE-2's depth d is d + 1 levels (7 in the paper)."},
      {"tree_nodes",
       "Tree nodes",
       ParamType::integer,
       std::int64_t{40},
       1,
       512,
       {},
       "nodes",
       "Nodes of the pool that are verified, besides the root (59 in the paper)."},
  }));
  addSpeculative(registry, std::move(info),
                 [](const DecoderSetup& setup, const Chooser&) -> Result<std::unique_ptr<Proposer>> {
                   return std::unique_ptr<Proposer>(std::make_unique<EagleProposer>(setup.parameters));
                 });
}

}  // namespace decoscope
