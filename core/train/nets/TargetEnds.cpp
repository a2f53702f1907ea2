#include "core/train/nets/TargetEnds.h"

#include "core/train/nets/StoredTensor.h"

namespace decoscope::train {

namespace {

Result<at::Tensor> valuesOf(const WeightFile& weights, const std::string& name, at::Device device) {
  const WeightTensor* tensor = weights.find(name);
  if (!tensor) return fail(ErrorCode::badInput, "tensor '" + name + "' is missing", weights.path());
  DECOSCOPE_ASSIGN(const at::Tensor values, hostValuesOf(*tensor));
  return values.to(device);
}

}  // namespace

Result<TargetEnds> TargetEnds::read(const std::string& path, at::Device device) {
  DECOSCOPE_ASSIGN(const auto weights, openWeights(path));
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(*weights, path));
  TargetEnds ends;
  ends.config = architecture.config;
  DECOSCOPE_ASSIGN(ends.embedding, valuesOf(*weights, architecture.names.embedding, device));
  ends.head = ends.embedding;
  if (!ends.config.tied) {
    DECOSCOPE_ASSIGN(ends.head, valuesOf(*weights, architecture.names.head, device));
  }
  return ends;
}

}  // namespace decoscope::train
