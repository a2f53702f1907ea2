#include <algorithm>
#include <cmath>

#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

using nlohmann::json;

int rotaryDimensions(int headSize, double share) {
  // Whatever a file says; sizes that do not fit are refused later.
  return static_cast<int>(std::clamp(headSize * share, -2.0, 0x1p30)) / 2 * 2;
}

RopeConfig readOneRope(const ConfigReader& outer, const ConfigReader& inner, const TransformerConfig& config,
                       double theta, double share) {
  RopeConfig rope;
  rope.theta = inner.real("rope_theta", outer.real("rope_theta", theta));
  rope.dimensions = rotaryDimensions(
      config.headSize, inner.real("partial_rotary_factor", outer.real("partial_rotary_factor", share)));
  RopeScaling& scaling = rope.scaling;
  const std::string kind = inner.text("rope_type", inner.text("type"));
  if (kind.empty() || kind == "default") return rope;
  scaling.factor = inner.real("factor", 1);
  scaling.originalContext = inner.real("original_max_position_embeddings",
                                       outer.real("original_max_position_embeddings", config.context));
  scaling.attentionFactor = inner.real("attention_factor", 0);
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
  } else if (kind == "dynamic") {
    scaling.kind = RopeScaling::Kind::dynamic;
    scaling.originalContext = config.context;
  } else if (kind == "llama3") {
    scaling.kind = RopeScaling::Kind::llama3;
    scaling.lowFrequencyFactor = inner.real("low_freq_factor", 1);
    scaling.highFrequencyFactor = inner.real("high_freq_factor", 4);
  } else if (kind == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
    if (!inner.has("factor")) scaling.factor = config.context / std::max(1.0, scaling.originalContext);
    scaling.betaFast = inner.real("beta_fast", 32);
    scaling.betaSlow = inner.real("beta_slow", 1);
    scaling.truncate = inner.boolean("truncate", true);
    const double all = inner.real("mscale_all_dim", 0), own = inner.real("mscale", 0);
    if (scaling.attentionFactor == 0 && all > 0 && own > 0 && scaling.factor > 1) {
      const auto factor = [&](double m) { return 0.1 * m * std::log(scaling.factor) + 1; };
      scaling.attentionFactor = factor(own) / factor(all);
    }
  } else if (kind == "longrope" || kind == "su") {
    scaling.kind = RopeScaling::Kind::longrope;
    if (!inner.has("factor")) scaling.factor = config.context / std::max(1.0, scaling.originalContext);
    scaling.shortFactors = inner.reals("short_factor");
    scaling.longFactors = inner.reals("long_factor");
    const auto half = static_cast<std::size_t>(rope.dimensions / 2);
    const auto usable = [&](const std::vector<float>& factors) {
      return factors.size() == half &&
             std::all_of(factors.begin(), factors.end(), [](float f) { return f > 0; });
    };
    if (!usable(scaling.shortFactors) || !usable(scaling.longFactors))
      inner.report({ErrorCode::badInput,
                    "short_factor and long_factor need " + std::to_string(half) + " positive numbers each",
                    inner.where(),
                    {}});
  } else {
    inner.report({ErrorCode::unsupported, "rotary scaling of type '" + kind + "' is not supported",
                  inner.where(), "Supported: default, linear, dynamic, llama3, yarn, longrope."});
  }
  if (scaling.factor <= 0 || scaling.originalContext < 1 || rope.theta <= 1)
    inner.report({ErrorCode::badInput, "the rotary scaling has a value out of range", inner.where(), {}});
  return rope;
}

}  // namespace

void readRope(const ConfigReader& reader, TransformerConfig& config, double theta, double rotaryShare) {
  static const json kNothing = json::object();
  const json* given = reader.object("rope_parameters");
  if (!given) given = reader.object("rope_scaling");
  const std::string where = reader.where() + ", rope_parameters";
  const auto read = [&](const json& object, double fallback) {
    const ConfigReader inner(object, where);
    const RopeConfig rope = readOneRope(reader, inner, config, fallback, rotaryShare);
    if (!inner.status()) reader.report(inner.status().error());
    return rope;
  };
  const json* full = given && given->contains("full_attention") ? &(*given)["full_attention"] : nullptr;
  const json* sliding =
      given && given->contains("sliding_attention") ? &(*given)["sliding_attention"] : nullptr;
  if (full && sliding && full->is_object() && sliding->is_object()) {
    config.rope = read(*full, theta);
    config.slidingRope = read(*sliding, theta);
    config.localRope = true;
  } else {
    config.rope = read(given ? *given : kNothing, theta);
  }
  // Beyond what the checkpoint calls its context, dynamic scaling goes on as far as its factor.
  if (config.rope.scaling.kind == RopeScaling::Kind::dynamic)
    config.context = static_cast<int>(
        std::min<double>(1 << 30, config.context * std::max(1.0, config.rope.scaling.factor)));
}

