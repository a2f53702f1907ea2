#include "core/model/torch/Architecture.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

namespace decoscope {

namespace {

using nlohmann::json;

const TensorNames kHuggingFaceLlama = {"model.embed_tokens.weight",
                                       "model.norm.weight",
                                       "lm_head.weight",
                                       "model.layers.{}.input_layernorm.weight",
                                       "model.layers.{}.self_attn.q_proj.weight",
                                       "model.layers.{}.self_attn.k_proj.weight",
                                       "model.layers.{}.self_attn.v_proj.weight",
                                       "model.layers.{}.self_attn.o_proj.weight",
                                       "model.layers.{}.post_attention_layernorm.weight",
                                       "model.layers.{}.mlp.gate_proj.weight",
                                       "model.layers.{}.mlp.up_proj.weight",
                                       "model.layers.{}.mlp.down_proj.weight"};
const TensorNames kGgufLlama = {
    "token_embd.weight",      "output_norm.weight",     "output.weight",        "blk.{}.attn_norm.weight",
    "blk.{}.attn_q.weight",   "blk.{}.attn_k.weight",   "blk.{}.attn_v.weight", "blk.{}.attn_output.weight",
    "blk.{}.ffn_norm.weight", "blk.{}.ffn_gate.weight", "blk.{}.ffn_up.weight", "blk.{}.ffn_down.weight"};
const TensorNames kLlada = {"model.transformer.wte.weight",
                            "model.transformer.ln_f.weight",
                            "model.transformer.ff_out.weight",
                            "model.transformer.blocks.{}.attn_norm.weight",
                            "model.transformer.blocks.{}.q_proj.weight",
                            "model.transformer.blocks.{}.k_proj.weight",
                            "model.transformer.blocks.{}.v_proj.weight",
                            "model.transformer.blocks.{}.attn_out.weight",
                            "model.transformer.blocks.{}.ff_norm.weight",
                            "model.transformer.blocks.{}.ff_proj.weight",
                            "model.transformer.blocks.{}.up_proj.weight",
                            "model.transformer.blocks.{}.ff_out.weight"};

constexpr const char* kSupported =
    "Supported: llama, qwen2, qwen3 (GGUF or Hugging Face folder), mistral, smollm3 and llada (Hugging Face "
    "folder).";

// What a family of Llama's layout adds to it.
struct Family {
  const char* name;
  bool queryKeyNorm;
  double normEpsilon;  // where config.json is silent
  bool inGguf, interleavedInGguf;
};
constexpr Family kFamilies[] = {{"llama", false, 1e-6, true, true},
                                {"mistral", false, 1e-6, false, false},
                                {"qwen2", false, 1e-6, true, false},
                                {"qwen3", true, 1e-6, true, false},
                                {"smollm3", false, 1e-6, false, false}};
const Family* familyOf(const std::string& name) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family& family) { return name == family.name; });
  return found == std::end(kFamilies) ? nullptr : found;
}

void nameHeadNorms(TensorNames& names, const char* query, const char* key) {
  names.queryNorm = query;
  names.keyNorm = key;
}

// Typed access to config.json with errors that name the field.
class ConfigReader {
 public:
  ConfigReader(const json& document, std::string where) : document_(document), where_(std::move(where)) {}
  Status integer(const char* key, int& target, std::optional<int> fallback = {}) const {
    const auto found = document_.find(key);
    if (found == document_.end() || found->is_null()) {
      if (!fallback)
        return fail(ErrorCode::badInput, std::string("the field '") + key + "' is missing", where_);
      target = *fallback;
      return {};
    }
    if (!found->is_number_integer() || found->get<std::int64_t>() < 0 ||
        found->get<std::int64_t>() > (1 << 30))
      return fail(ErrorCode::badInput, std::string("the field '") + key + "' is not a sensible whole number",
                  where_);
    target = found->get<int>();
    return {};
  }
  double real(const char* key, double fallback) const {
    const auto found = document_.find(key);
    return found != document_.end() && found->is_number() ? found->get<double>() : fallback;
  }
  bool boolean(const char* key, bool fallback) const {
    const auto found = document_.find(key);
    return found != document_.end() && found->is_boolean() ? found->get<bool>() : fallback;
  }
  std::string text(const char* key) const {
    const auto found = document_.find(key);
    return found != document_.end() && found->is_string() ? found->get<std::string>() : std::string();
  }
  const json* array(const char* key) const {
    const auto found = document_.find(key);
    return found != document_.end() && found->is_array() ? &*found : nullptr;
  }
  const json* object(const char* key) const {
    const auto found = document_.find(key);
    return found != document_.end() && found->is_object() ? &*found : nullptr;
  }
  const std::string& where() const { return where_; }

 private:
  const json& document_;
  std::string where_;
};

