#include "core/model/torch/LoadedWeights.h"

namespace decoscope {

LoadOnce<WeightsKey, LoadedWeights>& loadedWeights() {
  static LoadOnce<WeightsKey, LoadedWeights> registry;
  return registry;
}

}  // namespace decoscope
