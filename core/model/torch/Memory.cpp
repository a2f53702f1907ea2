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

Status checkMemory(const ModelInfo& info, Precision precision, at::Device device, WeightsAre weights) {
  MemoryEstimate estimate = estimateMemory(info, precision);
  if (weights == WeightsAre::shared) estimate.weights = 0;
  const std::int64_t available = freeMemory(device);
  if (available < 0 || estimate.total() <= available) return {};
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

}  // namespace decoscope