Status readRopeScaling(const ConfigReader& reader, TransformerConfig& config) {
  const json* scaling = reader.object("rope_scaling");
  if (!scaling) scaling = reader.object("rope_parameters");
  if (!scaling) return {};
  const ConfigReader inner(*scaling, reader.where() + ", rope_scaling");
  config.ropeTheta = inner.real("rope_theta", config.ropeTheta);
  const std::string kind = inner.text("rope_type").empty() ? inner.text("type") : inner.text("rope_type");
  if (kind.empty() || kind == "default") return {};
  config.ropeScaling.factor = inner.real("factor", 1);
  if (kind == "linear")
    config.ropeScaling.kind = RopeScaling::Kind::linear;
  else if (kind == "llama3") {
    config.ropeScaling = {RopeScaling::Kind::llama3, inner.real("factor", 8),
                          inner.real("low_freq_factor", 1), inner.real("high_freq_factor", 4),
                          inner.real("original_max_position_embeddings", 8192)};
  } else {
    return fail(ErrorCode::unsupported, "rotary scaling of type '" + kind + "' is not supported yet",
                inner.where(), "Supported: default, linear, llama3.");
  }
  return {};
}

Status checkShape(const TransformerConfig& config, const std::string& where) {
  const bool positive = config.layers > 0 && config.width > 0 && config.heads > 0 &&
                        config.keyValueHeads > 0 && config.headSize > 0 && config.inner > 0 &&
                        config.vocabulary > 0 && config.context > 0;
  if (!positive || config.heads % config.keyValueHeads != 0 || config.headSize % 2 != 0 ||
      config.layers > 4096)
    return fail(ErrorCode::badInput, "the sizes of the model do not fit together", where,
                "Heads must be a multiple of key/value heads, the head size even, and every size positive.");
  return {};
}

// Which layers rotate and which slide: `layer_types`, `no_rope_layers` and the window's fields.
Status readLayerKinds(const ConfigReader& reader, TransformerConfig& config) {
  int window = 0;
  DECOSCOPE_TRY(reader.integer("sliding_window", window, 0));
  const bool used = reader.boolean("use_sliding_window", config.architecture == "mistral");
  if (window > 0 && used) {
    config.window = window;
    if (const json* kinds = reader.array("layer_types"))
      for (const json& kind : *kinds) config.windowed.push_back(kind == "sliding_attention");
  }
  if (const json* rotary = reader.array("no_rope_layers"))
    // Despite its name a 1 means that the layer does rotate.
    for (const json& rotates : *rotary)
      config.rotary.push_back(rotates.is_number_integer() && rotates.get<int>() != 0);
  for (const auto* list : {&config.windowed, &config.rotary})
    if (!list->empty() && list->size() != static_cast<std::size_t>(config.layers))
      return fail(ErrorCode::badInput,
                  "a list has " + std::to_string(list->size()) + " entries for " +
                      std::to_string(config.layers) + " layers",
                  reader.where() + ", field layer_types or no_rope_layers");
  return {};
}

Result<Architecture> fromLlamaConfig(const ConfigReader& reader, const Family& family) {
  Architecture result;
  TransformerConfig& c = result.config;
  c.architecture = family.name;
  c.queryKeyNorm = family.queryKeyNorm;
  DECOSCOPE_TRY(reader.integer("num_hidden_layers", c.layers));
  DECOSCOPE_TRY(reader.integer("hidden_size", c.width));
  DECOSCOPE_TRY(reader.integer("num_attention_heads", c.heads));
  DECOSCOPE_TRY(reader.integer("num_key_value_heads", c.keyValueHeads, c.heads));
  DECOSCOPE_TRY(reader.integer("head_dim", c.headSize, c.heads > 0 ? c.width / c.heads : 0));
  DECOSCOPE_TRY(reader.integer("intermediate_size", c.inner));
  DECOSCOPE_TRY(reader.integer("vocab_size", c.vocabulary));
  DECOSCOPE_TRY(reader.integer("max_position_embeddings", c.context, 2048));
  if (const std::string activation = reader.text("hidden_act"); !activation.empty() && activation != "silu")
    return fail(ErrorCode::unsupported, "the activation '" + activation + "' is not supported yet",
                reader.where() + ", field hidden_act");
  c.normEpsilon = static_cast<float>(reader.real("rms_norm_eps", family.normEpsilon));
  c.ropeTheta = reader.real("rope_theta", 10000);
  c.tied = reader.boolean("tie_word_embeddings", false);
  DECOSCOPE_TRY(readRopeScaling(reader, c));
  DECOSCOPE_TRY(readLayerKinds(reader, c));
  result.names = kHuggingFaceLlama;
  if (c.queryKeyNorm)
    nameHeadNorms(result.names, "model.layers.{}.self_attn.q_norm.weight",
                  "model.layers.{}.self_attn.k_norm.weight");
  return result;
}

