// Falcon 7B, 40B, 180B and 11B (Almazrouei et al. 2023). Those that rotate; the first ones with ALiBi are
// refused.
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family falconFamily() {
  return {{"falcon", "RefinedWeb", "RefinedWebModel"},
          {"falcon"},
          [](const ConfigReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.layers = reader.layers(reader.has("num_hidden_layers") ? "num_hidden_layers" : "n_layer");
            c.width = reader.integer("hidden_size");
            c.heads = reader.integer(reader.has("num_attention_heads") ? "num_attention_heads" : "n_head");
            const bool fresh = reader.boolean("new_decoder_architecture", false);
            const bool single = reader.boolean("multi_query", true);
            c.keyValueHeads =
                fresh    ? reader.integer(reader.has("num_kv_heads") ? "num_kv_heads" : "n_head_kv", c.heads)
                : single ? 1
                         : c.heads;
            c.headSize = c.heads > 0 ? c.width / c.heads : 0;
            c.inner = reader.integer("ffn_hidden_size", 4 * c.width);
            c.vocabulary = reader.integer("vocab_size");
            c.context = reader.integer("max_position_embeddings", 2048);
            readActivation(reader, "activation", "gelu", c);
            readRope(reader, c);
            c.norm = NormKind::layer;
            c.normEpsilon = static_cast<float>(reader.real("layer_norm_epsilon", 1e-5));
            c.tied = reader.boolean("tie_word_embeddings", true);
            c.gated = false;
            c.fused = FusedOrder::groups;
            refuse(reader, "alibi", reader.boolean("alibi", false), "linear attention biases (ALiBi) are");
            c.parallelResidual = fresh || reader.boolean("parallel_attn", true);
            const bool two = fresh && reader.integer("num_ln_in_parallel_attn", 2) == 2;
            c.sharedInputNorm = c.parallelResidual && !two;
            TensorNames& names = architecture.names;
            names.embedding = "transformer.word_embeddings.weight";
            names.finalNorm = "transformer.ln_f.weight";
            names.head = "lm_head.weight";
            names.attentionNorm =
                two ? "transformer.h.{}.ln_attn.weight" : "transformer.h.{}.input_layernorm.weight";
            names.queryKeyValue = "transformer.h.{}.self_attention.query_key_value.weight";
            names.output = "transformer.h.{}.self_attention.dense.weight";
            names.mlpNorm =
                two ? "transformer.h.{}.ln_mlp.weight" : "transformer.h.{}.post_attention_layernorm.weight";
            names.up = "transformer.h.{}.mlp.dense_h_to_4h.weight";
            names.down = "transformer.h.{}.mlp.dense_4h_to_h.weight";
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.activation = Activation::gelu;
            c.parallelResidual = true;
            // attn_norm_2 is the norm of the attention where there are two; attn_norm then is the MLP's.
            if (reader.hasTensor("blk.0.attn_norm_2.weight")) {
              architecture.names.mlpNorm = "blk.{}.attn_norm.weight";
              architecture.names.attentionNorm = "blk.{}.attn_norm_2.weight";
            } else {
              c.sharedInputNorm = true;
            }
          }};
}

}  // namespace decoscope
