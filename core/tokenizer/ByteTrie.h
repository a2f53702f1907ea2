// A set of strings with values, walked byte by byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace decoscope {

// Immutable once built. Memory: 12 bytes for each byte of the strings at most.
class ByteTrie {
 public:
  // Where a string stands twice, the last value counts. Empty strings are left out.
  explicit ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries = {});

  // Calls visit(length, value) for every entry that `text` begins with, shortest first.
  template <typename Visit>
  void prefixes(std::string_view text, Visit&& visit) const {
    if (text.empty()) return;
    std::int32_t node = roots_[static_cast<unsigned char>(text[0])];
    for (std::size_t length = 1; node >= 0; ++length) {
      if (nodes_[static_cast<std::size_t>(node)].value >= 0)
        visit(length, nodes_[static_cast<std::size_t>(node)].value);
      if (length == text.size()) return;
      node = child(node, static_cast<unsigned char>(text[length]));
    }
  }
  bool mayStartWith(char byte) const { return roots_[static_cast<unsigned char>(byte)] >= 0; }

 private:
  struct Node {
    std::int32_t firstChild = 0;
    std::int32_t value = -1;
    std::uint16_t children = 0;
    std::uint8_t byte = 0;
  };
  std::int32_t child(std::int32_t node, unsigned char byte) const;
  std::vector<Node> nodes_;
  std::array<std::int32_t, 256> roots_;
};

}  // namespace decoscope
