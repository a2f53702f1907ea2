// What every GGUF says in the same words (the keys and tensor names of ggml's converters).
#include <algorithm>
#include <cmath>

#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

constexpr int kMostLayers = 4096;  // more are refused later; until then no list is longer

TensorNames ggufNames() {
  TensorNames names;
  names.embedding = "token_embd.weight";
  names.positions = "position_embd.weight";
  names.finalNorm = "output_norm.weight";
  names.head = "output.weight";
  names.attentionNorm = "blk.{}.attn_norm.weight";
  names.query = "blk.{}.attn_q.weight";
  names.key = "blk.{}.attn_k.weight";
  names.value = "blk.{}.attn_v.weight";
  names.queryKeyValue = "blk.{}.attn_qkv.weight";
  names.output = "blk.{}.attn_output.weight";
  names.queryNorm = "blk.{}.attn_q_norm.weight";
  names.keyNorm = "blk.{}.attn_k_norm.weight";
  names.postAttentionNorm = "blk.{}.post_attention_norm.weight";
  names.sinks = "blk.{}.attn_sinks.weight";
  names.mlpNorm = "blk.{}.ffn_norm.weight";
  names.postMlpNorm = "blk.{}.post_ffw_norm.weight";
  names.gate = "blk.{}.ffn_gate.weight";
  names.up = "blk.{}.ffn_up.weight";
  names.down = "blk.{}.ffn_down.weight";
  names.router = "blk.{}.ffn_gate_inp.weight";
  names.expertGate = "blk.{}.ffn_gate_exps.weight";
  names.expertUp = "blk.{}.ffn_up_exps.weight";
  names.expertDown = "blk.{}.ffn_down_exps.weight";
  names.expertGateUp = "blk.{}.ffn_gate_up_exps.weight";
  names.sharedGate = "blk.{}.ffn_gate_shexp.weight";
  names.sharedUp = "blk.{}.ffn_up_shexp.weight";
  names.sharedDown = "blk.{}.ffn_down_shexp.weight";
  names.sharedSwitch = "blk.{}.ffn_gate_inp_shexp.weight";
  return names;
}

std::vector<float> factors(const GgufReader& reader, const char* name, int count) {
  const WeightTensor* tensor = reader.file().find(name);
  std::vector<float> values(static_cast<std::size_t>(std::max(count, 0)));
  if (tensor->elements() != count) {
    reader.report({ErrorCode::badInput,
                   "there are " + std::to_string(tensor->elements()) + " rotary factors for " +
                       std::to_string(count) + " pairs",
                   reader.file().path() + ", tensor " + name,
                   {}});
    return std::vector<float>(values.size(), 1.0f);
  }
  if (Status status = dequantise(*tensor, 0, values); !status) reader.report(status.error());
  for (float& value : values)
    if (!(value > 0)) value = 1;
  return values;
}

void readScaling(const GgufReader& reader, TransformerConfig& c) {
  RopeScaling& scaling = c.rope.scaling;
  const std::string kind = reader.text("rope.scaling.type");
  scaling.factor = reader.real("rope.scaling.factor", reader.real("rope.scale_linear", 1));
  scaling.originalContext = reader.real("rope.scaling.original_context_length", c.context);
  scaling.attentionFactor = reader.real("rope.scaling.yarn_attn_factor", 0);
  scaling.betaFast = reader.real("rope.scaling.yarn_beta_fast", 32);
  scaling.betaSlow = reader.real("rope.scaling.yarn_beta_slow", 1);
  if (scaling.factor <= 0) scaling.factor = 1;
  if (kind == "yarn")
    scaling.kind = RopeScaling::Kind::yarn;
  else if (kind == "linear" || (kind.empty() && scaling.factor != 1))
    scaling.kind = RopeScaling::Kind::linear;
  else if (!kind.empty() && kind != "none" && kind != "longrope")
    reader.report({ErrorCode::unsupported, "rotary scaling of type '" + kind + "' is not supported",
                   reader.field("rope.scaling.type"), "Supported: none, linear, yarn, longrope."});
  // attn_factor comes on top of YaRN's rule, and takes the place of every other.
  const double more = reader.real("rope.scaling.attn_factor", 0);
  const bool yarn = scaling.kind == RopeScaling::Kind::yarn && scaling.factor > 1;
  if (scaling.attentionFactor == 0 && more > 0)
    scaling.attentionFactor = more * (yarn ? 0.1 * std::log(scaling.factor) + 1 : 1);
  const int half = c.rope.dimensions / 2;
  if (reader.hasTensor("rope_factors_long.weight") && reader.hasTensor("rope_factors_short.weight")) {
    scaling.kind = RopeScaling::Kind::longrope;
    scaling.longFactors = factors(reader, "rope_factors_long.weight", half);
    scaling.shortFactors = factors(reader, "rope_factors_short.weight", half);
    scaling.factor = c.context / std::max(1.0, scaling.originalContext);
  } else if (reader.hasTensor("rope_freqs.weight")) {
    // Llama 3's rule, already worked out: one factor a pair, whatever the length.
    scaling.kind = RopeScaling::Kind::longrope;
    scaling.longFactors = scaling.shortFactors = factors(reader, "rope_freqs.weight", half);
    scaling.factor = scaling.attentionFactor = 1;
    scaling.originalContext = c.context;
  }
}

