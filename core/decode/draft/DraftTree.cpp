#include <algorithm>
#include <numeric>

#include "core/decode/draft/Proposer.h"

namespace decoscope {

std::vector<std::vector<NodeId>> DraftTree::children() const {
  std::vector<std::vector<NodeId>> result(nodes.size() + 1);
  for (std::size_t i = 0; i < nodes.size(); ++i)
    result[static_cast<std::size_t>(nodes[i].parent + 1)].push_back(static_cast<NodeId>(i));
  for (auto& siblings : result)
    std::stable_sort(siblings.begin(), siblings.end(), [&](NodeId a, NodeId b) {
      return nodes[static_cast<std::size_t>(a)].rank < nodes[static_cast<std::size_t>(b)].rank;
    });
  return result;
}

std::vector<TokenId> DraftTree::path(NodeId node) const {
  std::vector<TokenId> tokens;
  for (; node >= 0; node = nodes[static_cast<std::size_t>(node)].parent)
    tokens.push_back(nodes[static_cast<std::size_t>(node)].token);
  std::reverse(tokens.begin(), tokens.end());
  return tokens;
}

void DraftTree::truncate(std::size_t count) {
  if (count >= nodes.size()) return;
  nodes.resize(count);
  std::erase_if(q, [&](const auto& entry) { return entry.first >= static_cast<NodeId>(count); });
}

void DraftTree::keep(std::span<const std::size_t> kept) {
  std::vector<NodeId> renumbered(nodes.size(), -2);
  std::vector<DraftNode> left;
  for (const std::size_t index : kept) {
    DraftNode node = nodes[index];
    if (node.parent >= 0) node.parent = renumbered[static_cast<std::size_t>(node.parent)];
    renumbered[index] = static_cast<NodeId>(left.size());
    left.push_back(node);
  }
  std::map<NodeId, Distribution> distributions;
  for (auto& [node, distribution] : q) {
    if (node == kRootNode)
      distributions[node] = std::move(distribution);
    else if (renumbered[static_cast<std::size_t>(node)] >= 0)
      distributions[renumbered[static_cast<std::size_t>(node)]] = std::move(distribution);
  }
  nodes = std::move(left);
  q = std::move(distributions);
}

std::vector<double> DraftTree::reach() const {
  std::vector<double> result;
  for (const DraftNode& node : nodes)
    result.push_back(node.q * (node.parent < 0 ? 1 : result[static_cast<std::size_t>(node.parent)]));
  return result;
}

std::vector<std::size_t> bestNodes(std::span<const double> values, std::size_t count) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  order.resize(std::min(count, order.size()));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace decoscope
