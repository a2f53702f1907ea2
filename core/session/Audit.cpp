#include "core/session/Audit.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "core/session/Engine.h"

namespace decoscope {

namespace {

constexpr double kTolerance = 1e-9;

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

class StepAudit {
 public:
  StepAudit(const StepRecord& step, const RunInfo& info, AuditReport& report)
      : step_(step), info_(info), report_(report) {}

  void run() {
    for (const Event& event : step_.events) {
      if (const auto* e = std::get_if<ProposeFact>(&event))
        nodes_[e->node] = e;
      else if (const auto* e = std::get_if<VerdictFact>(&event))
        verdicts_[e->node] = e;
      else if (const auto* e = std::get_if<DrawFact>(&event))
        draws_[e->node] = e;
      else if (const auto* e = std::get_if<CommitFact>(&event))
        commits_.push_back(e);
      else if (const auto* e = std::get_if<NoteFact>(&event))
        forced_ |= e->kind == "forced";
      else if (const auto* e = std::get_if<DistributionFact>(&event))
        distributions_.push_back(e);
      else if (const auto* e = std::get_if<CellFact>(&event))
        cells_[e->position] = e;
    }
    for (const auto& [node, draw] : draws_) checkDraw(*draw);
    for (const auto& [node, verdict] : verdicts_) checkVerdict(*verdict);
    if (!cells_.empty())
      checkCells();
    else if (const auto token = forcedAt(info_, step_.step); token && step_.run == info_.id)
      checkForced(*token);
    else if (!step_.failed && !forced_)
      checkCommits();
    checkPositions();
  }

 private:
  void require(bool holds, NodeId node, const std::string& what) {
    ++report_.checked;
    if (!holds) report_.failed.push_back({step_.step, node, what});
  }
  const ProposeFact* nodeAt(NodeId id) const {
    const auto found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second;
  }
  std::int64_t positionAfter(NodeId node) const {
    const ProposeFact* proposed = nodeAt(node);
    return step_.committedBefore + (proposed ? proposed->depth : 0);
  }
  double expectedU(std::int64_t position, NodeId node, DrawPurpose purpose) const {
    return uniform({info_.seed, info_.stream, position}, node, purpose);
  }

  void checkDraw(const DrawFact& draw) {
    const std::string at = "node " + std::to_string(draw.node);
    if (std::isnan(draw.u)) {
      require(info_.parameters.has("temperature") && info_.parameters.real("temperature") <= 0, draw.node,
              "the token after " + at + " was chosen without a draw, but the temperature is not 0");
      // The most probable recorded raw token, unless penalties or bans may have changed the order.
      if (!ordersLikeRaw()) return;
      for (const DistributionFact* distribution : distributions_)
        if (distribution->kind == DistributionKind::targetRaw && distribution->node == draw.node &&
            !distribution->tokens.empty()) {
          require(distribution->tokens.front() == draw.token, draw.node,
                  "the token after " + at + " is not the most probable one");
          if (!std::isnan(draw.probability))
            require(std::abs(distribution->probabilities.front() - draw.probability) <= 1e-6, draw.node,
                    "the recorded distribution after " + at + " gives the chosen token another probability");
        }
      return;
    }
    // Residual draws have their own numbers; every draw from the target itself is keyed by its position
    // alone.
    const bool residual = draw.purpose == DrawPurpose::residual;
    const double u = residual ? expectedU(positionAfter(draw.node), draw.node, DrawPurpose::residual)
                              : expectedU(positionAfter(draw.node), kRootNode, DrawPurpose::sample);
    require(
        draw.u == u, draw.node,
        "the u of the draw after " + at + " is " + number(draw.u) + ", its coordinates give " + number(u));
    require(draw.low <= draw.u && draw.u < draw.high, draw.node,
            "u is outside the interval of the token drawn after " + at);
    require(std::abs(draw.high - draw.low - draw.probability) <= 1e-6, draw.node,
            "the interval after " + at + " does not have the width of its probability");
    for (const DistributionFact* distribution : distributions_) {
      const DistributionKind kind = residual ? DistributionKind::residual : DistributionKind::target;
      if (distribution->kind != kind || distribution->node != draw.node || distribution->stage != draw.stage)
        continue;
      const auto found = std::find(distribution->tokens.begin(), distribution->tokens.end(), draw.token);
      if (found != distribution->tokens.end())
        require(
            std::abs(
                distribution->probabilities[static_cast<std::size_t>(found - distribution->tokens.begin())] -
                draw.probability) <= 1e-6,
            draw.node,
            "the recorded distribution after " + at + " gives the drawn token another probability");
    }
  }

