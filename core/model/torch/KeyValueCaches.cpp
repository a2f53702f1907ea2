#include "core/model/torch/KeyValueCaches.h"

#include <algorithm>

namespace decoscope {

using at::Tensor;

namespace {

constexpr std::int64_t kFirstCapacity = 512;  // slots of a new cache

}  // namespace

KeyValueCaches::KeyValueCaches(std::vector<at::Device> devices, std::int64_t width, std::int64_t context)
    : devices_(std::move(devices)), caches_(devices_.size()), width_(width), context_(context) {}

std::int64_t KeyValueCaches::bytes() const {
  return 2 * capacity_ * width_ * static_cast<std::int64_t>(caches_.size() * sizeof(float));
}

bool KeyValueCaches::reserve(std::int64_t slots, std::int64_t used) {
  if (slots <= capacity_) return false;
  auto capacity = std::max({slots, kFirstCapacity, capacity_ * 2});
  // One text needs no more than the context; only several do.
  if (slots <= context_) capacity = std::min<std::int64_t>(capacity, context_);
  for (std::size_t i = 0; i < caches_.size(); ++i)
    for (Tensor* tensor : {&caches_[i].keys, &caches_[i].values}) {
      const auto options = at::TensorOptions(at::kFloat).device(devices_[i]);
      // What a mask hides is multiplied by nothing, which must be a number for that.
      Tensor grown = devices_[i].is_cpu() ? at::empty({capacity, width_}, options)
                                          : at::zeros({capacity, width_}, options);
      if (used > 0) grown.narrow(0, 0, used).copy_(tensor->narrow(0, 0, used));
      *tensor = grown;
    }
  capacity_ = capacity;  // last: should memory run out half way, the next call starts again
  return true;
}

void KeyValueCaches::move(std::int64_t first, std::span<const std::int32_t> slots,
                          kernels::Workers& workers) {
  const c10::InferenceMode guard;
  std::vector<Tensor*> tensors;
  for (KeyValueCache& cache : caches_) tensors.insert(tensors.end(), {&cache.keys, &cache.values});
  if (!devices_.front().is_cpu()) {
    const Tensor host = at::tensor(std::vector<std::int64_t>(slots.begin(), slots.end()));
    Tensor indices;
    for (Tensor* tensor : tensors) {
      if (!indices.defined() || indices.device() != tensor->device()) indices = host.to(tensor->device());
      tensor->narrow(0, first, indices.size(0)).copy_(tensor->index_select(0, indices));
    }
    return;
  }
  struct Run {
    std::int64_t from, to, length;
  };
  std::vector<Run> runs;  // of slots that stand side by side
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (i > 0 && slots[i] == slots[i - 1] + 1)
      ++runs.back().length;
    else
      runs.push_back({slots[i], first + static_cast<std::int64_t>(i), 1});
  workers.forPieces(static_cast<std::int64_t>(tensors.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* data = tensors[static_cast<std::size_t>(i)]->data_ptr<float>();
      // A slot never moves down, so ascending order overwrites nothing that is still needed.
      for (const Run& run : runs)
        std::copy(data + run.from * width_, data + (run.from + run.length) * width_, data + run.to * width_);
    }
  });
}

}  // namespace decoscope
