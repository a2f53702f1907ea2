#include "core/train/nets/TargetEnds.h"

#include "core/model/weights/WeightFile.h"

namespace decoscope::train {

namespace {

Result<at::Tensor> valuesOf(const WeightFile& weights, const std::string& name) {
  const WeightTensor* tensor = weights.find(name);
  if (!tensor) return fail(ErrorCode::badInput, "tensor '" + name + "' is missing", weights.path());
  at::Tensor value = at::empty(tensor->shape, at::kFloat);
  DECOSCOPE_TRY(dequantise(*tensor, 0, {value.data_ptr<float>(), static_cast<std::size_t>(value.numel())}));
  return value;
}

}  // namespace

Result<TargetEnds> TargetEnds::read(const std::string& path) {
  DECOSCOPE_ASSIGN(const auto weights, openWeights(path));
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(*weights, path));
  TargetEnds ends;
  ends.config = architecture.config;
  DECOSCOPE_ASSIGN(ends.embedding, valuesOf(*weights, architecture.names.embedding));
  ends.head = ends.embedding;
  if (!ends.config.tied) {
    DECOSCOPE_ASSIGN(ends.head, valuesOf(*weights, architecture.names.head));
  }
  return ends;
}

}  // namespace decoscope::train
