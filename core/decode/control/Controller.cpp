#include "core/decode/control/Controller.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>
#include <sstream>

#include "core/decode/control/RunningRate.h"

namespace decoscope {

namespace {

constexpr int kMeasuredSizes[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 96};
constexpr int kMeasuredLevels[] = {1, 2, 4, 8, 16};
constexpr int kRepetitions = 5;

double medianOf(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return std::max(*middle, 1e-6);
}

std::vector<std::pair<int, double>> curvePoints(std::span<const int> sizes,
                                                const std::vector<std::vector<double>>& times, double one) {
  std::vector<std::pair<int, double>> points;
  double before = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    // More tokens never cost less: what looks so is noise.
    before = std::max(before, medianOf(times[i]) / one);
    points.emplace_back(sizes[i], before);
  }
  return points;
}

// Wall clock of a plain step of the target, in milliseconds; nothing where the context is full.
Result<std::optional<double>> plainForward(DecodeEnvironment& environment) {
  Model& model = *environment.target().model;
  const int cached = model.cached();
  if (cached >= model.info().contextLength) return std::nullopt;
  ForwardRequest request;
  request.tokens = {environment.text.back()};
  request.logitRows = {0};
  DECOSCOPE_ASSIGN(const ForwardOutput output, model.forward(request, environment.stop));
  DECOSCOPE_TRY(model.retain(cached));
  return output.milliseconds;
}

class FixedController final : public Controller {
 public:
  DraftBudget budget(const DraftBudget& full) override { return full; }
  std::string prune(DraftTree&) override { return {}; }
  void observe(const DraftTree&, std::span<const NodeId>) override {}
  bool observeText(const DraftTree&, std::span<const TokenId>) override { return true; }
};

class DepthController final : public Controller {
 public:
  explicit DepthController(int start) : depth_(start) {}
  DraftBudget budget(const DraftBudget& full) override { return {full.nodes, std::min(full.depth, depth_)}; }
  std::string prune(DraftTree&) override { return {}; }
  void observe(const DraftTree& tree, std::span<const NodeId> accepted) override {
    if (tree.nodes.empty()) return;
    const bool all = static_cast<int>(accepted.size()) >= tree.nodes.back().depth;
    depth_ = std::max(1, depth_ + (all ? 2 : -1));
  }
  bool observeText(const DraftTree&, std::span<const TokenId>) override { return true; }

 private:
  int depth_;
};

class AdaptiveController final : public Controller {
 public:
  explicit AdaptiveController(std::map<std::string, std::string>* notes) : notes_(notes) {}

  Status begin(DecodeEnvironment& environment, Proposer&) override {
    DECOSCOPE_ASSIGN(curve_,
                     notedCurve(*notes_, kCostCurveNote, [&] { return CostCurve::measure(environment); }));
    return {};
  }
  bool learnsFromText() const override { return true; }

  DraftBudget budget(const DraftBudget& full) override { return full; }

  std::string prune(DraftTree& tree) override {
    ++steps_;
    if (tree.nodes.empty()) return {};
    // What is only guessed may cost what is left of the allowance; what was learned from the text, anything.
    const double left = kAllowance + kAllowedShare * steps_ - lost_;
    const Choice guessed = best(reachProbabilities(tree, true), left),
                 learned = best(reachProbabilities(tree, false), INFINITY);
    const Choice& choice = guessed.gain > learned.gain ? guessed : learned;
    if (choice.nodes.size() == tree.nodes.size()) return {};
    const std::size_t full = tree.nodes.size();
    tree.keep(choice.nodes);
    if (choice.nodes.empty())
      return "Kept none of " + std::to_string(full) + " nodes: none gains enough over a plain step.";
    char text[160];
    std::snprintf(text, sizeof text, "Kept %zu of %zu nodes: expected gain %.3f over a plain step.",
                  choice.nodes.size(), full, choice.gain);
    return text;
  }

  // Rates are learned from the text, also about nodes that were pruned; here only what drafting cost is
  // booked.
  void observe(const DraftTree& tree, std::span<const NodeId> accepted) override {
    const auto won = static_cast<double>(accepted.size());
    if (!tree.nodes.empty()) lost_ += costOf(tree.nodes.size()) - 1 - won;
    steps_ += won;
  }

  bool observeText(const DraftTree& tree, std::span<const TokenId> continuation) override {
    std::vector<NodeId> matched;
    NodeId at = kRootNode;
    for (const TokenId token : continuation) {
      const auto next = std::find_if(tree.nodes.begin(), tree.nodes.end(), [&](const DraftNode& node) {
        return node.parent == at && node.token == token;
      });
      if (next == tree.nodes.end()) {
        learn(tree, matched);
        return true;
      }
      matched.push_back(at = static_cast<NodeId>(next - tree.nodes.begin()));
    }
    return false;
  }

