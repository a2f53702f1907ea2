// Token Recycling: remember, for every token, the target's last top candidates after it, and walk that table
// into a draft tree. Source: Luo et al., "Turning Trash into Treasure: Accelerating Inference of LLMs with
// Token Recycling", arXiv 2408.08696.
#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "core/decode/Methods.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/speculative/SpeculativeDecoder.h"

namespace decoscope {

namespace {

constexpr int kCandidates = 8;
constexpr int kFullNodes = 80;
constexpr int kMaximumDepth = 6;

// A place in a draft's shape: the child of another place, of that rank.
struct Place {
  int parent = -1;  // index of the place above; -1: the root
  int rank = 0;
  int depth = 1;
};

// The static tree "2.2.2", in level order: how many children a node has, by the ranks on its path.
const std::vector<Place>& treePlaces() {
  static const std::vector<Place> places = [] {
    std::map<std::string, int> counts = {{"", 8},    {"0", 8},    {"1", 4},    {"2", 3},  {"3", 2},
                                         {"00", 8},  {"01", 3},   {"02", 2},   {"10", 2}, {"000", 5},
                                         {"001", 2}, {"0000", 3}, {"00000", 2}};
    for (const char* path : {"4",   "5",   "6",    "7",    "03",   "04",   "05",   "06",   "07",  "11",
                             "20",  "30",  "40",   "50",   "002",  "003",  "004",  "010",  "020", "100",
                             "200", "300", "0001", "0002", "0010", "0100", "1000", "00010"})
      counts[path] = 1;
    std::vector<Place> made;
    std::vector<std::string> paths;
    const auto addChildren = [&](int parent, const std::string& path) {
      for (int rank = 0; rank < counts[path]; ++rank) {
        made.push_back({parent, rank, static_cast<int>(path.size()) + 1});
        paths.push_back(path + static_cast<char>('0' + rank));
      }
    };
    addChildren(-1, "");
    for (std::size_t i = 0; i < made.size(); ++i) addChildren(static_cast<int>(i), std::string(paths[i]));
    return made;
  }();
  return places;
}

class RecyclingProposer final : public Proposer {
 public:
  RecyclingProposer(const ParamSet& parameters, bool chain) : chain_(chain) { configure(parameters); }

  DraftBudget fullSize() const override { return full_; }
  int observedTokens() const override { return kCandidates; }

  Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) override {
    if (seedFromPrompt_ && !seeded_) seed(std::span(environment.text).first(environment.promptLength));
    seeded_ = true;
    DraftTree tree;
    tree.owner = "token-recycling";
    // What each place became; places below one that stayed empty stay empty.
    std::vector<NodeId> placed(places_.size(), kEmpty);
    const TokenId root = environment.text.back();
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const Place& place = places_[i];
      if (place.depth > budget.depth || static_cast<int>(tree.nodes.size()) >= budget.nodes) break;
      const NodeId parent = place.parent < 0 ? kRootNode : placed[static_cast<std::size_t>(place.parent)];
      if (parent == kEmpty) continue;
      const auto row = rows_.find(parent < 0 ? root : tree.nodes[static_cast<std::size_t>(parent)].token);
      if (row == rows_.end()) continue;
      const TokenId token = row->second[static_cast<std::size_t>(place.rank)];
      if (token < 0) continue;
      placed[i] = static_cast<NodeId>(tree.nodes.size());
      tree.nodes.push_back({parent, token, kUnknown, place.rank, place.depth,
                            std::min(place.depth, kMaximumDepth) * kCandidates + place.rank});
    }
    return tree;
  }

  // Level order, the last write wins; then the accepted path again, so that its rows show the true
  // continuation.
  void observe(DecodeEnvironment& environment, std::span<const RowObservation> rows,
               std::span<const NodeId> accepted) override {
    std::unordered_map<TokenId, int> writes;
    int collisions = 0;
    for (const RowObservation& row : rows) {
      if (++writes[row.token] > 1) ++collisions;
      write(row);
    }
    for (const RowObservation& row : rows)
      if (row.node == kRootNode || std::find(accepted.begin(), accepted.end(), row.node) != accepted.end())
        write(row);
    environment.recorder->add(ScoreFact{kRootNode, "matrix_collisions", static_cast<double>(collisions)});
    environment.recorder->add(
        ScoreFact{kRootNode, "matrix_coverage",
                  static_cast<double>(rows_.size()) / std::max(1, environment.usableVocabulary())});
  }

  Status reconfigure(const ParamSet& parameters) override {
    configure(parameters);
    return {};
  }

