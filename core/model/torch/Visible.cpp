#include "core/model/torch/Visible.h"

#include <numeric>

namespace decoscope {

Visible::Visible(const ForwardRequest& request, std::int64_t base)
    : base_(base),
      rows_(static_cast<std::int64_t>(request.tokens.size())),
      everything_(request.visibility != Visibility::causal) {
  for (std::size_t i = 0; i < request.parents.size(); ++i)
    chain_ &= request.parents[i] == static_cast<std::int32_t>(i) - 1;
  if (everything_ || chain_) return;
  slots_.resize(request.parents.size());
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::int32_t parent = request.parents[i];
    if (parent >= 0)
      slots_[i] = slots_[static_cast<std::size_t>(parent)];
    else {
      slots_[i].resize(static_cast<std::size_t>(base_));
      std::iota(slots_[i].begin(), slots_[i].end(), 0);
    }
    slots_[i].push_back(static_cast<std::int32_t>(base_ + static_cast<std::int64_t>(i)));
  }
}

std::size_t Visible::count(std::int64_t row) const {
  if (!slots_.empty()) return slots_[static_cast<std::size_t>(row)].size();
  return static_cast<std::size_t>(everything_ ? total() : base_ + row + 1);
}

const std::int32_t* Visible::slots(std::int64_t row) const {
  return slots_.empty() ? nullptr : slots_[static_cast<std::size_t>(row)].data();
}

Visible Visible::within(int window, std::span<const std::int32_t> positions) const {
  Visible near = *this;
  near.everything_ = near.chain_ = false;
  near.slots_.assign(static_cast<std::size_t>(rows_), {});
  for (std::int64_t row = 0; row < rows_; ++row) {
    const std::int32_t oldest = positions[static_cast<std::size_t>(base_ + row)] - window;
    const std::int32_t* seen = slots(row);
    for (std::size_t i = 0; i < count(row); ++i) {
      const std::int32_t slot = seen ? seen[i] : static_cast<std::int32_t>(i);
      if (positions[static_cast<std::size_t>(slot)] > oldest)
        near.slots_[static_cast<std::size_t>(row)].push_back(slot);
    }
  }
  return near;
}

}  // namespace decoscope
