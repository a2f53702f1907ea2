#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "core/decode/control/Controller.h"
#include "core/decode/control/RunningRate.h"

namespace decoscope {

namespace {

class LevelController final : public Controller {
 public:
  explicit LevelController(std::map<std::string, std::string>* notes) : notes_(notes) {}

  Status begin(DecodeEnvironment& environment, Proposer& proposer) override {
    DECOSCOPE_ASSIGN(curve_,
                     notedCurve(*notes_, kCostCurveNote, [&] { return CostCurve::measure(environment); }));
    // Runs of before the first level had a cost of its own are repeated as they were.
    const bool older = notes_->contains(kDraftCostNote) && !notes_->contains(kFirstLevelCostNote);
    DECOSCOPE_ASSIGN(drafting_, notedCurve(*notes_, kDraftCostNote, [&] {
                       return CostCurve::measureDrafting(environment, proposer);
                     }));
    if (older) {
      firstLevel_ = drafting_;
    } else {
      DECOSCOPE_ASSIGN(firstLevel_, notedCurve(*notes_, kFirstLevelCostNote, [&] {
                         return CostCurve::measureFirstLevel(environment, proposer, kTokensOfFirstLevel);
                       }));
    }
    return {};
  }
  bool learnsFromText() const override { return true; }

  DraftBudget budget(const DraftBudget& full) override {
    spent_ = firstLevel_.ratio(kTokensOfFirstLevel);
    // What is not expected to pay is tried again now and then, where the credit covers it.
    if (bestGain(rootYields_.shares, spent_).gain <= kSure && credit_ < spent_) {
      spent_ = 0;
      return {};
    }
    DraftBudget budget = full;
    budget.another = [this](const DraftTree& grown, std::span<const NodeId> frontier) {
      return another(grown, frontier);
    };
    return budget;
  }

  std::string prune(DraftTree& tree) override {
    if (tree.nodes.empty()) return {};
    const std::vector<double> reach = tree.reach(), chances = chancesOf(tree, reach);
    learnYields(tree, chances, 1, rootYields_);
    std::vector<double> sorted = chances;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const Gain best = bestGain(sorted, spent_);
    const std::size_t full = tree.nodes.size();
    if (best.nodes == full) return {};
    // Chances never grow along a path, and of equals the earlier node is kept: parents stay with their
    // children.
    tree.keep(bestNodes(chances, best.nodes));
    char text[160];
    std::snprintf(text, sizeof text, "Kept %zu of %zu nodes: expected gain %.3f over a plain step.",
                  best.nodes, full, best.gain);
    return text;
  }

  void observe(const DraftTree& tree, std::span<const NodeId> accepted) override {
    const auto won = static_cast<double>(accepted.size());
    double cost = spent_;
    if (!tree.nodes.empty()) cost += curve_.ratio(static_cast<int>(tree.nodes.size()) + 1) * kOverhead - 1;
    credit_ = std::min(kMostCredit, credit_ + kAllowedShare * (1 + won) + won - cost);
  }

  bool observeText(const DraftTree& tree, std::span<const TokenId> continuation) override {
    std::vector<Fate> fates;
    for (const DraftNode& node : tree.nodes) {
      const Fate above = node.parent < 0 ? Fate::right : fates[static_cast<std::size_t>(node.parent)];
      const auto at = static_cast<std::size_t>(node.depth) - 1;
      if (above != Fate::right)
        fates.push_back(above);
      else if (at >= continuation.size())
        fates.push_back(Fate::open);
      else
        fates.push_back(continuation[at] == node.token ? Fate::right : Fate::wrong);
    }
    if (std::find(fates.begin(), fates.end(), Fate::open) != fates.end()) return false;
    const std::vector<double> reach = tree.reach();
    for (std::size_t i = 0; i < fates.size(); ++i)
      rangeOf(reach[i]).observe(fates[i] == Fate::right, kMemory);
    return true;
  }

