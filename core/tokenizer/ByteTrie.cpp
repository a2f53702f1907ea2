#include "core/tokenizer/ByteTrie.h"

#include <algorithm>

namespace decoscope {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries) {
  roots_.fill(-1);
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // Level by level, so that the children of a node lie side by side.
  struct Range {
    std::size_t begin, end, depth;
    std::int32_t node;  // -1: the root
  };
  std::vector<Range> level = {{0, entries.size(), 0, -1}}, next;
  while (!level.empty()) {
    next.clear();
    for (const Range& range : level) {
      std::size_t at = range.begin;
      // Strings that end here come first.
      while (at < range.end && entries[at].first.size() == range.depth) {
        if (range.node >= 0) nodes_[static_cast<std::size_t>(range.node)].value = entries[at].second;
        ++at;
      }
      if (range.node >= 0)
        nodes_[static_cast<std::size_t>(range.node)].firstChild = static_cast<std::int32_t>(nodes_.size());
      while (at < range.end) {
        const char byte = entries[at].first[range.depth];
        std::size_t end = at;
        while (end < range.end && entries[end].first[range.depth] == byte) ++end;
        const auto node = static_cast<std::int32_t>(nodes_.size());
        nodes_.push_back({0, -1, 0, static_cast<std::uint8_t>(byte)});
        if (range.node >= 0)
          ++nodes_[static_cast<std::size_t>(range.node)].children;
        else
          roots_[static_cast<unsigned char>(byte)] = node;
        next.push_back({at, end, range.depth + 1, node});
        at = end;
      }
    }
    level.swap(next);
  }
}

std::int32_t ByteTrie::child(std::int32_t node, unsigned char byte) const {
  const Node& parent = nodes_[static_cast<std::size_t>(node)];
  const auto begin = nodes_.begin() + parent.firstChild, end = begin + parent.children;
  const auto found = std::lower_bound(
      begin, end, byte, [](const Node& candidate, unsigned char b) { return candidate.byte < b; });
  return found != end && found->byte == byte ? static_cast<std::int32_t>(found - nodes_.begin()) : -1;
}

}  // namespace decoscope
