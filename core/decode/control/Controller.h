// How large the next draft is. A controller sees what it costs and how often each kind of node was right,
// never which method runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/decode/draft/Proposer.h"

namespace decoscope {

// Time of a forward of n tokens over the time of one, measured on this machine with this model.
class CostCurve {
 public:
  CostCurve() = default;
  // Points (tokens, ratio), tokens ascending.
  explicit CostCurve(std::vector<std::pair<int, double>> points) : points_(std::move(points)) {}
  // Linear between the points; beyond the last by the last slope.
  double ratio(int tokens) const;
  bool empty() const { return points_.empty(); }

  // "1:1 2:1.07 4:1.1 …", as it is recorded with the run, so that a repeat takes the same decisions.
  std::string text() const;
  static Result<CostCurve> parse(const std::string& text);
  // Medians of a few forwards at the end of the current cache, which is left as it was. Takes as long as some
  // two hundred plain steps.
  static Result<CostCurve> measure(DecodeEnvironment& environment);
  // Time of a proposer's forward for a level of n nodes over the time of one token of the target, behind
  // another level. About 0.1 s.
  static Result<CostCurve> measureDrafting(DecodeEnvironment& environment, Proposer& proposer);
  // The same for a draft's first level, of so many tokens, alone: it finds the drafter's weights outside of
  // the caches, where they fit into them at all.
  static Result<CostCurve> measureFirstLevel(DecodeEnvironment& environment, Proposer& proposer, int tokens);

 private:
  std::vector<std::pair<int, double>> points_;
};

// Notes of a run that hold a measured curve: a repeat needs them, and runs of the same models share them.
inline constexpr const char* kCostCurveNote = "cost_curve";
inline constexpr const char* kDraftCostNote = "draft_cost";
inline constexpr const char* kFirstLevelCostNote = "first_level_cost";
// The curve of a note, or what `measure` gives, which is noted then.
Result<CostCurve> notedCurve(std::map<std::string, std::string>& notes, const char* name,
                             const std::function<Result<CostCurve>()>& measure);

class Controller {
 public:
  virtual ~Controller() = default;
  virtual Status begin(DecodeEnvironment&, Proposer&) { return {}; }
  // The largest draft that may pay, asked before drafting.
  virtual DraftBudget budget(const DraftBudget& full) = 0;
  // Shrinks a draft to what is worth verifying, down to nothing; says why when it did.
  virtual std::string prune(DraftTree& tree) = 0;
  // A draft was verified: the accepted path by node id.
  virtual void observe(const DraftTree& tree, std::span<const NodeId> accepted) = 0;
  // The text went on with `continuation` after the root of `tree`, whether or not the tree was verified.
  // Returns whether that decides how deep the tree was right; only then is something learned, otherwise ask
  // again when the text is longer.
  virtual bool observeText(const DraftTree& tree, std::span<const TokenId> continuation) = 0;
  // Whether observeText() is to be told of every draft as it was before prune().
  virtual bool learnsFromText() const { return false; }
};

// Always the full size, as papers do.
std::unique_ptr<Controller> makeFixedController();
// For drafts that cost forwards: two deeper after a fully accepted draft, one shallower after a rejection,
// never below one (the heuristic of common assisted-generation loops).
std::unique_ptr<Controller> makeDepthController(int start);
// For drafts that cost nothing. Keeps the nodes whose expected gain pays for their place in the forward:
// maximises (1 + Σ P(node accepted)) ÷ c(nodes + 1). P(node accepted) is the product of the learned
// acceptance rates of the buckets on its path. `notes` keeps the cost curve of the run.
std::unique_ptr<Controller> makeAdaptiveController(std::map<std::string, std::string>* notes);
// For drafts that grow by levels and cost a forward each. Maximises (1 + Σ P(node accepted)) ÷ (c(nodes + 1)
// + cost of the levels), with P learned for ranges of the drafter's own probability of a node's path; drafts
// a level only where that is expected to gain, down to none.
std::unique_ptr<Controller> makeLevelController(std::map<std::string, std::string>* notes);

}  // namespace decoscope