 private:
  static constexpr double kOverhead = 1.02;
  // What a forward of several tokens costs above one of a single token was seen to double on machines whose
  // memory is faster at one time than at another; the curve was measured at one of them.
  static constexpr double kCaution = 1.5;
  static constexpr double kSure = 1.03;  // a gain worth drafting for
  // What may be lost on drafts that fail, in plain steps: a little at once, and one in two hundred.
  static constexpr double kAllowance = 0.2, kAllowedShare = 0.005;
  static constexpr double kPriorWeight = 4, kMemory = 0.98;  // about the last fifty tests
  // Of verifying so many nodes, in plain steps.
  double costOf(std::size_t nodes) const {
    return (1 + (curve_.ratio(static_cast<int>(nodes) + 1) - 1) * kCaution) * kOverhead;
  }

  // The nodes of a tree that promise the most, ascending, and what they promise.
  struct Choice {
    double gain = kSure;
    std::vector<std::size_t> nodes;
  };
  // Of drafts that lose at most `affordable` plain steps where nothing of them is accepted.
  Choice best(const std::vector<double>& reach, double affordable) const {
    Choice choice;
    std::vector<double> sorted = reach;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    double tokens = 1;
    std::size_t keep = 0;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      tokens += sorted[i];
      const double cost = costOf(i + 1);
      if (cost - 1 > affordable) break;
      if (tokens / cost > choice.gain) choice.gain = tokens / cost, keep = i + 1;
    }
    // Parents stay with their children: a product never exceeds its prefix, and of equals the earlier is
    // kept.
    choice.nodes = bestNodes(reach, keep);
    return choice;
  }

  // Before anything is known: the first child is right one time in four, later ones less.
  static double prior(const DraftNode& node) { return 0.25 / (1 + node.rank); }

  // Siblings stand in the order in which they are tested: those behind the right one would not have been.
  void learn(const DraftTree& tree, std::span<const NodeId> matched) {
    NodeId at = kRootNode;
    for (std::size_t depth = 0; depth <= matched.size(); ++depth) {
      const NodeId right = depth < matched.size() ? matched[depth] : -2;
      for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
        if (tree.nodes[i].parent != at) continue;
        rate(tree.nodes[i].bucket).observe(static_cast<NodeId>(i) == right, kMemory);
        if (static_cast<NodeId>(i) == right) break;
      }
      at = right;
      if (at < 0) return;
    }
  }

  RunningRate& rate(int bucket) {
    if (static_cast<std::size_t>(bucket) >= rates_.size())
      rates_.resize(static_cast<std::size_t>(bucket) + 1);
    return rates_[static_cast<std::size_t>(bucket)];
  }

  std::vector<double> reachProbabilities(const DraftTree& tree, bool guessing) {
    std::vector<double> reach(tree.nodes.size());
    // Siblings are tested in turn, so a child is reached only where its elder siblings failed.
    std::vector<double> left(tree.nodes.size() + 1, 1.0);
    for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
      const DraftNode& node = tree.nodes[i];
      const auto parent = static_cast<std::size_t>(node.parent + 1);
      const double above = node.parent < 0 ? 1.0 : reach[parent - 1];
      const double own = rate(node.bucket).rate(guessing ? prior(node) : 0, kPriorWeight);
      reach[i] = above * left[parent] * own;
      left[parent] *= 1 - own;
    }
    return reach;
  }

  std::map<std::string, std::string>* notes_;
  CostCurve curve_;
  std::vector<RunningRate> rates_;
  double lost_ = 0, steps_ = 0;  // in plain steps: cost of drafting less the tokens it won; the whole run
};

}  // namespace

double CostCurve::ratio(int tokens) const {
  if (points_.empty()) return 1;
  if (tokens <= points_.front().first) return points_.front().second;
  for (std::size_t i = 1; i < points_.size(); ++i) {
    const auto [x0, y0] = points_[i - 1];
    const auto [x1, y1] = points_[i];
    if (tokens <= x1 || i + 1 == points_.size()) return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0);
  }
  return points_.back().second;
}

std::string CostCurve::text() const {
  std::string out;
  for (const auto& [tokens, ratio] : points_) {
    char part[48];
    std::snprintf(part, sizeof part, "%s%d:%.17g", out.empty() ? "" : " ", tokens, ratio);
    out += part;
  }
  return out;
}

