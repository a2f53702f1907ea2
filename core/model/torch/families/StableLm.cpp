// StableLM 2 and StableLM 3B (Bellagente et al. 2024).
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family stableLmFamily() {
  return {{"stablelm"},
          {"stablelm"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            readRope(reader, c, 10000, 0.25);
            c.norm = c.headNormKind = NormKind::layer;
            c.normEpsilon = static_cast<float>(reader.real("layer_norm_eps", 1e-5));
            c.parallelResidual = c.sharedInputNorm = reader.boolean("use_parallel_residual", false);
            if (reader.boolean("qk_layernorm", false)) {
              c.headNorm = HeadNorm::perHeadOwn;
              architecture.names.queryNorm = "model.layers.{}.self_attn.q_layernorm.norms.{h}.weight";
              architecture.names.keyNorm = "model.layers.{}.self_attn.k_layernorm.norms.{h}.weight";
            }
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.headNormKind = NormKind::layer;
            c.headNorm = c.headNorm == HeadNorm::none ? HeadNorm::none : HeadNorm::perHeadOwn;
            // The key says so of every file whose config.json was silent; the tensors do not lie.
            c.parallelResidual = c.sharedInputNorm = !reader.hasTensor("blk.0.ffn_norm.weight");
          }};
}

}  // namespace decoscope
