// Phi-1.5 and 2 (Li et al. 2023), Phi-3, 3.5 and 4 (Abdin et al. 2024).
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family phiFamily() {
  return {{"phi"},
          {"phi2"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            readActivation(reader, "hidden_act", "gelu_new", c);
            readRope(reader, c, 10000, 0.5);
            c.norm = c.headNormKind = NormKind::layer;
            c.normEpsilon = static_cast<float>(reader.real("layer_norm_eps", 1e-5));
            c.parallelResidual = c.sharedInputNorm = true;
            c.gated = false;
            TensorNames& names = architecture.names;
            names.finalNorm = "model.final_layernorm.weight";
            names.mlpNorm.clear();
            names.output = "model.layers.{}.self_attn.dense.weight";
            names.gate.clear();
            names.up = "model.layers.{}.mlp.fc1.weight";
            names.down = "model.layers.{}.mlp.fc2.weight";
            if (reader.boolean("qk_layernorm", false)) {
              c.headNorm = HeadNorm::perHead;
              names.queryNorm = "model.layers.{}.self_attn.q_layernorm.weight";
              names.keyNorm = "model.layers.{}.self_attn.k_layernorm.weight";
            }
          },
          [](const GgufReader&, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.activation = Activation::geluTanh;
            c.parallelResidual = c.sharedInputNorm = true;
          }};
}

Family phi3Family() {
  return {{"phi3"},
          {"phi3"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            readWindow(reader, c, 0, nullptr);
            c.fused = FusedOrder::parts;
            c.fusedGateUp = true;
            architecture.names.queryKeyValue = "model.layers.{}.self_attn.qkv_proj.weight";
            architecture.names.gateUp = "model.layers.{}.mlp.gate_up_proj.weight";
          },
          nullptr};
}

}  // namespace decoscope
