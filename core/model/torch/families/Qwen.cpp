// Qwen 2, 2.5 and 3, dense and with experts (Yang et al. 2024, 2025).
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

void readQwen(const ConfigReader& reader, Architecture& architecture) {
  readLlama(reader, architecture);
  if (reader.boolean("use_sliding_window", false))
    readWindow(reader, architecture.config, 4096, [](int layer, const ConfigReader& config) {
      return layer >= config.integer("max_window_layers", 28);
    });
}

void nameHeadNorms(Architecture& architecture) {
  architecture.config.headNorm = HeadNorm::perHead;
  architecture.names.queryNorm = "model.layers.{}.self_attn.q_norm.weight";
  architecture.names.keyNorm = "model.layers.{}.self_attn.k_norm.weight";
}

void readExperts(const ConfigReader& reader, Architecture& architecture) {
  MixtureConfig& mixture = architecture.config.mixture;
  mixture.experts = reader.integer(reader.has("num_experts") ? "num_experts" : "num_local_experts");
  mixture.perToken = reader.integer("num_experts_per_tok");
  mixture.inner = reader.integer("moe_intermediate_size");
  mixture.normalise = reader.boolean("norm_topk_prob", false);
  readSparseLayers(reader, architecture.config);
  nameExperts(architecture.names);
}

}  // namespace

Family qwen2Family() {
  return {{"qwen2"}, {"qwen2"}, readQwen};
}

Family qwen3Family() {
  return {{"qwen3"}, {"qwen3"}, [](const ConfigReader& reader, Architecture& architecture) {
            readQwen(reader, architecture);
            nameHeadNorms(architecture);
          }};
}

Family qwen2MixtureFamily() {
  return {{"qwen2_moe"},
          {"qwen2moe"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readQwen(reader, architecture);
            readExperts(reader, architecture);
            MixtureConfig& mixture = architecture.config.mixture;
            mixture.sharedInner = reader.integer("shared_expert_intermediate_size");
            mixture.sharedGated = true;
            TensorNames& names = architecture.names;
            names.sharedGate = "model.layers.{}.mlp.shared_expert.gate_proj.weight";
            names.sharedUp = "model.layers.{}.mlp.shared_expert.up_proj.weight";
            names.sharedDown = "model.layers.{}.mlp.shared_expert.down_proj.weight";
            names.sharedSwitch = "model.layers.{}.mlp.shared_expert_gate.weight";
          },
          [](const GgufReader&, Architecture& architecture) {
            architecture.config.mixture.normalise = false;
            architecture.config.mixture.sharedGated = true;
          }};
}

Family qwen3MixtureFamily() {
  return {{"qwen3_moe"}, {"qwen3moe"}, [](const ConfigReader& reader, Architecture& architecture) {
            readQwen(reader, architecture);
            nameHeadNorms(architecture);
            readExperts(reader, architecture);
          }};
}

}  // namespace decoscope
