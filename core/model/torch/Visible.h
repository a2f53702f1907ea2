// What each row of a forward may see: cache slots, built once and used by every layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/Model.h"

namespace decoscope {

class Visible {
 public:
  // Rows one after the other that share a list of slots, of which each sees the first ones.
  struct Strand {
    std::int64_t first = 0, rows = 0;
  };

  // `base` slots stand before the request's own; `predecessors` of every slot, read where the request says
  // what it follows.
  Visible(const ForwardRequest& request, std::int64_t base, std::span<const std::int32_t> predecessors);
  // Only the slots whose position is nearer than `window` to the row's own; by position and not by slot,
  // because a tree's slots skip. `positions` of every slot.
  Visible within(int window, std::span<const std::int32_t> positions) const;

  std::int64_t rows() const { return rows_; }
  std::int64_t base() const { return base_; }
  std::int64_t total() const { return base_ + rows_; }
  bool everything() const { return everything_; }
  // Of all rows, in their order.
  std::span<const Strand> strands() const { return strands_; }
  // How many slots the row sees; the first `count` ones where slots() is null.
  std::size_t count(std::int64_t row) const;
  std::size_t longest() const;                        // the largest count
  const std::int32_t* slots(std::int64_t row) const;  // ascending; null: 0 … count − 1

 private:
  Visible() = default;

  std::int64_t base_ = 0, rows_ = 0;
  bool everything_ = false;
  std::vector<Strand> strands_;
  // Of each strand, and of each row; empty where every row sees the first slots.
  std::vector<std::vector<std::int32_t>> lists_;
  std::vector<std::size_t> strandOf_, counts_;
};

}  // namespace decoscope
