#include "core/model/torch/Visible.h"

#include <algorithm>
#include <numeric>

#include "core/model/CacheForest.h"

namespace decoscope {

Visible::Visible(const ForwardRequest& request, std::int64_t base, std::span<const std::int32_t> predecessors)
    : base_(base),
      rows_(static_cast<std::int64_t>(request.tokens.size())),
      everything_(request.visibility != Visibility::causal) {
  const auto rows = request.tokens.size();
  bool plain = request.follows.empty();
  for (std::size_t i = 0; i < rows; ++i) plain &= parentOf(request, i) == static_cast<std::int32_t>(i) - 1;
  if (everything_ || plain) {
    strands_.push_back({0, rows_});
    return;
  }
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int32_t parent = parentOf(request, i);
    // A row right behind its parent goes on with the parent's list.
    if (parent < 0 || parent != static_cast<std::int32_t>(i) - 1) {
      std::vector<std::int32_t> seen;
      if (parent >= 0) {
        const std::int32_t* before = slots(parent);
        seen.assign(before, before + count(parent));
      } else if (request.follows.empty()) {
        seen.resize(static_cast<std::size_t>(base_));
        std::iota(seen.begin(), seen.end(), 0);
      } else {
        for (std::int32_t slot = request.follows[i]; slot >= 0;
             slot = predecessors[static_cast<std::size_t>(slot)])
          seen.push_back(slot);
        std::reverse(seen.begin(), seen.end());
      }
      strands_.push_back({static_cast<std::int64_t>(i), 0});
      lists_.push_back(std::move(seen));
    }
    ++strands_.back().rows;
    lists_.back().push_back(static_cast<std::int32_t>(base_ + static_cast<std::int64_t>(i)));
    strandOf_.push_back(lists_.size() - 1);
    counts_.push_back(lists_.back().size());
  }
}

std::size_t Visible::count(std::int64_t row) const {
  if (!lists_.empty()) return counts_[static_cast<std::size_t>(row)];
  return static_cast<std::size_t>(everything_ ? total() : base_ + row + 1);
}

std::size_t Visible::longest() const {
  return lists_.empty() ? static_cast<std::size_t>(total())
                        : *std::max_element(counts_.begin(), counts_.end());
}

const std::int32_t* Visible::slots(std::int64_t row) const {
  return lists_.empty() ? nullptr : lists_[strandOf_[static_cast<std::size_t>(row)]].data();
}

Visible Visible::within(int window, std::span<const std::int32_t> positions) const {
  Visible near;
  near.base_ = base_;
  near.rows_ = rows_;
  for (std::int64_t row = 0; row < rows_; ++row) {
    const std::int32_t oldest = positions[static_cast<std::size_t>(base_ + row)] - window;
    const std::int32_t* seen = slots(row);
    std::vector<std::int32_t> left;
    for (std::size_t i = 0; i < count(row); ++i) {
      const std::int32_t slot = seen ? seen[i] : static_cast<std::int32_t>(i);
      if (positions[static_cast<std::size_t>(slot)] > oldest) left.push_back(slot);
    }
    near.strands_.push_back({row, 1});
    near.strandOf_.push_back(static_cast<std::size_t>(row));
    near.counts_.push_back(left.size());
    near.lists_.push_back(std::move(left));
  }
  return near;
}

}  // namespace decoscope
