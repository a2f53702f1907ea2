// The operations of a forward. Two implementations: this project's kernels on the CPU, whose rows are
// bit-identical whatever else is in the call, and plain libtorch on any device.
//
// All buffers are f32 [rows, width]; views of whole rows are contiguous unless said otherwise. One thread.
#pragma once

#include <memory>

#include "core/model/torch/Frame.h"
#include "core/model/torch/Layers.h"
#include "core/model/torch/kernels/Workers.h"

namespace decoscope {

class Arithmetic {
 public:
  virtual ~Arithmetic() = default;
  // Whether matrices are packed for the kernels.
  virtual bool packs() const = 0;
  // Before the first operation of a forward, whose rows the frame describes; it outlives the forward.
  virtual void begin(const Frame& frame) = 0;

  // The rows' tokens and positions, [rows] int64.
  virtual at::Tensor tokens(at::Device device) = 0;
  virtual at::Tensor positions(at::Device device) = 0;

  virtual void linear(const Linear& layer, const at::Tensor& x, at::Tensor& out) = 0;
  virtual void add(const at::Tensor& y, float factor, at::Tensor& x) = 0;  // x += factor · y
  virtual void norm(const Norm& norm, const at::Tensor& x, at::Tensor& out) = 0;
  // Norms each of `count` parts of `size` values from column `first` of every row by itself, in place; part i
  // by its own weights [i · size …) if `own`.
  virtual void normParts(const Norm& norm, at::Tensor& buffer, std::int64_t first, std::int64_t count,
                         std::int64_t size, bool own) = 0;
  // Turns the first `heads` parts of every row by the angles of its position, half-split, in place.
  virtual void rotate(at::Tensor& buffer, std::int64_t heads, std::int64_t headSize, RotaryTable& table) = 0;
  // Puts keys and values of `queryKeyValue` into the rows' slots of the cache.
  virtual void store(const TransformerConfig& config, KeyValueCache& cache,
                     const at::Tensor& queryKeyValue) = 0;
  // `near`: the layer slides. `weights` (may be null) receives the probabilities [heads, rows, total].
  virtual void attend(const TransformerConfig& config, const Block& block, const KeyValueCache& cache,
                      const at::Tensor& queryKeyValue, bool near, at::Tensor& out,
                      std::vector<float>* weights) = 0;
  // in: [rows, 2 · width], gate then up, or [rows, width] where not gated.
  virtual void activate(Activation activation, bool gated, const at::Tensor& in, at::Tensor& out) = 0;
};

std::unique_ptr<Arithmetic> makeKernelArithmetic(std::shared_ptr<kernels::Workers> workers);

// Plain libtorch operations. Nothing of a forward but its frame comes from the host, so that a device can
// capture the operations and play them again for another frame.
class TensorArithmetic : public Arithmetic {
 public:
  // In place of begin(frame): the rows are those of a frame in the memory of the only device; it outlives the
  // forward.
  virtual void beginOn(const DeviceFrame& frame) = 0;
};
std::unique_ptr<TensorArithmetic> makeTensorArithmetic();

}  // namespace decoscope
