// GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023).
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family gptNeoxFamily() {
  return {{"gpt_neox"},
          {"gptneox"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            readActivation(reader, "hidden_act", "gelu", c);
            readRope(reader, c, reader.real("rotary_emb_base", 10000), reader.real("rotary_pct", 0.25));
            c.norm = NormKind::layer;
            c.normEpsilon = static_cast<float>(reader.real("layer_norm_eps", 1e-5));
            c.parallelResidual = reader.boolean("use_parallel_residual", true);
            c.gated = false;
            c.fused = FusedOrder::groups;
            TensorNames& names = architecture.names;
            names.embedding = "gpt_neox.embed_in.weight";
            names.finalNorm = "gpt_neox.final_layer_norm.weight";
            names.head = "embed_out.weight";
            names.attentionNorm = "gpt_neox.layers.{}.input_layernorm.weight";
            names.queryKeyValue = "gpt_neox.layers.{}.attention.query_key_value.weight";
            names.output = "gpt_neox.layers.{}.attention.dense.weight";
            names.mlpNorm = "gpt_neox.layers.{}.post_attention_layernorm.weight";
            names.gate.clear();
            names.up = "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight";
            names.down = "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight";
          },
          [](const GgufReader& reader, Architecture& architecture) {
            architecture.config.activation = Activation::gelu;
            architecture.config.parallelResidual = reader.boolean("use_parallel_residual", true);
          }};
}

}  // namespace decoscope
