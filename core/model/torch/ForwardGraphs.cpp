#include "core/model/torch/ForwardGraphs.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <array>
#include <bit>

namespace decoscope {

using at::Tensor;

bool ForwardGraphs::availableOn(at::Device device) {
  return !device.is_cpu() && at::has_graph_impl(device.type());
}

std::int64_t ForwardGraphs::roundedRows(std::int64_t rows) {
  constexpr std::array kSizes = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, static_cast<int>(kMostRows)};
  return *std::lower_bound(kSizes.begin(), kSizes.end(), rows);
}

std::int64_t ForwardGraphs::roundedTotal(std::int64_t total) {
  constexpr std::uint64_t kLeast = 256;
  return static_cast<std::int64_t>(std::bit_ceil(std::max(kLeast, static_cast<std::uint64_t>(total))));
}

void ForwardGraphs::clear() {
  captured_.clear();
}

Tensor ForwardGraphs::run(const Frame& frame, const Forward& forward) {
  const std::int64_t rows = roundedRows(frame.rows());
  const Shape shape{rows, roundedTotal(frame.base + rows)};
  if (refused_) return forward(DeviceFrame(frame, rows, shape.total, true, device_));
  const auto found = captured_.find(shape);
  if (found == captured_.end()) return captured(frame, shape, forward);
  found->second.frame.refill(frame);
  found->second.graph->replay();
  return found->second.logits;
}

// The first forward of a shape runs as it is, on the stream that captures, so that libraries have what they
// allocate at first use before a capture forbids it. Capturing runs nothing.
Tensor ForwardGraphs::captured(const Frame& frame, Shape shape, const Forward& forward) {
  const auto* device = c10::impl::getDeviceGuardImpl(device_.type());
  device->getStream(device_).synchronize();
  const c10::Stream stream = device->getStreamFromGlobalPool(device_);
  const c10::StreamGuard guard(stream);
  Captured fresh{
      DeviceFrame(frame, shape.rows, shape.total, true, device_), at::create_graph_impl(device_.type()), {}};
  const Tensor logits = forward(fresh.frame);
  stream.synchronize();
  try {
    const at::MempoolId_t pool =
        captured_.empty() ? at::MempoolId_t{0, 0} : captured_.begin()->second.graph->pool();
    fresh.graph->capture_begin(pool, at::GraphCaptureMode::ThreadLocal);
    fresh.logits = forward(fresh.frame);
    fresh.graph->capture_end();
    captured_.emplace(shape, std::move(fresh));
  } catch (const std::exception&) {
    refused_ = true;
    captured_.clear();
    try {
      fresh.graph->capture_end();
    } catch (const std::exception&) {
      // The capture is over either way.
    }
  }
  return logits;
}

}  // namespace decoscope