void readActivation(const ConfigReader& reader, const char* key, const char* fallback,
                    TransformerConfig& config) {
  const std::string name = reader.text(key, fallback);
  if (name == "silu" || name == "swish")
    config.activation = Activation::silu;
  else if (name == "gelu")
    config.activation = Activation::gelu;
  else if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    config.activation = Activation::geluTanh;
  else if (name == "relu")
    config.activation = Activation::relu;
  else
    reader.report({ErrorCode::unsupported, "the activation '" + name + "' is not supported",
                   reader.where() + ", field " + key,
                   "Supported: silu, gelu, gelu_new, gelu_pytorch_tanh, relu."});
}

void readWindow(const ConfigReader& reader, TransformerConfig& config, int fallback,
                bool (*slides)(int, const ConfigReader&)) {
  // A null is a model without a window; an absent field is the family's habit.
  const bool silent = !reader.mentions("sliding_window");
  config.window = reader.integer("sliding_window", silent ? fallback : 0);
  if (config.window == 0) return;
  if (const json* kinds = reader.array("layer_types")) {
    for (const json& kind : *kinds) config.windowed.push_back(kind == "sliding_attention");
    if (kinds->size() != static_cast<std::size_t>(config.layers))
      reader.report({ErrorCode::badInput,
                     "the list has " + std::to_string(kinds->size()) + " entries for " +
                         std::to_string(config.layers) + " layers",
                     reader.where() + ", field layer_types",
                     {}});
  } else if (slides) {
    for (int layer = 0; layer < config.layers; ++layer) config.windowed.push_back(slides(layer, reader));
  }
}

void readSparseLayers(const ConfigReader& reader, TransformerConfig& config) {
  const int step = std::max(1, reader.integer("decoder_sparse_step", 1));
  for (int layer = 0; layer < config.layers; ++layer)
    config.mixture.sparse.push_back((layer + 1) % step == 0);
  if (const json* dense = reader.array("mlp_only_layers"))
    for (const json& layer : *dense)
      if (layer.is_number_unsigned() && layer.get<std::size_t>() < config.mixture.sparse.size())
        config.mixture.sparse[layer.get<std::size_t>()] = false;
}

TensorNames llamaNames() {
  TensorNames names;
  names.embedding = "model.embed_tokens.weight";
  names.finalNorm = "model.norm.weight";
  names.head = "lm_head.weight";
  names.attentionNorm = "model.layers.{}.input_layernorm.weight";
  names.query = "model.layers.{}.self_attn.q_proj.weight";
  names.key = "model.layers.{}.self_attn.k_proj.weight";
  names.value = "model.layers.{}.self_attn.v_proj.weight";
  names.output = "model.layers.{}.self_attn.o_proj.weight";
  names.mlpNorm = "model.layers.{}.post_attention_layernorm.weight";
  names.gate = "model.layers.{}.mlp.gate_proj.weight";
  names.up = "model.layers.{}.mlp.up_proj.weight";
  names.down = "model.layers.{}.mlp.down_proj.weight";
  return names;
}

void nameExperts(TensorNames& names) {
  names.router = "model.layers.{}.mlp.gate.weight";
  names.expertGate = "model.layers.{}.mlp.experts.{e}.gate_proj.weight";
  names.expertUp = "model.layers.{}.mlp.experts.{e}.up_proj.weight";
  names.expertDown = "model.layers.{}.mlp.experts.{e}.down_proj.weight";
}

void readLlama(const ConfigReader& reader, Architecture& architecture) {
  TransformerConfig& c = architecture.config;
  c.layers = reader.layers("num_hidden_layers");
  c.width = reader.integer("hidden_size");
  c.heads = reader.integer("num_attention_heads");
  c.keyValueHeads = reader.integer("num_key_value_heads", c.heads);
  c.headSize = reader.integer("head_dim", c.heads > 0 ? c.width / c.heads : 0);
  c.inner = reader.integer("intermediate_size");
  c.vocabulary = reader.integer("vocab_size");
  c.context = reader.integer("max_position_embeddings", 2048);
  readActivation(reader, reader.has("hidden_activation") ? "hidden_activation" : "hidden_act", "silu", c);
  c.normEpsilon = static_cast<float>(reader.real("rms_norm_eps", 1e-6));
  c.tied = reader.boolean("tie_word_embeddings", false);
  readRope(reader, c);
  // A decoder's layout without its causal mask is a masked-diffusion model where a mask token says so.
  c.diffusion = !reader.boolean("is_causal", true);
  if (c.diffusion) {
    c.maskToken = reader.integer("mask_token_id");
    c.shifted = reader.boolean("shift_logits", false);
  }
  architecture.names = llamaNames();
}

void refuse(const ConfigReader& reader, const char* key, bool isSet, const std::string& what) {
  if (isSet)
    reader.report({ErrorCode::unsupported, what + " not supported", reader.where() + ", field " + key, {}});
}

}  // namespace decoscope
