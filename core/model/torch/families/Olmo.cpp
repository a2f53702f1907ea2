// OLMo (Groeneveld et al. 2024), OLMo 2 and OLMo 3 (OLMo Team 2025) and OLMoE (Muennighoff et al. 2024).
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

void nameWholeNorms(Architecture& architecture) {
  architecture.config.headNorm = HeadNorm::whole;
  architecture.names.queryNorm = "model.layers.{}.self_attn.q_norm.weight";
  architecture.names.keyNorm = "model.layers.{}.self_attn.k_norm.weight";
}

void readOlmo2(const ConfigReader& reader, Architecture& architecture) {
  readLlama(reader, architecture);
  TransformerConfig& c = architecture.config;
  c.normEpsilon = static_cast<float>(reader.real("rms_norm_eps", 1e-5));
  c.normBeforeAttention = c.normBeforeMlp = false;
  c.normAfterAttention = c.normAfterMlp = true;
  nameWholeNorms(architecture);
  TensorNames& names = architecture.names;
  names.attentionNorm.clear();
  names.mlpNorm.clear();
  names.postAttentionNorm = "model.layers.{}.post_attention_layernorm.weight";
  names.postMlpNorm = "model.layers.{}.post_feedforward_layernorm.weight";
}

}  // namespace

Family olmoFamily() {
  return {{"olmo"},
          {"olmo"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            c.norm = NormKind::layer;
            c.normEpsilon = 1e-5f;
            c.normsWithoutWeights = true;
            c.clip = static_cast<float>(reader.real("clip_qkv", 0));
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.norm = NormKind::layer;
            c.normsWithoutWeights = true;
            c.rotaryInterleaved = true;
            c.clip = static_cast<float>(reader.real("attention.clamp_kqv", 0));
          }};
}

Family olmo2Family() {
  return {{"olmo2"}, {"olmo2"}, readOlmo2, [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.normBeforeAttention = c.normBeforeMlp = false;
            c.headNorm = HeadNorm::whole;
            if (c.window == 0) return;
            // OLMo 3 calls itself olmo2; its sliding layers rotate without the scaling.
            c.localRope = true;
            c.slidingRope = {reader.real("rope.freq_base_swa", c.rope.theta), c.rope.dimensions, {}};
            readWindowPattern(reader, c, 4);
          }};
}

// OLMo 2 whose layers slide, three of four; only the others stretch their rotation.
Family olmo3Family() {
  return {{"olmo3"}, {}, [](const ConfigReader& reader, Architecture& architecture) {
            readOlmo2(reader, architecture);
            TransformerConfig& c = architecture.config;
            c.context = reader.integer("max_position_embeddings", 2048);
            readRope(reader, c, 500000);
            // Older files have one rotation, whose scaling holds where nothing slides.
            if (!c.localRope) {
              c.localRope = true;
              c.slidingRope = {c.rope.theta, c.rope.dimensions, {}};
            }
            readWindow(reader, c, 4096, [](int layer, const ConfigReader&) { return (layer + 1) % 4 != 0; });
            refuse(reader, "sliding_window", c.window == 0, "layers that slide without a window are");
          }};
}

Family olmoeFamily() {
  return {{"olmoe"},
          {"olmoe"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            c.normEpsilon = static_cast<float>(reader.real("rms_norm_eps", 1e-5));
            c.clip = static_cast<float>(reader.real("clip_qkv", 0));
            nameWholeNorms(architecture);
            c.mixture.experts = reader.integer("num_experts", 64);
            c.mixture.perToken = reader.integer("num_experts_per_tok", 8);
            c.mixture.inner = c.inner;
            c.mixture.normalise = reader.boolean("norm_topk_prob", false);
            nameExperts(architecture.names);
          },
          [](const GgufReader&, Architecture& architecture) {
            architecture.config.headNorm = HeadNorm::whole;
            architecture.config.mixture.normalise = false;
          }};
}

}  // namespace decoscope