  bool ordersLikeRaw() const {
    const ParamSet& p = info_.parameters;
    return p.has("repetition_penalty") && p.real("repetition_penalty") == 1 &&
           p.real("presence_penalty") == 0 && p.real("frequency_penalty") == 0 && p.text("banned").empty();
  }

  void checkVerdict(const VerdictFact& verdict) {
    const ProposeFact* node = nodeAt(verdict.node);
    const std::string at = "node " + std::to_string(verdict.node);
    require(node != nullptr, verdict.node, "there is a verdict on " + at + ", which was not proposed");
    if (!node) return;
    const bool reached =
        node->parent == kRootNode ||
        (verdicts_.contains(node->parent) && verdicts_[node->parent]->verdict == VerdictKind::accepted);
    switch (verdict.verdict) {
      case VerdictKind::notReachedAncestor:
        require(!reached, verdict.node, at + " is called not reached, but its parent was accepted");
        return;
      case VerdictKind::notReachedSibling:
        require(reached && elderAccepted(*node), verdict.node,
                at + " is called not reached, but no elder sibling was accepted");
        return;
      case VerdictKind::pruned:
        return;
      default:
        break;
    }
    require(reached && !elderAccepted(*node), verdict.node,
            at + " was tested, but the walk did not reach it");
    const bool accepted = verdict.verdict == VerdictKind::accepted;
    const auto draw = draws_.find(node->parent);
    switch (verdict.rule) {
      case VerificationRule::greedy:
      case VerificationRule::r3:
        require(draw != draws_.end(), verdict.node, "nothing was drawn that could decide " + at);
        if (draw != draws_.end())
          require(accepted == (draw->second->token == node->token), verdict.node,
                  "the verdict on " + at + " contradicts the token drawn at its parent");
        return;
      case VerificationRule::r1:
      case VerificationRule::r2: {
        const double u = expectedU(positionAfter(node->parent), verdict.node, DrawPurpose::verdict);
        require(verdict.u == u, verdict.node,
                "the u of " + at + " is " + number(verdict.u) + ", its coordinates give " + number(u));
        const double threshold =
            verdict.q > 0 ? std::min(1.0, verdict.p / verdict.q) : (verdict.p > 0 ? 1.0 : 0.0);
        require(std::abs(threshold - verdict.threshold) <= kTolerance, verdict.node,
                "min(1, p/q) of " + at + " is " + number(threshold) + ", recorded is " +
                    number(verdict.threshold));
        require(accepted == (verdict.u < threshold), verdict.node,
                "the verdict on " + at + " contradicts u and p/q");
        return;
      }
      case VerificationRule::r4:
        require(accepted == (verdict.p > verdict.threshold), verdict.node,
                "the verdict on " + at + " contradicts p and the threshold");
        return;
    }
  }

  bool elderAccepted(const ProposeFact& node) {
    for (const auto& [id, other] : nodes_)
      if (other->parent == node.parent && other->rank < node.rank && verdicts_.contains(id) &&
          verdicts_[id]->verdict == VerdictKind::accepted)
        return true;
    return false;
  }