// Sizes of experts are those of the tensors: not every file has the keys.
void readExperts(const GgufReader& reader, Architecture& architecture) {
  TransformerConfig& c = architecture.config;
  TensorNames& names = architecture.names;
  MixtureConfig& mixture = c.mixture;
  mixture.perToken = reader.integer("expert_used_count", 0);
  mixture.inner = reader.integer("expert_feed_forward_length", c.inner);
  mixture.sharedInner = reader.integer("expert_shared_feed_forward_length", 0);
  mixture.layout = ExpertLayout::stacked;
  for (int layer = 0; layer < std::min(c.layers, kMostLayers); ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    mixture.sparse.push_back(reader.hasTensor(block + "ffn_gate_inp.weight"));
    if (!mixture.sparse.back()) continue;
    c.gated = true;
    const auto rows = [&](const char* name, std::size_t dimensions, int known) {
      const WeightTensor* tensor = reader.file().find(block + name);
      return tensor && tensor->shape.size() == dimensions
                 ? static_cast<int>(std::min<std::int64_t>(tensor->shape[dimensions - 2], 1 << 30))
                 : known;
    };
    mixture.inner = rows("ffn_up_exps.weight", 3, mixture.inner);
    mixture.sharedInner = rows("ffn_up_shexp.weight", 2, mixture.sharedInner);
    if (reader.hasTensor(block + "ffn_gate_up_exps.weight")) {
      mixture.layout = ExpertLayout::stackedTogether;
      mixture.inner = rows("ffn_gate_up_exps.weight", 3, 0) / 2;
    } else if (reader.hasTensor(block + "ffn_up.0.weight")) {  // files of before March 2024
      mixture.layout = ExpertLayout::separate;
      names.expertGate = "blk.{}.ffn_gate.{e}.weight";
      names.expertUp = "blk.{}.ffn_up.{e}.weight";
      names.expertDown = "blk.{}.ffn_down.{e}.weight";
    }
  }
}

}  // namespace

void readWindowPattern(const GgufReader& reader, TransformerConfig& config, int period) {
  const std::vector<bool> pattern = reader.flags("attention.sliding_window_pattern");
  config.windowed.clear();
  if (pattern.size() > 1) {  // checked against the layers with every other list
    config.windowed = pattern;
    return;
  }
  period = reader.integer("attention.sliding_window_pattern", period);
  for (int layer = 0; layer < std::min(config.layers, kMostLayers); ++layer)
    config.windowed.push_back(period == 0 || (layer + 1) % period != 0);
}

void readGguf(const GgufReader& reader, Architecture& architecture) {
  TransformerConfig& c = architecture.config;
  TensorNames& names = architecture.names;
  names = ggufNames();
  c.layers = reader.integer("block_count", 0);
  c.width = reader.integer("embedding_length", 0);
  c.heads = reader.integer("attention.head_count", 0);
  c.keyValueHeads = reader.integer("attention.head_count_kv", c.heads);
  c.headSize = reader.integer("attention.key_length", c.heads > 0 ? c.width / c.heads : 0);
  c.inner = reader.integer("feed_forward_length", 0);
  c.context = reader.integer("context_length", 2048);
  for (const char* key : {"attention.head_count", "attention.head_count_kv", "feed_forward_length"}) {
    const auto list = reader.integers(key);
    if (std::adjacent_find(list.begin(), list.end(), std::not_equal_to<>()) != list.end())
      reader.report(
          {ErrorCode::unsupported, "layers of different sizes are not supported", reader.field(key), {}});
  }
  if (reader.integer("attention.value_length", c.headSize) != c.headSize)
    reader.report({ErrorCode::unsupported,
                   "keys and values of different sizes are not supported",
                   reader.field("attention.value_length"),
                   {}});
  const WeightTensor* embedding = reader.file().find(names.embedding);
  c.vocabulary = embedding && embedding->shape.size() == 2
                     ? static_cast<int>(std::min<std::int64_t>(embedding->shape[0], 1 << 30))
                     : reader.integer("vocab_size", 0);
  const bool layerNorm =
      reader.has("attention.layer_norm_epsilon") && !reader.has("attention.layer_norm_rms_epsilon");
  c.norm = layerNorm ? NormKind::layer : NormKind::rootMeanSquare;
  c.normEpsilon = static_cast<float>(
      reader.real(layerNorm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5));
  c.rope.theta = reader.real("rope.freq_base", 10000);
  c.rope.dimensions = reader.integer("rope.dimension_count", c.headSize) / 2 * 2;
  readScaling(reader, c);
  c.window = reader.integer("attention.sliding_window", 0);
  if (reader.has("attention.sliding_window_pattern")) readWindowPattern(reader, c, 0);
  c.tied = !reader.hasTensor(names.head);
  if (reader.hasTensor("blk.0.attn_qkv.weight")) c.fused = FusedOrder::parts;
  c.gated = reader.hasTensor("blk.0.ffn_gate.weight");
  if (!c.gated && embedding) {
    // A gate and an up product in one tensor have twice the rows.
    const WeightTensor* up = reader.file().find("blk.0.ffn_up.weight");
    if (up && up->shape.size() == 2 && up->shape[0] == 2 * static_cast<std::int64_t>(c.inner)) {
      c.gated = c.fusedGateUp = true;
      names.gateUp = names.up;
    }
  }
  if (reader.hasTensor("blk.0.attn_q_norm.weight")) c.headNorm = HeadNorm::perHead;
  c.normAfterAttention = reader.hasTensor("blk.0.post_attention_norm.weight");
  c.normAfterMlp = reader.hasTensor("blk.0.post_ffw_norm.weight");
  if (c.mixture.experts = reader.integer("expert_count", 0); c.mixture.experts > 0)
    readExperts(reader, architecture);
}

}  // namespace decoscope
