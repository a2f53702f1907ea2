#include "core/trace/Round.h"

#include <algorithm>
#include <unordered_map>

namespace decoscope {

Round roundOf(const StepRecord& step, TokenId root) {
  Round round;
  round.nodes.push_back({.token = root});
  for (const Event& event : step.events)
    if (const auto* e = std::get_if<ProposeFact>(&event))
      round.nodes.push_back({.token = e->token,
                             .parent = e->parent + 1,
                             .depth = e->depth,
                             .rank = e->rank,
                             .q = e->q,
                             .owner = e->owner});
  round.proposed = static_cast<std::int32_t>(round.nodes.size()) - 1;
  const auto known = [&](NodeId node) { return node >= 0 && node < round.proposed; };
  std::unordered_map<NodeId, const DrawFact*> draws;
  NodeId end = kRootNode;
  for (const Event& event : step.events) {
    if (const auto* e = std::get_if<VerdictFact>(&event)) {
      if (known(e->node)) round.nodes[static_cast<std::size_t>(e->node) + 1].verdict = e;
      round.accepted += e->verdict == VerdictKind::accepted;
      round.tested += e->verdict == VerdictKind::accepted || e->verdict == VerdictKind::rejected;
    } else if (const auto* d = std::get_if<DrawFact>(&event)) {
      draws[d->node] = d;
    } else if (const auto* c = std::get_if<CommitFact>(&event)) {
      ++round.committed;
      if (known(c->node)) {
        end = c->node;
        round.nodes[static_cast<std::size_t>(end) + 1].commit = c;
        continue;
      }
      // A commit that no proposal gave is a token from the target.
      RoundNode node{.token = c->token,
                     .parent = end + 1,
                     .depth = round.nodes[static_cast<std::size_t>(end) + 1].depth + 1,
                     .rank = -1,
                     .commit = c};
      if (const auto draw = draws.find(end); draw != draws.end()) node.draw = draw->second;
      round.nodes.push_back(std::move(node));
    }
  }
  for (std::size_t i = 1; i < round.nodes.size(); ++i) {
    RoundNode& node = round.nodes[i];
    round.depth = std::max(round.depth, node.depth);
    if (node.parent >= 0 && static_cast<std::size_t>(node.parent) < i)
      round.nodes[static_cast<std::size_t>(node.parent)].children.push_back(static_cast<std::int32_t>(i));
  }
  for (const RoundNode& node : round.nodes) {
    const auto proposed =
        static_cast<std::int32_t>(std::count_if(node.children.begin(), node.children.end(),
                                                [&](std::int32_t child) { return child <= round.proposed; }));
    for (const std::int32_t child : node.children)
      round.nodes[static_cast<std::size_t>(child)].siblings = child <= round.proposed ? proposed : 1;
  }
  return round;
}

double targetProbability(const RoundNode& node) {
  if (node.verdict) return std::isnan(node.verdict->p) ? node.verdict->pRaw : node.verdict->p;
  return node.draw ? node.draw->probability : kUnknown;
}

}  // namespace decoscope