  // Rows as (token, candidates…) in 32-bit little-endian integers, by token, so that equal states have equal
  // bytes.
  std::string exportState() const override {
    std::map<TokenId, Row> sorted(rows_.begin(), rows_.end());
    std::string bytes;
    for (const auto& [token, row] : sorted) {
      bytes.append(reinterpret_cast<const char*>(&token), sizeof token);
      bytes.append(reinterpret_cast<const char*>(row.data()), sizeof row);
    }
    return bytes;
  }
  Status importState(const std::string& bytes) override {
    constexpr std::size_t kRecord = sizeof(TokenId) + sizeof(Row);
    if (bytes.size() % kRecord != 0)
      return fail(ErrorCode::badInput, "the stored adjacency matrix is damaged", "token-recycling state");
    rows_.clear();
    for (std::size_t at = 0; at < bytes.size(); at += kRecord) {
      TokenId token = 0;
      Row row;
      std::memcpy(&token, bytes.data() + at, sizeof token);
      std::memcpy(row.data(), bytes.data() + at + sizeof token, sizeof row);
      rows_[token] = row;
    }
    return {};
  }

 private:
  using Row = std::array<TokenId, kCandidates>;
  static constexpr NodeId kEmpty = -2;

  void configure(const ParamSet& parameters) {
    if (chain_) {
      full_.nodes = full_.depth = static_cast<int>(parameters.integer("gamma"));
      places_.clear();
      for (int i = 0; i < full_.depth; ++i) places_.push_back({i - 1, 0, i + 1});
      return;
    }
    places_ = treePlaces();
    const std::string& seed = parameters.text("seed_table");
    seedFromPrompt_ = seed == "prompt" || (seed == "auto" && parameters.boolean("adaptive"));
    full_.nodes = static_cast<int>(std::min<std::int64_t>(parameters.integer("tree_nodes"), kFullNodes));
    full_.depth = static_cast<int>(std::min<std::int64_t>(parameters.integer("tree_depth"), kMaximumDepth));
  }
  // What followed each token in the prompt, the latest first, before what the table knew. Not in the paper,
  // whose table starts cold: it makes the first answer of a session faster where it repeats the prompt. The
  // text does not depend on it.
  void seed(std::span<const TokenId> prompt) {
    for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
      Row& row = rows_.try_emplace(prompt[i], emptyRow()).first->second;
      const auto known = std::find(row.begin(), row.end(), prompt[i + 1]);
      std::rotate(row.begin(), known == row.end() ? row.end() - 1 : known,
                  known == row.end() ? row.end() : known + 1);
      row.front() = prompt[i + 1];
    }
  }
  static Row emptyRow() {
    Row row;
    row.fill(-1);
    return row;
  }

  // A row is replaced, not merged.
  void write(const RowObservation& observation) {
    Row row = emptyRow();
    std::copy_n(observation.top.begin(), std::min<std::size_t>(observation.top.size(), row.size()),
                row.begin());
    rows_[observation.token] = row;
  }

  bool chain_, seedFromPrompt_ = false, seeded_ = false;
  DraftBudget full_;
  std::vector<Place> places_;  // in level order
  std::unordered_map<TokenId, Row>
      rows_;  // only rows that were written; the paper's zero rows never match by design
};

}  // namespace

std::unique_ptr<Proposer> makeRecyclingProposer(const ParamSet& parameters) {
  return std::make_unique<RecyclingProposer>(parameters, false);
}
std::unique_ptr<Proposer> makeRecyclingChainProposer(const ParamSet& parameters) {
  return std::make_unique<RecyclingProposer>(parameters, true);
}

void addTokenRecycling(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "token-recycling";
  info.title = "Token Recycling";
  info.family = "speculative";
  info.citation = "Luo et al. 2024, arXiv 2408.08696";
  info.summary =
      "Drafts a tree from the candidates that the target itself gave after each token earlier; no second "
      "model.";
  info.lossless = "sampled";
  info.roles = {"target"};
  info.needs = {"causal", "trees"};
  info.schema = speculativeSchema(true).with(ParamSchema({
      {"tree_nodes",
       "Tree nodes",
       ParamType::integer,
       std::int64_t{kFullNodes},
       0,
       kFullNodes,
       {},
       "nodes",
       "Nodes of the static tree besides the root, in level order; the full template has 80."},
      {"seed_table",
       "Seed the table",
       ParamType::choice,
       std::string("auto"),
       0,
       0,
       {"auto", "prompt", "none"},
       "",
       "prompt: the table begins with what follows each token in the prompt. none: cold, as in the paper. "
       "auto: prompt where the size is adaptive."},
      {"tree_depth",
       "Tree depth",
       ParamType::integer,
       std::int64_t{kMaximumDepth},
       0,
       kMaximumDepth,
       {},
       "tokens",
       "Levels of the static tree."},
  }));
  addSpeculative(registry, std::move(info),
                 [](const DecoderSetup& setup, const Chooser&) -> Result<std::unique_ptr<Proposer>> {
                   return makeRecyclingProposer(setup.parameters);
                 });
}

}  // namespace decoscope
