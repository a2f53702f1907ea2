#include "core/model/torch/Memory.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "core/model/torch/Devices.h"

namespace decoscope {

namespace {

constexpr std::int64_t kCountedContext = 4096;

std::string gigabytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

double bytesPerWeight(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return 4;
    case Precision::bf16:
    case Precision::f16:
      return 2;
    case Precision::q8:
      return 1 + 2.0 / 32;
    case Precision::q4:
      return 0.5 + 4.0 / 32;
  }
  return 4;
}

}  // namespace

MemoryEstimate estimateMemory(const ModelInfo& info, Precision precision) {
  MemoryEstimate estimate;
  estimate.weights =
      static_cast<std::int64_t>(static_cast<double>(info.parameters) * bytesPerWeight(precision));
  const std::int64_t headSize = info.heads > 0 ? info.width / info.heads : 0;
  estimate.cache = 2 * 4 * std::min<std::int64_t>(kCountedContext, info.contextLength) * info.layers *
                   info.keyValueHeads * headSize;
  return estimate;
}

Status checkMemory(const ModelInfo& info, Precision precision, const std::vector<at::Device>& devices,
                   WeightsAre weights) {
  MemoryEstimate estimate = estimateMemory(info, precision);
  if (weights == WeightsAre::shared) estimate.weights = 0;
  std::int64_t available = 0;
  for (const at::Device device : devices) {
    const std::int64_t free = freeMemory(device);
    if (free < 0) return {};
    available += free;
  }
  if (estimate.total() <= available) return {};
  std::string smaller;
  for (const Precision other : {Precision::bf16, Precision::q8, Precision::q4})
    if (const auto need = estimateMemory(info, other).total(); need <= available && need < estimate.total())
      smaller += (smaller.empty() ? "Try --dtype " : ", ") + std::string(kernels::weightFormatName(other)) +
                 " (" + gigabytes(need) + ")";
  return fail(ErrorCode::failed,
              "the model needs about " + gigabytes(estimate.total()) + " in " +
                  kernels::weightFormatName(precision) + " (" + gigabytes(estimate.weights) +
                  " of weights, " + gigabytes(estimate.cache) + " of cache) and " + gigabytes(available) +
                  " are free",
              info.path, smaller.empty() ? "Close other programs or use a smaller model." : smaller + ".");
}

std::vector<int> splitBlocks(const SplitNeeds& needs, const std::vector<std::int64_t>& free) {
  constexpr double kUsed = 0.92;  // the rest is for what a forward allocates
  std::vector<int> counts(free.size(), 0);
  int left = needs.blocks;
  for (std::size_t i = 0; i < free.size() && left > 0; ++i) {
    auto room = static_cast<std::int64_t>(kUsed * static_cast<double>(free[i])) - (i == 0 ? needs.first : 0);
    const bool all = free[i] < 0 || room >= left * needs.block + needs.last || i + 1 == free.size();
    // What stands beside the last block must find room there: a block is left for the next device.
    const std::int64_t fits = needs.block > 0 ? std::max<std::int64_t>(room, 0) / needs.block : left;
    counts[i] = all ? left : static_cast<int>(std::clamp<std::int64_t>(fits, i == 0 ? 1 : 0, left - 1));
    left -= counts[i];
  }
  return counts;
}

std::vector<at::Device> placeBlocks(const ModelInfo& info, const TransformerConfig& config,
                                    Precision precision, const std::vector<at::Device>& devices) {
  std::vector<at::Device> blocks(static_cast<std::size_t>(std::max(config.layers, 1)), devices.front());
  if (devices.size() == 1) return blocks;
  const MemoryEstimate estimate = estimateMemory(info, precision);
  const auto ends = static_cast<std::int64_t>(static_cast<double>(info.vocabularySize) * info.width *
                                              bytesPerWeight(precision));
  SplitNeeds needs;
  needs.blocks = static_cast<int>(blocks.size());
  needs.first = needs.last = ends;
  needs.block = std::max<std::int64_t>(estimate.total() - (config.tied ? 1 : 2) * ends, 0) / needs.blocks;
  std::vector<std::int64_t> free;
  for (const at::Device device : devices) free.push_back(freeMemory(device));
  std::size_t next = 0;
  const std::vector<int> counts = splitBlocks(needs, free);
  for (std::size_t i = 0; i < counts.size(); ++i)
    for (int k = 0; k < counts[i]; ++k) blocks[next++] = devices[i];
  return blocks;
}

}  // namespace decoscope
