#include "core/model/torch/Workspace.h"

#include <algorithm>

namespace decoscope {

using at::Tensor;

namespace {

constexpr std::int64_t kFewestRows = 16;

}  // namespace

Workspace Workspace::part(std::int64_t count) const {
  const auto cut = [count](const Tensor& tensor) { return tensor.narrow(0, 0, count); };
  return {device,        count,          cut(x),     cut(normed), cut(queryKeyValue),
          cut(attended), cut(projected), cut(mlpIn), cut(neurons)};
}

Workspaces::Workspaces(const TransformerConfig& config, std::vector<at::Device> devices)
    : config_(config), devices_(std::move(devices)) {
  devices_.erase(std::unique(devices_.begin(), devices_.end()), devices_.end());
}

bool Workspaces::reserve(std::int64_t rows) {
  if (!all_.empty() && all_.front().rows >= rows) return false;
  const std::int64_t query = static_cast<std::int64_t>(config_.heads) * config_.headSize,
                     key = static_cast<std::int64_t>(config_.keyValueHeads) * config_.headSize,
                     inner = config_.inner;
  std::vector<Workspace> fresh;
  for (const at::Device device : devices_) {
    Workspace work;
    work.device = device;
    work.rows = std::max(rows, kFewestRows);
    const auto make = [&](std::int64_t width) {
      return at::empty({work.rows, width}, at::TensorOptions(at::kFloat).device(device));
    };
    work.x = make(config_.width);
    work.normed = make(config_.width);
    work.queryKeyValue = make(query + 2 * key);
    work.attended = make(query);
    work.projected = make(config_.width);
    work.mlpIn = make((config_.gated ? 2 : 1) * inner);
    work.neurons = make(inner);
    fresh.push_back(std::move(work));
  }
  all_ = std::move(fresh);
  return true;
}

const Workspace& Workspaces::on(at::Device device) const {
  return *std::find_if(all_.begin(), all_.end(),
                       [&](const Workspace& work) { return work.device == device; });
}

}  // namespace decoscope
