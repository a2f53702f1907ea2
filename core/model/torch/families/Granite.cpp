// Granite 3, dense (IBM 2024): Llama with four multipliers.
#include <algorithm>

#include "core/model/torch/families/Families.h"

namespace decoscope {

Family graniteFamily() {
  return {{"granite"},
          {"granite"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            c.embeddingScale = static_cast<float>(reader.real("embedding_multiplier", 1));
            c.attentionScale = static_cast<float>(reader.real("attention_multiplier", 1));
            c.residualScale = static_cast<float>(reader.real("residual_multiplier", 1));
            c.logitScale = static_cast<float>(1 / reader.real("logits_scaling", 1));
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.rotaryInterleaved = true;
            if (!reader.boolean("rope.scaling.finetuned", true))  // models without positions
              c.rotary.assign(static_cast<std::size_t>(std::min(c.layers, 4096)), false);
            c.embeddingScale = static_cast<float>(reader.real("embedding_scale", 1));
            c.attentionScale = static_cast<float>(reader.real("attention.scale", 0));
            c.residualScale = static_cast<float>(reader.real("residual_scale", 1));
            c.logitScale = static_cast<float>(1 / reader.real("logit_scale", 1));
          }};
}

}  // namespace decoscope
