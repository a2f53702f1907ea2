// StarCoder 2 (Lozhkov et al. 2024).
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family starCoder2Family() {
  return {{"starcoder2"},
          {"starcoder2"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            readActivation(reader, "hidden_act", "gelu_pytorch_tanh", c);
            readWindow(reader, c, 0, nullptr);
            c.norm = NormKind::layer;
            c.normEpsilon = static_cast<float>(reader.real("norm_epsilon", 1e-5));
            c.tied = reader.boolean("tie_word_embeddings", true);
            c.gated = false;
            TensorNames& names = architecture.names;
            names.gate.clear();
            names.up = "model.layers.{}.mlp.c_fc.weight";
            names.down = "model.layers.{}.mlp.c_proj.weight";
          },
          [](const GgufReader&, Architecture& architecture) {
            architecture.config.activation = Activation::geluTanh;
          }};
}

}  // namespace decoscope
