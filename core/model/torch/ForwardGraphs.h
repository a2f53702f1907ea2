// Forwards of few rows as graphs of the device: captured once per shape, then replayed by one call, so that
// the host's time for hundreds of small operations is not paid at each token. Internal to the libtorch
// backend.
#pragma once

#include <ATen/core/GraphImplInterface.h>

#include <functional>
#include <map>
#include <memory>

#include "core/model/torch/Frame.h"

namespace decoscope {

// One thread. Everything that a captured forward touches beside its frame must stay where it is; clear() when
// it does not.
class ForwardGraphs {
 public:
  explicit ForwardGraphs(at::Device device) : device_(device) {}
  // Whether libtorch captures graphs on such a device.
  static bool availableOn(at::Device device);

  // Shapes are rounded up to few, so that drafts of every size share graphs.
  static constexpr std::int64_t kMostRows = 64;
  static std::int64_t roundedRows(std::int64_t rows);    // of 1 … kMostRows
  static std::int64_t roundedTotal(std::int64_t total);  // slots

  // The logits of a forward that adds its keys and values to the cache. The result is overwritten by the next
  // call. The cache must hold slots up to roundedTotal(base + roundedRows(rows)).
  using Forward = std::function<at::Tensor(const DeviceFrame&)>;
  at::Tensor run(const Frame& frame, const Forward& forward);
  void clear();

 private:
  struct Shape {
    std::int64_t rows, total;
    auto operator<=>(const Shape&) const = default;
  };
  struct Captured {
    DeviceFrame frame;
    std::unique_ptr<at::GraphImplInterface> graph;
    at::Tensor logits;
  };
  at::Tensor captured(const Frame& frame, Shape shape, const Forward& forward);

  at::Device device_;
  std::map<Shape, Captured> captured_;
  bool refused_ = false;  // libtorch could not capture the forward: it runs operation by operation
};

}  // namespace decoscope
