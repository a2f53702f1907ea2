// The rows of a forward: what each one is, where it is cached and what it sees. Internal to the libtorch
// backend.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/model/Model.h"
#include "core/model/torch/Visible.h"

namespace decoscope {

struct Frame {
  std::span<const TokenId> tokens;  // of the request, which outlives the frame
  std::vector<std::int32_t> positions;
  std::int64_t base = 0;        // cache slot of the first row
  Visible visible;              // what layers see
  std::optional<Visible> near;  // what sliding layers see of it
  std::int64_t rows() const { return static_cast<std::int64_t>(tokens.size()); }
};

// A frame in the memory of a device, as large as it is or larger: rows beyond it are padding, which sees
// itself alone and is cached behind the frame; slots beyond it are seen by none.
class DeviceFrame {
 public:
  DeviceFrame() = default;
  // Masks are left out where every row sees every slot, unless `masked`.
  DeviceFrame(const Frame& frame, std::int64_t rows, std::int64_t total, bool masked, at::Device device);

  // Puts another frame in the place of this one, in the same memory. It must fit.
  void refill(const Frame& frame);

  std::int64_t rows() const { return rows_; }
  std::int64_t total() const { return total_; }               // slots
  const at::Tensor& tokens() const { return tokens_; }        // [rows] int64
  const at::Tensor& positions() const { return positions_; }  // [rows] int64
  const at::Tensor& slots() const { return slots_; }          // [rows] int64
  // Added to scores [rows, total] f32; undefined where nothing is hidden.
  const at::Tensor& mask(bool near) const { return near ? nearMask_ : mask_; }

 private:
  std::int64_t rows_ = 0, total_ = 0;
  at::Tensor tokens_, positions_, slots_, mask_, nearMask_;
};

}  // namespace decoscope
