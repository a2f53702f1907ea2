// Gemma 1, 2 and 3, text (Gemma Team 2024, 2025).
#include <cmath>

#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

constexpr double kLocalTheta = 10000;

void scaleEmbedding(TransformerConfig& config) {
  config.embeddingScale = std::sqrt(static_cast<float>(config.width));
}

void readGemma(const ConfigReader& reader, Architecture& architecture) {
  readLlama(reader, architecture);
  TransformerConfig& c = architecture.config;
  // Early configurations say "gelu" and mean the tanh form, as the published code does.
  c.activation = Activation::geluTanh;
  c.tied = reader.boolean("tie_word_embeddings", true);
  c.normWeightsLessOne = true;
  scaleEmbedding(c);
}

void readPostNorms(const ConfigReader& reader, Architecture& architecture) {
  TransformerConfig& c = architecture.config;
  c.normAfterAttention = c.normAfterMlp = true;
  TensorNames& names = architecture.names;
  names.postAttentionNorm = "model.layers.{}.post_attention_layernorm.weight";
  names.mlpNorm = "model.layers.{}.pre_feedforward_layernorm.weight";
  names.postMlpNorm = "model.layers.{}.post_feedforward_layernorm.weight";
  c.attentionScale = static_cast<float>(1 / std::sqrt(reader.real("query_pre_attn_scalar", c.headSize)));
  c.attentionCap = static_cast<float>(reader.real("attn_logit_softcapping", 0));
  c.logitCap = static_cast<float>(reader.real("final_logit_softcapping", 0));
}

// Published configurations leave out what has its default value.
nlohmann::json withGemma3Defaults(nlohmann::json document) {
  const nlohmann::json defaults = {
      {"num_attention_heads", 8}, {"num_key_value_heads", 4},          {"head_dim", 256},
      {"vocab_size", 262208},     {"max_position_embeddings", 131072}, {"query_pre_attn_scalar", 256},
      {"sliding_window", 4096}};
  for (const auto& [key, value] : defaults.items())
    if (!document.contains(key)) document[key] = value;
  return document;
}

// A GGUF does not say it: the largest models scale queries by the width a head, the others by the head size.
void scaleLargest(TransformerConfig& config, int layersOfLargest) {
  if (config.layers == layersOfLargest)
    config.attentionScale =
        1 / std::sqrt(static_cast<float>(config.width) / static_cast<float>(config.heads));
}

}  // namespace

Family gemmaFamily() {
  return {{"gemma"}, {"gemma"}, readGemma, [](const GgufReader&, Architecture& architecture) {
            architecture.config.activation = Activation::geluTanh;
            scaleEmbedding(architecture.config);
          }};
}

Family gemma2Family() {
  return {{"gemma2"},
          {"gemma2"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readGemma(reader, architecture);
            readPostNorms(reader, architecture);
            if (!reader.mentions("attn_logit_softcapping")) architecture.config.attentionCap = 50;
            if (!reader.mentions("final_logit_softcapping")) architecture.config.logitCap = 30;
            readWindow(reader, architecture.config, 4096,
                       [](int layer, const ConfigReader&) { return layer % 2 == 0; });
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.activation = Activation::geluTanh;
            scaleEmbedding(c);
            scaleLargest(c, 46);
            c.attentionCap = static_cast<float>(reader.real("attn_logit_softcapping", 50));
            c.logitCap = static_cast<float>(reader.real("final_logit_softcapping", 30));
            c.window = reader.integer("attention.sliding_window", 4096);
            readWindowPattern(reader, c, 2);
          }};
}

Family gemma3Family() {
  return {{"gemma3_text", "gemma3"},
          {"gemma3"},
          [](const ConfigReader& outer, Architecture& architecture) {
            const nlohmann::json complete = withGemma3Defaults(outer.document());
            const ConfigReader reader(complete, outer.where());
            readGemma(reader, architecture);
            readPostNorms(reader, architecture);
            TransformerConfig& c = architecture.config;
            c.headNorm = HeadNorm::perHead;
            architecture.names.queryNorm = "model.layers.{}.self_attn.q_norm.weight";
            architecture.names.keyNorm = "model.layers.{}.self_attn.k_norm.weight";
            readWindow(reader, c, 4096, [](int layer, const ConfigReader& config) {
              return (layer + 1) % std::max(1, config.integer("sliding_window_pattern", 6)) != 0;
            });
            if (!c.localRope) {
              if (!reader.has("rope_theta")) c.rope.theta = 1e6;
              c.localRope = true;
              c.slidingRope = {reader.real("rope_local_base_freq", kLocalTheta), c.rope.dimensions, {}};
            }
            if (!reader.status()) outer.report(reader.status().error());
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.activation = Activation::geluTanh;
            scaleEmbedding(c);
            scaleLargest(c, 62);
            c.rope.theta = reader.real("rope.freq_base", 1e6);
            c.localRope = true;
            c.slidingRope = {reader.real("rope.freq_base_swa", kLocalTheta), c.rope.dimensions, {}};
            c.logitCap = static_cast<float>(reader.real("final_logit_softcapping", 0));
            readWindowPattern(reader, c, 6);
          }};
}

}  // namespace decoscope
