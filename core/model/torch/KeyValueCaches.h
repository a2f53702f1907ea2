// Keys and values of every block. Internal to the libtorch backend.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/torch/Layers.h"
#include "core/model/torch/kernels/Workers.h"

namespace decoscope {

class KeyValueCaches {
 public:
  // A block for each device, the one that it runs on; `width` of keys and of values, `context` of the model.
  KeyValueCaches(std::vector<at::Device> devices, std::int64_t width, std::int64_t context);

  KeyValueCache& operator[](int block) { return caches_[static_cast<std::size_t>(block)]; }
  std::int64_t bytes() const;

  // Makes room for so many slots; the first `used` ones keep what they hold. True where everything has moved
  // to other memory. Throws where memory is short; the next call then starts again.
  bool reserve(std::int64_t slots, std::int64_t used);
  // Moves slots, ascending, to `first` and those behind it; none moves down.
  void move(std::int64_t first, std::span<const std::int32_t> slots, kernels::Workers& workers);

 private:
  std::vector<at::Device> devices_;
  std::vector<KeyValueCache> caches_;
  std::int64_t width_, context_, capacity_ = 0;
};

}  // namespace decoscope
