#include "core/model/torch/Interventions.h"

namespace decoscope {

using at::Tensor;

void changeResidual(const ForwardRequest& request, int layer, Tensor& x) {
  for (const Intervention& change : request.interventions) {
    if (change.site != Intervention::Site::residual || change.layer != layer) continue;
    Tensor rows = change.row < 0 ? x : x.narrow(0, change.row, 1);
    if (change.kind == Intervention::Kind::scale) {
      rows.mul_(change.vector.front());
      continue;
    }
    const Tensor vector = at::tensor(change.vector).to(x.device());
    if (change.kind == Intervention::Kind::add) {
      rows.add_(vector);
    } else if (change.kind == Intervention::Kind::replace) {
      rows.copy_(vector.expand_as(rows));
    } else {
      const Tensor direction = vector / vector.norm();
      const Tensor present = at::matmul(rows, direction).unsqueeze(1);
      rows.add_((change.value - present) * direction);
    }
  }
}

void changeNeurons(const ForwardRequest& request, int layer, Tensor& neurons) {
  for (const Intervention& change : request.interventions) {
    if (change.site != Intervention::Site::neuron || change.layer != layer) continue;
    Tensor values = neurons.select(1, change.neuron);
    if (change.row >= 0) values = values.narrow(0, change.row, 1);
    if (change.kind == Intervention::Kind::add)
      values.add_(change.value);
    else if (change.kind == Intervention::Kind::scale)
      values.mul_(change.value);
    else
      values.fill_(change.value);
  }
}

}  // namespace decoscope
