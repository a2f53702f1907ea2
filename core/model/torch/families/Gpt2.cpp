// GPT-2 (Radford et al. 2019).
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family gpt2Family() {
  return {{"gpt2"},
          {"gpt2"},
          [](const ConfigReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.layers = reader.layers("n_layer");
            c.width = reader.integer("n_embd");
            c.heads = c.keyValueHeads = reader.integer("n_head");
            c.headSize = c.heads > 0 ? c.width / c.heads : 0;
            c.inner = reader.integer("n_inner", 4 * c.width);
            c.vocabulary = reader.integer("vocab_size");
            c.context = reader.integer(reader.has("n_positions") ? "n_positions" : "n_ctx", 1024);
            readActivation(reader, "activation_function", "gelu_new", c);
            c.norm = NormKind::layer;
            c.normEpsilon = static_cast<float>(reader.real("layer_norm_epsilon", 1e-5));
            c.tied = reader.boolean("tie_word_embeddings", true);
            c.gated = false;
            c.learnedPositions = true;
            c.fused = FusedOrder::parts;
            c.transposed = true;
            if (!reader.boolean("scale_attn_weights", true)) c.attentionScale = 1;
            refuse(reader, "scale_attn_by_inverse_layer_idx",
                   reader.boolean("scale_attn_by_inverse_layer_idx", false),
                   "attention scaled by the layer's number is");
            TensorNames& names = architecture.names;
            names.embedding = "transformer.wte.weight";
            names.positions = "transformer.wpe.weight";
            names.finalNorm = "transformer.ln_f.weight";
            names.head = "lm_head.weight";
            names.attentionNorm = "transformer.h.{}.ln_1.weight";
            names.queryKeyValue = "transformer.h.{}.attn.c_attn.weight";
            names.output = "transformer.h.{}.attn.c_proj.weight";
            names.mlpNorm = "transformer.h.{}.ln_2.weight";
            names.up = "transformer.h.{}.mlp.c_fc.weight";
            names.down = "transformer.h.{}.mlp.c_proj.weight";
          },
          [](const GgufReader&, Architecture& architecture) {
            architecture.config.activation = Activation::geluTanh;
            architecture.config.learnedPositions = true;
          }};
}

}  // namespace decoscope
