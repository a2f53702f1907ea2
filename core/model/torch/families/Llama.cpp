// Llama 1 to 3.x (Touvron et al. 2023; Dubey et al. 2024) and the many checkpoints of its layout.
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family llamaFamily() {
  return {{"llama"}, {"llama"}, readLlama, [](const GgufReader&, Architecture& architecture) {
            architecture.config.rotaryInterleaved = true;
          }};
}

}  // namespace decoscope