Result<CostCurve> CostCurve::parse(const std::string& text) {
  std::vector<std::pair<int, double>> points;
  std::istringstream in(text);
  for (std::string part; in >> part;) {
    int tokens = 0;
    double ratio = 0;
    if (std::sscanf(part.c_str(), "%d:%lf", &tokens, &ratio) != 2 || tokens < 1 || !(ratio > 0) ||
        (!points.empty() && tokens <= points.back().first))
      return fail(ErrorCode::badInput, "the recorded cost curve is damaged", part);
    points.emplace_back(tokens, ratio);
  }
  if (points.empty()) return fail(ErrorCode::badInput, "the recorded cost curve is empty");
  return CostCurve(std::move(points));
}

Result<CostCurve> CostCurve::measure(DecodeEnvironment& environment) {
  RoleModel& target = environment.target();
  Model& model = *target.model;
  const int cached = model.cached();
  const int room = model.info().contextLength - cached;
  std::vector<int> sizes;
  for (const int size : kMeasuredSizes)
    if (size <= room) sizes.push_back(size);
  if (sizes.empty()) return CostCurve({{1, 1.0}});
  const TokenId token = environment.text.back();
  std::vector<std::vector<double>> times(sizes.size());
  // Round robin, so that a passing disturbance does not fall on one size alone.
  for (int repetition = 0; repetition <= kRepetitions; ++repetition)
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      ForwardRequest request;
      request.tokens.assign(static_cast<std::size_t>(sizes[i]), token);
      request.parents.assign(static_cast<std::size_t>(sizes[i]), -1);
      request.logitRows.resize(static_cast<std::size_t>(sizes[i]));
      std::iota(request.logitRows.begin(), request.logitRows.end(), 0);
      DECOSCOPE_ASSIGN(const ForwardOutput output, model.forward(request, environment.stop));
      DECOSCOPE_TRY(model.retain(cached));
      if (repetition > 0) times[i].push_back(output.milliseconds);
    }
  return CostCurve(curvePoints(sizes, times, medianOf(times.front())));
}

Result<CostCurve> CostCurve::measureDrafting(DecodeEnvironment& environment, Proposer& proposer) {
  std::vector<double> plain;
  std::vector<std::vector<double>> times(std::size(kMeasuredLevels));
  for (int repetition = 0; repetition <= kRepetitions; ++repetition) {
    DECOSCOPE_ASSIGN(const std::optional<double> step, plainForward(environment));
    if (!step) return CostCurve({{1, 1.0}});
    if (repetition > 0) plain.push_back(*step);
    // The target's weights have pushed those of the drafter out of the caches.
    DECOSCOPE_TRY(proposer.rehearse(environment, 1));
    for (std::size_t i = 0; i < times.size(); ++i) {
      DECOSCOPE_ASSIGN(const double milliseconds, proposer.rehearse(environment, kMeasuredLevels[i]));
      if (repetition > 0) times[i].push_back(milliseconds);
    }
  }
  return CostCurve(curvePoints(kMeasuredLevels, times, medianOf(plain)));
}

Result<CostCurve> CostCurve::measureFirstLevel(DecodeEnvironment& environment, Proposer& proposer,
                                               int tokens) {
  std::vector<double> plain, first;
  for (int repetition = 0; repetition <= kRepetitions; ++repetition) {
    DECOSCOPE_ASSIGN(const std::optional<double> step, plainForward(environment));
    if (!step) return CostCurve({{tokens, 1.0}});
    DECOSCOPE_ASSIGN(const double milliseconds, proposer.rehearse(environment, tokens));
    if (repetition == 0) continue;
    plain.push_back(*step);
    first.push_back(milliseconds);
  }
  return CostCurve({{tokens, medianOf(first) / medianOf(plain)}});
}

Result<CostCurve> notedCurve(std::map<std::string, std::string>& notes, const char* name,
                             const std::function<Result<CostCurve>()>& measure) {
  if (const auto note = notes.find(name); note != notes.end()) return CostCurve::parse(note->second);
  DECOSCOPE_ASSIGN(CostCurve curve, measure());
  notes[name] = curve.text();
  return curve;
}

std::unique_ptr<Controller> makeFixedController() {
  return std::make_unique<FixedController>();
}
std::unique_ptr<Controller> makeDepthController(int start) {
  return std::make_unique<DepthController>(start);
}
std::unique_ptr<Controller> makeAdaptiveController(std::map<std::string, std::string>* notes) {
  return std::make_unique<AdaptiveController>(notes);
}

}  // namespace decoscope
