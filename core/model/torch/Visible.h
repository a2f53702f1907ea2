// What each row of a forward may see: cache slots, built once and used by every layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/Model.h"

namespace decoscope {

class Visible {
 public:
  // `cached` slots stand before the request's own.
  Visible(const ForwardRequest& request, std::int64_t base);
  // Only the slots whose position is nearer than `window` to the row's own; by position and not by slot,
  // because a tree's slots skip. `positions` of every slot.
  Visible within(int window, std::span<const std::int32_t> positions) const;

  std::int64_t rows() const { return rows_; }
  std::int64_t base() const { return base_; }
  std::int64_t total() const { return base_ + rows_; }
  bool everything() const { return everything_; }
  // How many slots the row sees; the first `count` ones where slots() is null.
  std::size_t count(std::int64_t row) const;
  const std::int32_t* slots(std::int64_t row) const;  // ascending; null: 0 … count − 1

 private:
  std::int64_t base_, rows_;
  bool chain_ = true, everything_;
  std::vector<std::vector<std::int32_t>> slots_;
};

}  // namespace decoscope