Result<Architecture> fromLladaConfig(const ConfigReader& reader) {
  Architecture result;
  TransformerConfig& c = result.config;
  c.architecture = "llada";
  c.diffusion = true;
  DECOSCOPE_TRY(reader.integer("n_layers", c.layers));
  DECOSCOPE_TRY(reader.integer("d_model", c.width));
  DECOSCOPE_TRY(reader.integer("n_heads", c.heads));
  DECOSCOPE_TRY(reader.integer("n_kv_heads", c.keyValueHeads, c.heads));
  c.headSize = c.heads > 0 ? c.width / c.heads : 0;
  DECOSCOPE_TRY(reader.integer("mlp_hidden_size", c.inner));
  int plain = 0;
  DECOSCOPE_TRY(reader.integer("vocab_size", plain));
  DECOSCOPE_TRY(reader.integer("embedding_size", c.vocabulary, plain));
  DECOSCOPE_TRY(reader.integer("max_sequence_length", c.context, 4096));
  int mask = 0;
  DECOSCOPE_TRY(reader.integer("mask_token_id", mask));
  c.maskToken = mask;
  c.normEpsilon = static_cast<float>(reader.real("rms_norm_eps", 1e-5));
  c.ropeTheta = reader.real("rope_theta", 10000);
  c.tied = reader.boolean("weight_tying", false);
  result.names = kLlada;
  return result;
}

Result<Architecture> fromFolder(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::is_directory(path, error) ? fs::path(path) : fs::path(path).parent_path();
  const std::string where = (folder / "config.json").string();
  std::ifstream stream(where);
  if (!stream)
    return fail(ErrorCode::badInput, "the configuration is missing", where,
                "Copy config.json of the model beside its weights.");
  const json document = json::parse(stream, nullptr, false);
  if (!document.is_object()) return fail(ErrorCode::badInput, "not a JSON object", where);
  const ConfigReader reader(document, where);
  if (reader.object("quantization_config"))
    return fail(ErrorCode::unsupported, "quantised Hugging Face checkpoints are not supported yet",
                where + ", field quantization_config", "Use the unquantised weights or a GGUF.");
  const std::string type = reader.text("model_type");
  if (const Family* family = familyOf(type)) return fromLlamaConfig(reader, *family);
  if (type == "llada") return fromLladaConfig(reader);
  return fail(ErrorCode::unsupported, "the architecture '" + type + "' is not supported yet",
              where + ", field model_type", kSupported);
}

Result<Architecture> fromGguf(const WeightFile& weights) {
  const std::string kind = weights.text("general.architecture");
  const Family* family = familyOf(kind);
  if (!family || !family->inGguf)
    return fail(ErrorCode::unsupported, "the architecture '" + kind + "' is not supported yet",
                weights.path() + ", field general.architecture", kSupported);
  Architecture result;
  TransformerConfig& c = result.config;
  c.architecture = kind;
  c.queryKeyNorm = family->queryKeyNorm;
  const auto field = [&](const char* key) { return kind + "." + key; };
  const auto number = [&](const char* key, std::int64_t fallback) {
    return static_cast<int>(std::clamp<std::int64_t>(weights.integer(field(key), fallback), 0, 1 << 30));
  };
  c.layers = number("block_count", 0);
  c.width = number("embedding_length", 0);
  c.heads = number("attention.head_count", 0);
  c.keyValueHeads = number("attention.head_count_kv", c.heads);
  c.headSize = number("attention.key_length", c.heads > 0 ? c.width / c.heads : 0);
  c.inner = number("feed_forward_length", 0);
  c.context = number("context_length", 2048);
  const WeightTensor* embedding = weights.find(kGgufLlama.embedding);
  c.vocabulary = embedding && embedding->shape.size() == 2 ? static_cast<int>(embedding->shape[0])
                                                           : number("vocab_size", 0);
  c.normEpsilon = static_cast<float>(weights.real(field("attention.layer_norm_rms_epsilon"), 1e-5));
  c.ropeTheta = weights.real(field("rope.freq_base"), 10000);
  c.tied = weights.find(kGgufLlama.head) == nullptr;
  c.rotaryInterleaved = family->interleavedInGguf;
  if (number("rope.dimension_count", c.headSize) != c.headSize)
    return fail(ErrorCode::unsupported, "partial rotary embeddings are not supported yet",
                weights.path() + ", field " + field("rope.dimension_count"));
  if (number("expert_count", 0) > 0)
    return fail(ErrorCode::unsupported, "mixtures of experts are not supported yet",
                weights.path() + ", field " + field("expert_count"));
  if (weights.find("rope_freqs.weight"))
    return fail(ErrorCode::unsupported, "rotary factors in the file are not supported yet",
                weights.path() + ", tensor rope_freqs.weight");
  if (const std::string scaling = weights.text(field("rope.scaling.type"));
      !scaling.empty() && scaling != "none")
    return fail(ErrorCode::unsupported,
                "rotary scaling of type '" + scaling + "' is not supported in GGUF files yet",
                weights.path() + ", field " + field("rope.scaling.type"));
  result.names = kGgufLlama;
  if (c.queryKeyNorm) nameHeadNorms(result.names, "blk.{}.attn_q_norm.weight", "blk.{}.attn_k_norm.weight");
  return result;
}

}  // namespace

Result<Architecture> architectureOf(const WeightFile& weights, const std::string& path) {
  auto result = weights.format() == "gguf" ? fromGguf(weights) : fromFolder(path);
  if (result) DECOSCOPE_TRY(checkShape(result->config, path));
  return result;
}

}  // namespace decoscope
