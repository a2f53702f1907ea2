#include "core/decode/verify/Verifier.h"

#include <algorithm>
#include <cmath>

#include "core/decode/verify/Rules.h"

namespace decoscope {

namespace {

VerificationRule ruleFor(const DraftTree& tree, bool greedy, bool typical) {
  if (greedy && !typical) return VerificationRule::greedy;
  if (typical) return VerificationRule::r4;
  switch (tree.kind) {
    case ChildKind::independent:
      return VerificationRule::r1;
    case ChildKind::withoutReplacement:
      return VerificationRule::r2;
    case ChildKind::deterministic:
      return VerificationRule::r3;
  }
  return VerificationRule::r3;
}

// What the raw row says about a token.
void addRawFigures(VerdictFact& fact, const Logits& logits, const std::vector<RowSummary>& summaries,
                   std::size_t row, TokenId token) {
  if (row >= summaries.size()) return;
  const RowSummary& summary = summaries[row];
  fact.pRaw =
      std::exp(logits.row(static_cast<int>(row))[static_cast<std::size_t>(token)] - summary.logSumExp);
  const auto found = std::find(summary.tokens.begin(), summary.tokens.end(), token);
  if (found != summary.tokens.end()) fact.pRank = static_cast<std::int32_t>(found - summary.tokens.begin());
}

class TreeWalk {
 public:
  TreeWalk(DecodeEnvironment& environment, const Chooser& chooser, const DraftTree& tree,
           const Logits& logits, const std::vector<RowSummary>& summaries, const VerifierSettings& settings)
      : environment_(environment),
        chooser_(chooser),
        tree_(tree),
        logits_(logits),
        summaries_(summaries),
        settings_(settings),
        rule_(ruleFor(tree, chooser.settings().greedy(), settings.typical)),
        children_(tree.children()),
        seen_(tree.nodes.size(), false) {}

  Result<Walk> run() {
    Walk walk;
    NodeId at = kRootNode;
    while (true) {
      const auto& children = children_[static_cast<std::size_t>(at + 1)];
      if (children.empty()) {
        const bool plain = tree_.nodes.empty();
        walk.provenance = plain ? Provenance::plain : Provenance::bonus;
        DECOSCOPE_ASSIGN(walk.next, choose(at, plain ? DrawPurpose::sample : DrawPurpose::bonus));
        break;
      }
      DECOSCOPE_ASSIGN(const int accepted, test(at, children, walk));
      if (accepted < 0) break;
      at = children[static_cast<std::size_t>(accepted)];
      walk.accepted.push_back(at);
      path_.push_back(tree_.nodes[static_cast<std::size_t>(at)].token);
    }
    recordUnreached();
    return walk;
  }

 private:
  Result<TokenId> choose(NodeId at, DrawPurpose purpose) {
    const auto row = static_cast<std::size_t>(at + 1);
    return chooser_.choose(environment_, logits_, at + 1, at, path_, purpose,
                           row < summaries_.size() ? &summaries_[row] : nullptr);
  }

  // Tests the children of a node; returns the index of the accepted one, or -1 with `walk.next` set.
  Result<int> test(NodeId at, const std::vector<NodeId>& children, Walk& walk) {
    std::vector<TokenId> tokens;
    for (const NodeId child : children) tokens.push_back(tree_.nodes[static_cast<std::size_t>(child)].token);
    const auto position = static_cast<std::int64_t>(environment_.text.size() + path_.size());
    const UniformSource u = [&](int child) {
      return environment_.draw(position, children[static_cast<std::size_t>(child)], DrawPurpose::verdict);
    };
    NodeVerdict verdict;
    std::vector<double> prior(children.size(), kUnknown);  // p of the children before any test
    const auto keepPrior = [&](const Distribution& p) {
      for (std::size_t i = 0; i < tokens.size(); ++i) prior[i] = p[static_cast<std::size_t>(tokens[i])];
    };
    if (rule_ == VerificationRule::greedy || rule_ == VerificationRule::r3) {
      DECOSCOPE_ASSIGN(walk.next, choose(at, DrawPurpose::sample));
      walk.provenance = Provenance::resampled;
      if (rule_ == VerificationRule::r3) {
        DECOSCOPE_ASSIGN(const Distribution p, chooser_.distribution(environment_, logits_, at + 1, path_));
        keepPrior(p);
        verdict = matchDrawn(p, tokens, walk.next);
      } else {
        verdict = matchGreedy(at, tokens, walk.next);
      }
    } else {
      DECOSCOPE_ASSIGN(const Distribution p, chooser_.distribution(environment_, logits_, at + 1, path_));
      keepPrior(p);
      record(p, DistributionKind::target, at, 0);
      if (rule_ == VerificationRule::r4) {
        verdict = verifyTypical(p, tokens, settings_.epsilon, settings_.delta);
      } else {
        const Distribution& q = tree_.q.at(at);
        record(q, DistributionKind::draft, at, 0);
        verdict = rule_ == VerificationRule::r1 ? verifyIndependent(p, q, tokens, u)
                                                : verifyWithoutReplacement(p, q, tokens, u);
      }
    }
    for (const ChildTest& test : verdict.tests)
      recordTest(at, children[static_cast<std::size_t>(test.child)], test);
    for (std::size_t i = verdict.tests.size(); i < children.size(); ++i)
      recordVerdict(children[i], VerdictKind::notReachedSibling, prior[i]);
    if (verdict.accepted >= 0) return verdict.accepted;
    if (rule_ == VerificationRule::r1 || rule_ == VerificationRule::r2) {
      drawResidual(at, verdict, position, walk);
    } else if (rule_ == VerificationRule::r4) {
      DECOSCOPE_ASSIGN(walk.next, choose(at, DrawPurpose::sample));
      walk.provenance = Provenance::resampled;
    }
    return -1;
  }

