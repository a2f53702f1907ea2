// GPT-OSS (OpenAI 2025): experts with clamped gates, sinks in the attention, every second layer with a
// window.
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

void setTraits(TransformerConfig& config) {
  config.activation = Activation::clampedSwish;
  config.sinks = true;
  config.mixture.softmaxOfChosen = true;
}

bool everySecond(int layer, const ConfigReader&) {
  return layer % 2 == 0;
}

}  // namespace

Family gptOssFamily() {
  return {{"gpt_oss"},
          {"gpt-oss"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            setTraits(c);
            readWindow(reader, c, 128, everySecond);
            c.mixture.experts = reader.integer("num_local_experts");
            c.mixture.perToken = reader.integer(reader.has("num_experts_per_tok") ? "num_experts_per_tok"
                                                                                  : "experts_per_token");
            c.mixture.inner = c.inner;
            refuse(reader, "swiglu_limit", reader.real("swiglu_limit", 7) != 7, "other limits than 7 are");
            c.mixture.layout = reader.object("quantization_config") ? ExpertLayout::stackedMicroscaling
                                                                    : ExpertLayout::stackedTransposed;
            TensorNames& names = architecture.names;
            names.sinks = "model.layers.{}.self_attn.sinks";
            names.router = "model.layers.{}.mlp.router.weight";
            names.expertGateUp = "model.layers.{}.mlp.experts.gate_up_proj";
            names.expertDown = "model.layers.{}.mlp.experts.down_proj";
          },
          [](const GgufReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            setTraits(c);
            c.rope.scaling.truncate = false;
            c.window = c.window > 0 ? c.window : 128;
            readWindowPattern(reader, c, 2);
            // The norm behind the attention's addition is the MLP's.
            architecture.names.mlpNorm = "blk.{}.post_attention_norm.weight";
            architecture.names.postAttentionNorm.clear();
            c.normAfterAttention = false;
          }};
}

}  // namespace decoscope
