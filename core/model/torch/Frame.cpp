#include "core/model/torch/Frame.h"

#include <algorithm>
#include <cmath>

namespace decoscope {

using at::Tensor;

namespace {

// `values` and then zeros, [size].
template <typename Values>
Tensor padded(const Values& values, std::int64_t size) {
  Tensor numbers = at::zeros({size}, at::kLong);
  std::copy(values.begin(), values.end(), numbers.data_ptr<std::int64_t>());
  return numbers;
}

Tensor maskOf(const Visible& visible, std::int64_t rows, std::int64_t total) {
  Tensor mask = at::full({rows, total}, -INFINITY, at::kFloat);
  for (std::int64_t row = 0; row < rows; ++row) {
    float* values = mask.data_ptr<float>() + row * total;
    if (row >= visible.rows()) {
      values[visible.base() + row] = 0;
      continue;
    }
    const std::int32_t* slots = visible.slots(row);
    for (std::size_t i = 0; i < visible.count(row); ++i)
      values[slots ? static_cast<std::size_t>(slots[i]) : i] = 0;
  }
  return mask;
}

bool seesAll(const Visible& visible) {
  for (std::int64_t row = 0; row < visible.rows(); ++row)
    if (visible.count(row) != static_cast<std::size_t>(visible.total())) return false;
  return true;
}

struct HostFrame {
  Tensor tokens, positions, slots;
  HostFrame(const Frame& frame, std::int64_t rows)
      : tokens(padded(frame.tokens, rows)),
        positions(padded(frame.positions, rows)),
        slots(at::arange(frame.base, frame.base + rows, at::kLong)) {}
};

}  // namespace

DeviceFrame::DeviceFrame(const Frame& frame, std::int64_t rows, std::int64_t total, bool masked,
                         at::Device device)
    : rows_(rows), total_(total) {
  const HostFrame host(frame, rows);
  tokens_ = host.tokens.to(device);
  positions_ = host.positions.to(device);
  slots_ = host.slots.to(device);
  if (masked || !seesAll(frame.visible)) mask_ = maskOf(frame.visible, rows, total).to(device);
  if (frame.near && (masked || !seesAll(*frame.near)))
    nearMask_ = maskOf(*frame.near, rows, total).to(device);
}

void DeviceFrame::refill(const Frame& frame) {
  const HostFrame host(frame, rows_);
  tokens_.copy_(host.tokens);
  positions_.copy_(host.positions);
  slots_.copy_(host.slots);
  if (mask_.defined()) mask_.copy_(maskOf(frame.visible, rows_, total_));
  if (nearMask_.defined()) nearMask_.copy_(maskOf(*frame.near, rows_, total_));
}

}  // namespace decoscope