  NodeVerdict matchGreedy(NodeId at, const std::vector<TokenId>& tokens, TokenId chosen) const {
    NodeVerdict verdict;
    const auto row = static_cast<std::size_t>(at + 1);
    for (int i = 0; i < static_cast<int>(tokens.size()); ++i) {
      const TokenId token = tokens[static_cast<std::size_t>(i)];
      ChildTest test;
      test.child = i;
      test.stage = i;
      test.p =
          row < summaries_.size()
              ? std::exp(logits_.row(at + 1)[static_cast<std::size_t>(token)] - summaries_[row].logSumExp)
              : kUnknown;
      test.threshold = kUnknown;
      test.accepted = token == chosen;
      verdict.tests.push_back(test);
      if (test.accepted) {
        verdict.accepted = i;
        break;
      }
    }
    return verdict;
  }

  void drawResidual(NodeId at, const NodeVerdict& verdict, std::int64_t position, Walk& walk) {
    DrawFact fact;
    fact.node = at;
    fact.purpose = DrawPurpose::residual;
    fact.stage = static_cast<std::int32_t>(verdict.tests.size());
    fact.u = environment_.draw(position, at, DrawPurpose::residual);
    const Draw drawn = drawFrom(verdict.rest, fact.u);
    fact.token = drawn.token;
    fact.low = drawn.low;
    fact.high = drawn.high;
    fact.probability = verdict.rest[static_cast<std::size_t>(drawn.token)];
    record(verdict.rest, DistributionKind::residual, at, fact.stage);
    environment_.recorder->add(fact);
    walk.next = drawn.token;
    walk.provenance = Provenance::resampled;
  }

  void record(const Distribution& distribution, DistributionKind kind, NodeId node, int stage) {
    if (!environment_.recorder->wantsDistributions()) return;
    const Recorder::Timer timer(*environment_.recorder, TimeShare::recording);
    environment_.recorder->add(digest(distribution, kind, node, environment_.recorder->topK(), stage));
  }

  void recordTest(NodeId at, NodeId child, const ChildTest& test) {
    const DraftNode& node = tree_.nodes[static_cast<std::size_t>(child)];
    VerdictFact fact;
    fact.node = child;
    fact.verdict = test.accepted ? VerdictKind::accepted : VerdictKind::rejected;
    fact.rule = rule_;
    fact.p = test.p;
    fact.q = std::isnan(test.q) ? node.q : test.q;
    fact.u = test.u;
    fact.threshold = test.threshold;
    fact.stage = test.stage;
    addRawFigures(fact, logits_, summaries_, static_cast<std::size_t>(at + 1), node.token);
    seen_[static_cast<std::size_t>(child)] = true;
    environment_.recorder->add(fact);
  }

  // A node that was never tested: what the target would have given it is still worth knowing.
  void recordVerdict(NodeId child, VerdictKind kind, double p) {
    const DraftNode& node = tree_.nodes[static_cast<std::size_t>(child)];
    VerdictFact fact;
    fact.node = child;
    fact.verdict = kind;
    fact.rule = rule_;
    fact.q = node.q;
    addRawFigures(fact, logits_, summaries_, static_cast<std::size_t>(node.parent + 1), node.token);
    // Processing the rows that the walk never came to would cost a pass over the vocabulary each.
    fact.p = rule_ == VerificationRule::greedy ? fact.pRaw : p;
    seen_[static_cast<std::size_t>(child)] = true;
    environment_.recorder->add(fact);
  }

  void recordUnreached() {
    for (std::size_t i = 0; i < seen_.size(); ++i)
      if (!seen_[i]) recordVerdict(static_cast<NodeId>(i), VerdictKind::notReachedAncestor, kUnknown);
  }

  DecodeEnvironment& environment_;
  const Chooser& chooser_;
  const DraftTree& tree_;
  const Logits& logits_;
  const std::vector<RowSummary>& summaries_;
  const VerifierSettings& settings_;
  VerificationRule rule_;
  std::vector<std::vector<NodeId>> children_;
  std::vector<bool> seen_;
  std::vector<TokenId> path_;
};

}  // namespace

Result<Walk> verifyTree(DecodeEnvironment& environment, const Chooser& chooser, const DraftTree& tree,
                        const Logits& logits, const std::vector<RowSummary>& summaries,
                        const VerifierSettings& settings) {
  return TreeWalk(environment, chooser, tree, logits, summaries, settings).run();
}

}  // namespace decoscope