  // Commits are the accepted path and then the token drawn at its end, as far as the text went.
  void checkCommits() {
    std::vector<TokenId> expected;
    NodeId at = kRootNode;
    while (true) {
      const ProposeFact* next = nullptr;
      for (const auto& [id, node] : nodes_)
        if (node->parent == at && verdicts_.contains(id) && verdicts_[id]->verdict == VerdictKind::accepted)
          next = node;
      if (!next) break;
      expected.push_back(next->token);
      at = next->node;
    }
    if (const auto draw = draws_.find(at); draw != draws_.end()) expected.push_back(draw->second->token);
    // Without recorded draws (light records keep them, "none" does not) there is nothing to compare the last
    // token with.
    for (std::size_t i = 0; i < commits_.size(); ++i) {
      if (i >= expected.size()) {
        if (!draws_.empty())
          require(false, commits_[i]->node,
                  "token " + std::to_string(commits_[i]->token) +
                      " was committed, but nothing recorded explains it");
        continue;
      }
      require(commits_[i]->token == expected[i], commits_[i]->node,
              "the committed token " + std::to_string(commits_[i]->token) +
                  " is not the accepted or drawn one, " + std::to_string(expected[i]));
    }
  }

  // A forced step commits what the run says and nothing else.
  void checkForced(TokenId token) {
    if (step_.failed) return;
    const Provenance provenance =
        step_.step - info_.forkStep < info_.kept ? Provenance::kept : Provenance::forced;
    require(commits_.size() == 1 && commits_.front()->token == token &&
                commits_.front()->provenance == provenance,
            kRootNode,
            "token " + std::to_string(token) + " had to be committed as " + name(provenance) +
                ", the record says otherwise");
  }

  void checkCells() {
    double weakest = INFINITY;
    std::int32_t block = -1;
    for (const auto& [position, cell] : cells_)
      if (cell->state == CellState::committed)
        weakest = std::min(weakest, cell->confidence), block = cell->block;
    for (const auto& [position, cell] : cells_)
      if (cell->state == CellState::masked && cell->block == block)
        require(cell->confidence <= weakest, kRootNode,
                "position " + std::to_string(position) +
                    " stayed masked with more confidence than a committed one");
    for (const CommitFact* commit : commits_) {
      const auto cell = cells_.find(static_cast<std::int32_t>(commit->position));
      require(cell != cells_.end() && cell->second->state == CellState::committed &&
                  cell->second->token == commit->token,
              kRootNode,
              "position " + std::to_string(commit->position) + " was committed, but its cell says otherwise");
    }
  }

  void checkPositions() {
    if (!cells_.empty()) return;
    std::int64_t position = step_.committedBefore;
    for (const CommitFact* commit : commits_)
      require(commit->position == position++, commit->node,
              "the commit at position " + std::to_string(commit->position) + " is out of order");
    require(position == step_.committedAfter || step_.failed, kRootNode,
            "the step's length does not match its commits");
  }

