// The buffers that a forward passes through, kept from one to the next. Internal to the libtorch backend.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "core/model/torch/Architecture.h"

namespace decoscope {

// f32 [rows, …] on one device.
struct Workspace {
  at::Device device = at::kCPU;
  std::int64_t rows = 0;
  at::Tensor x;                        // the stream, [rows, width]
  at::Tensor normed;                   // what a branch reads, [rows, width]
  at::Tensor queryKeyValue, attended;  // of all heads
  at::Tensor projected;                // what a branch gives, [rows, width]
  at::Tensor mlpIn, neurons;
  Workspace part(std::int64_t count) const;  // the first rows of each
};

// One for each device that blocks run on.
class Workspaces {
 public:
  Workspaces(const TransformerConfig& config, std::vector<at::Device> devices);
  // Makes room for so many rows. True where the buffers are others than before.
  bool reserve(std::int64_t rows);
  const Workspace& on(at::Device device) const;

 private:
  const TransformerConfig& config_;
  std::vector<at::Device> devices_;
  std::vector<Workspace> all_;
};

}  // namespace decoscope
