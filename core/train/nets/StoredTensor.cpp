#include "core/train/nets/StoredTensor.h"

namespace decoscope::train {

Result<at::Tensor> hostValuesOf(const WeightTensor& stored) {
  at::Tensor values = at::empty(stored.shape, at::kFloat);
  DECOSCOPE_TRY(dequantise(stored, 0, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}));
  return values;
}

}  // namespace decoscope::train