 private:
  static constexpr double kOverhead = 1.02;
  // In plain steps: what may be lost at once, the share of all steps that may be, and how much of a gain is
  // kept to be lost again.
  static constexpr double kFirstCredit = 2, kAllowedShare = 0.015, kMostCredit = 2;
  static constexpr double kSure = 1.02;  // a gain worth drafting for
  static constexpr double kPriorWeight = 4, kTrust = 0.8;
  static constexpr double kMemory = 0.99;  // about the last hundred nodes
  static constexpr int kTokensOfFirstLevel = 2;
  // What share of its parent's chance a child has, by its rank.
  struct Yields {
    std::array<double, 4> shares = {0.5, 0.15, 0.08, 0.04};
    int learned = 0;
    void learn(const std::array<double, 4>& sums, const std::array<double, 4>& above) {
      constexpr double kLeast = 0.05;
      const double weight = std::max(kLeast, 1.0 / (++learned + 1));
      for (std::size_t rank = 0; rank < shares.size(); ++rank)
        if (above[rank] > 0) shares[rank] += weight * (sums[rank] / above[rank] - shares[rank]);
    }
  };

  enum class Fate { right, wrong, open };
  struct Gain {
    double gain = 0;
    std::size_t nodes = 0;
  };

  bool overdrawn() const { return credit_ < 0; }

  // The best (1 + Σ P) ÷ cost of a number of nodes; `chances` descend.
  Gain bestGain(std::span<const double> chances, double drafting) const {
    Gain best{1 / (1 + drafting), 0};
    double tokens = 1;
    for (std::size_t i = 0; i < chances.size(); ++i) {
      tokens += chances[i];
      const double gain = tokens / (curve_.ratio(static_cast<int>(i) + 2) * kOverhead + drafting);
      if (gain > best.gain) best = {gain, i + 1};
    }
    return best;
  }

  // Half-octaves of the drafter's probability of a path.
  RunningRate& rangeOf(double reach) {
    const double octaves = reach > 0 ? -std::log2(reach) : 100;
    return ranges_[std::min(ranges_.size() - 1, static_cast<std::size_t>(std::max(0.0, 2 * octaves)))];
  }

  std::vector<double> chancesOf(const DraftTree& tree, std::span<const double> reach) {
    std::vector<double> chances;
    for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
      const NodeId parent = tree.nodes[i].parent;
      const double chance = rangeOf(reach[i]).rate(kTrust * reach[i], overdrawn() ? 0 : kPriorWeight);
      chances.push_back(parent < 0 ? chance : std::min(chance, chances[static_cast<std::size_t>(parent)]));
    }
    return chances;
  }

  // How many nodes of the frontier to grow from: as many as make the expected gain largest, where that is
  // more than what verifying now would gain.
  int another(const DraftTree& grown, std::span<const NodeId> frontier) {
    const std::vector<double> reach = grown.reach(), chances = chancesOf(grown, reach);
    if (const int level = grown.nodes.back().depth; level > 1) learnYields(grown, chances, level, yields_);
    std::vector<double> sorted = chances;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    double best = bestGain(sorted, spent_).gain;
    int worth = 0;
    std::vector<double> with = sorted;
    for (std::size_t i = 0; i < frontier.size(); ++i) {
      for (const double yield : yields_.shares)
        with.push_back(chances[static_cast<std::size_t>(frontier[i])] * yield);
      std::vector<double> order = with;
      std::sort(order.begin(), order.end(), std::greater<>());
      const double gain = bestGain(order, spent_ + drafting_.ratio(static_cast<int>(i) + 1)).gain;
      if (gain > best) best = gain, worth = static_cast<int>(i) + 1;
    }
    if (worth > 0) spent_ += drafting_.ratio(worth);
    return worth;
  }

  // From the nodes of one level; those of likely parents count more.
  static void learnYields(const DraftTree& tree, std::span<const double> chances, int level, Yields& yields) {
    std::array<double, 4> sums{}, parents{};
    for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
      const DraftNode& node = tree.nodes[i];
      const auto rank = static_cast<std::size_t>(node.rank);
      if (node.depth != level || rank >= sums.size()) continue;
      sums[rank] += chances[i];
      parents[rank] += node.parent < 0 ? 1 : chances[static_cast<std::size_t>(node.parent)];
    }
    yields.learn(sums, parents);
  }

  std::map<std::string, std::string>* notes_;
  CostCurve curve_, drafting_, firstLevel_;
  std::array<RunningRate, 33> ranges_;
  Yields rootYields_, yields_;
  double spent_ = 0;  // on the draft under way, in plain steps
  double credit_ = kFirstCredit;
};

}  // namespace

std::unique_ptr<Controller> makeLevelController(std::map<std::string, std::string>* notes) {
  return std::make_unique<LevelController>(notes);
}

}  // namespace decoscope
