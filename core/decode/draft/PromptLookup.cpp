// Prompt look-up: what followed the text's last tokens when they stood there before. Source: A. Saxena,
// "Prompt lookup decoding", 2023; Yang et al., "Inference with Reference", arXiv 2304.04487. Several earlier
// places are merged into one tree.
#include <algorithm>

#include "core/decode/Methods.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/speculative/SpeculativeDecoder.h"

namespace decoscope {

namespace {

class LookupProposer final : public Proposer {
 public:
  explicit LookupProposer(const ParamSet& parameters) { configure(parameters); }

  DraftBudget fullSize() const override { return {gamma_ * width_, gamma_}; }

  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    const std::vector<TokenId>& text = environment.text;
    // Each found place: where its continuation begins and how many tokens matched before it.
    std::vector<std::pair<std::size_t, int>> places;
    for (int length = longest_; length >= 1 && static_cast<int>(places.size()) < width_; --length) {
      const auto size = static_cast<std::size_t>(length);
      if (text.size() <= size) continue;
      const auto suffix = text.end() - length;
      for (std::size_t begin = text.size() - size; begin-- > 0 && static_cast<int>(places.size()) < width_;) {
        if (!std::equal(suffix, text.end(), text.begin() + static_cast<std::ptrdiff_t>(begin))) continue;
        const std::size_t follows = begin + size;
        const bool known = std::any_of(places.begin(), places.end(),
                                       [&](const auto& place) { return place.first == follows; });
        if (!known) places.emplace_back(follows, length);
      }
    }
    return merge(text, places, budget);
  }

  Status reconfigure(const ParamSet& parameters) override {
    configure(parameters);
    return {};
  }

 private:
  void configure(const ParamSet& parameters) {
    gamma_ = static_cast<int>(parameters.integer("gamma"));
    width_ = static_cast<int>(parameters.integer("tree_width"));
    longest_ = static_cast<int>(parameters.integer("max_ngram"));
  }

  // Continuations as one prefix tree in level order; the better (longer, more recent) match gives the lower
  // rank.
  DraftTree merge(const std::vector<TokenId>& text, const std::vector<std::pair<std::size_t, int>>& places,
                  const DraftBudget& budget) const {
    DraftTree tree;
    tree.owner = "lookup";
    std::vector<NodeId> ends(places.size(), kRootNode);
    for (int depth = 1; depth <= std::min(budget.depth, gamma_); ++depth) {
      std::vector<int> siblings(tree.nodes.size() + 1, 0);
      const auto levelBegin = tree.nodes.size();
      for (std::size_t i = 0; i < places.size(); ++i) {
        const std::size_t at = places[i].first + static_cast<std::size_t>(depth) - 1;
        if (ends[i] < kRootNode || at >= text.size()) {
          ends[i] = kRootNode - 1;
          continue;
        }
        const auto same = std::find_if(
            tree.nodes.begin() + static_cast<std::ptrdiff_t>(levelBegin), tree.nodes.end(),
            [&](const DraftNode& node) { return node.parent == ends[i] && node.token == text[at]; });
        if (same != tree.nodes.end()) {
          ends[i] = static_cast<NodeId>(same - tree.nodes.begin());
          continue;
        }
        if (static_cast<int>(tree.nodes.size()) >= budget.nodes) return tree;
        const int rank = siblings[static_cast<std::size_t>(ends[i] + 1)]++;
        tree.nodes.push_back(
            {ends[i], text[at], kUnknown, rank, depth, bucket(places[i].second, depth, rank)});
        ends[i] = static_cast<NodeId>(tree.nodes.size()) - 1;
      }
    }
    return tree;
  }

  // How long the match is, how deep the node and whether it is the first choice tell how far to trust it.
  static int bucket(int matched, int depth, int rank) {
    const int deep = depth <= 1 ? 0 : depth <= 3 ? 1 : 2;
    return (std::min(matched, 7) * 3 + deep) * 2 + (rank > 0 ? 1 : 0);
  }

  int gamma_ = 10, width_ = 2, longest_ = 3;
};

}  // namespace

std::unique_ptr<Proposer> makeLookupProposer(const ParamSet& parameters) {
  return std::make_unique<LookupProposer>(parameters);
}

void addPromptLookup(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "lookup";
  info.title = "Prompt look-up";
  info.family = "speculative";
  info.citation = "Saxena 2023; Yang et al. 2023, arXiv 2304.04487";
  info.summary =
      "Drafts what followed the last tokens at their earlier places in the text; strong where the answer "
      "copies.";
  info.lossless = "sampled";
  info.roles = {"target"};
  info.needs = {"causal", "trees"};
  info.schema = speculativeSchema(true).with(ParamSchema({
      {"gamma",
       "Draft length",
       ParamType::integer,
       std::int64_t{12},
       0,
       64,
       {},
       "tokens",
       "Longest continuation that is proposed."},
      {"tree_width",
       "Places",
       ParamType::integer,
       std::int64_t{2},
       1,
       8,
       {},
       "",
       "Earlier places whose continuations are merged into the tree."},
      {"max_ngram",
       "Longest match",
       ParamType::integer,
       std::int64_t{4},
       1,
       16,
       {},
       "tokens",
       "Tokens at the end of the text that are looked for, longest first."},
  }));
  addSpeculative(registry, std::move(info),
                 [](const DecoderSetup& setup, const Chooser&) -> Result<std::unique_ptr<Proposer>> {
                   return makeLookupProposer(setup.parameters);
                 });
}

}  // namespace decoscope
