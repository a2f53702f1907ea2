#include <algorithm>

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

}  // namespace decoscope