  const StepRecord& step_;
  const RunInfo& info_;
  AuditReport& report_;
  std::map<NodeId, const ProposeFact*> nodes_;
  std::map<NodeId, const VerdictFact*> verdicts_;
  std::map<NodeId, const DrawFact*> draws_;  // by the node they follow
  std::vector<const CommitFact*> commits_;
  std::vector<const DistributionFact*> distributions_;
  std::map<std::int32_t, const CellFact*> cells_;
  bool forced_ = false;
};

}  // namespace

namespace {

// What a fork says that it kept is what its parent had written there.
Status checkKept(const TraceSource& source, const RunInfo& info, AuditReport& report) {
  if (info.kept == 0) return {};
  std::vector<TokenId> written;
  if (info.forkStep < source.extent(info.parent).second) {
    DECOSCOPE_ASSIGN(const StepPointer step, source.step(info.parent, info.forkStep));
    for (const Event& event : step->events)
      if (const auto* commit = std::get_if<CommitFact>(&event)) written.push_back(commit->token);
  }
  const auto kept = static_cast<std::size_t>(std::max(info.kept, 0));
  ++report.checked;
  if (kept > info.forced.size() || kept > written.size() ||
      !std::equal(info.forced.begin(), info.forced.begin() + static_cast<std::ptrdiff_t>(kept),
                  written.begin()))
    report.failed.push_back({info.forkStep, kRootNode, "the tokens called kept are not the parent's"});
  return {};
}

}  // namespace

Result<AuditReport> auditRun(const TraceSource& source, RunId run) {
  const auto info = source.run(run);
  if (!info) return fail(ErrorCode::badInput, "there is no run " + std::to_string(run.value), "--run");
  AuditReport report;
  report.run = run;
  const auto [first, end] = source.extent(run);
  DECOSCOPE_TRY(checkKept(source, *info, report));
  for (StepIndex index = first; index < end; ++index) {
    DECOSCOPE_ASSIGN(const StepPointer step, source.step(run, index));
    StepAudit(*step, *info, report).run();
  }
  return report;
}

namespace {

bool near(double recorded, double again) {
  if (std::isnan(recorded) || std::isnan(again)) return std::isnan(recorded) == std::isnan(again);
  return std::abs(recorded - again) <= std::max(1e-6, 1e-3 * std::max(std::abs(recorded), std::abs(again)));
}

template <typename Fact>
std::vector<const Fact*> factsOf(const StepRecord& step) {
  std::vector<const Fact*> facts;
  for (const Event& event : step.events)
    if (const auto* fact = std::get_if<Fact>(&event)) facts.push_back(fact);
  return facts;
}

// Calls compare(recorded, again) for each pair of facts of this kind; `what` names the kind where their
// numbers differ.
template <typename Fact, typename Compare>
void pairUp(const StepRecord& recorded, const StepRecord& again, const char* what, AuditReport& report,
            const Compare& compare) {
  const auto a = factsOf<Fact>(recorded), b = factsOf<Fact>(again);
  if (a.size() != b.size()) {
    report.failed.push_back({recorded.step, kRootNode,
                             std::to_string(a.size()) + " " + what + " were recorded, the model gives " +
                                 std::to_string(b.size())});
    return;
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    ++report.checked;
    const std::string difference = compare(*a[i], *b[i]);
    if (!difference.empty()) report.failed.push_back({recorded.step, a[i]->node, difference});
  }
}

}  // namespace

Status auditAgainstModel(Engine& engine, RunId run, const StopToken& stop, AuditReport& report) {
  if (const auto info = engine.recording().source->run(run); info && isTraining(*info)) return {};
  const auto differs = [](const char* what, double a, double b) {
    return std::string(what) + " was " + number(a) + ", the model gives " + number(b);
  };
  const Status status = engine.rerun(
      run,
      [&](const StepRecord& recorded, const StepRecord& again) {
        pairUp<ProposeFact>(recorded, again, "proposals", report,
                            [&](const ProposeFact& a, const ProposeFact& b) -> std::string {
                              if (a.token != b.token || a.parent != b.parent)
                                return "the proposal was token " + std::to_string(a.token) +
                                       ", the drafter gives " + std::to_string(b.token);
                              return near(a.q, b.q) ? std::string() : differs("q", a.q, b.q);
                            });
        pairUp<VerdictFact>(recorded, again, "verdicts", report,
                            [&](const VerdictFact& a, const VerdictFact& b) -> std::string {
                              if (a.verdict != b.verdict)
                                return std::string("the verdict was ") + name(a.verdict) +
                                       ", the model gives " + name(b.verdict);
                              const bool tested =
                                  a.verdict == VerdictKind::accepted || a.verdict == VerdictKind::rejected;
                              const double was = tested ? a.p : a.pRaw, is = tested ? b.p : b.pRaw;
                              return near(was, is) ? std::string() : differs("p", was, is);
                            });
        pairUp<DrawFact>(recorded, again, "draws", report,
                         [&](const DrawFact& a, const DrawFact& b) -> std::string {
                           if (a.token != b.token)
                             return "the draw was token " + std::to_string(a.token) + ", the model gives " +
                                    std::to_string(b.token);
                           // Records of earlier versions do not say it for a choice without a draw.
                           return std::isnan(a.probability) || near(a.probability, b.probability)
                                      ? std::string()
                                      : differs("the probability", a.probability, b.probability);
                         });
      },
      stop);
  // A text that does not repeat is a finding, not a failure of the audit.
  if (!status && status.error().code == ErrorCode::failed) {
    report.failed.push_back({0, kRootNode, status.error().message});
    return {};
  }
  return status;
}

}  // namespace decoscope
