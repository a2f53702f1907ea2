#include "core/model/torch/Architecture.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/torch/ConfigReader.h"
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

using nlohmann::json;

constexpr std::uintmax_t kLargestConfig = 64 << 20;

Status checkShape(const TransformerConfig& c, const std::string& where) {
  const bool positive = c.layers > 0 && c.width > 0 && c.heads > 0 && c.keyValueHeads > 0 && c.headSize > 0 &&
                        c.inner > 0 && c.vocabulary > 0 && c.context > 0;
  if (!positive || c.heads % std::max(1, c.keyValueHeads) != 0 || c.layers > kLargestLayerCount)
    return fail(ErrorCode::badInput, "the sizes of the model do not fit together", where,
                "Heads must be a multiple of key/value heads, and every size positive.");
  for (const RopeConfig* rope : {&c.rope, &c.slidingRope})
    if (rope->dimensions < 0 || rope->dimensions > c.headSize || rope->dimensions % 2 != 0)
      return fail(ErrorCode::badInput,
                  std::to_string(rope->dimensions) + " rotary dimensions do not fit heads of " +
                      std::to_string(c.headSize),
                  where);
  const MixtureConfig& mixture = c.mixture;
  if (mixture.experts > 0 && (mixture.perToken < 1 || mixture.perToken > mixture.experts ||
                              mixture.inner < 1 || mixture.experts > 4096))
    return fail(ErrorCode::badInput, "the numbers of experts do not fit together", where);
  for (const auto* list : {&c.windowed, &c.rotary, &mixture.sparse})
    if (!list->empty() && list->size() != static_cast<std::size_t>(c.layers))
      return fail(ErrorCode::badInput,
                  "a list has " + std::to_string(list->size()) + " entries for " + std::to_string(c.layers) +
                      " layers",
                  where, "layer_types, no_rope_layers and their like name every layer.");
  return {};
}

template <typename Names>
const Family* familyOf(const std::string& name, Names names) {
  for (const Family& family : families())
    for (const char* known : family.*names)
      if (name == known) return &family;
  return nullptr;
}

tl::unexpected<Error> unknown(const std::string& name, const std::string& where) {
  return fail(ErrorCode::unsupported, "the architecture '" + name + "' is not supported", where,
              "Supported: " + supportedArchitectures() + ".");
}

Result<Architecture> fromJson(const json& document, const std::string& where) {
  const std::string type = document.contains("model_type") && document["model_type"].is_string()
                               ? document["model_type"].get<std::string>()
                               : "";
  // Models that also see carry their text model's configuration inside.
  const json* text = document.contains("text_config") && document["text_config"].is_object()
                         ? &document["text_config"]
                         : nullptr;
  const ConfigReader reader(text ? *text : document, where);
  const Family* family = familyOf(text ? reader.text("model_type", type) : type, &Family::modelTypes);
  if (!family) return unknown(type, where + ", field model_type");
  if (reader.object("quantization_config")) {
    const ConfigReader quantisation(*reader.object("quantization_config"), where);
    if (quantisation.text("quant_method") != "mxfp4" || type != "gpt_oss")
      return fail(ErrorCode::unsupported,
                  "checkpoints quantised by '" + quantisation.text("quant_method") + "' are not supported",
                  where + ", field quantization_config", "Use the unquantised weights or a GGUF.");
  }
  Architecture result;
  result.config.architecture = family->modelTypes.front();
  family->fromConfig(reader, result);
  DECOSCOPE_TRY(reader.status());
  DECOSCOPE_TRY(checkShape(result.config, where));
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
  if (fs::file_size(where, error) > kLargestConfig)
    return fail(ErrorCode::badInput, "the configuration is too large to be one", where);
  return architectureFromConfig(std::string(std::istreambuf_iterator<char>(stream), {}), where);
}

Result<Architecture> fromGguf(const WeightFile& weights) {
  const std::string name = weights.text("general.architecture");
  const Family* family = familyOf(name, &Family::ggufNames);
  if (!family) return unknown(name, weights.path() + ", field general.architecture");
  const GgufReader reader(weights, name);
  Architecture result;
  result.config.architecture = name;
  readGguf(reader, result);
  if (family->fromGguf) family->fromGguf(reader, result);
  DECOSCOPE_TRY(reader.status());
  DECOSCOPE_TRY(checkShape(result.config, weights.path()));
  return result;
}

}  // namespace

float TransformerConfig::scale() const {
  return attentionScale > 0 ? attentionScale : 1.0f / std::sqrt(static_cast<float>(headSize));
}

std::optional<bool> ggufDiffuses(const std::string& architecture) {
  const Family* family = familyOf(architecture, &Family::ggufNames);
  return family ? std::optional(family->diffuses) : std::nullopt;
}

std::string supportedArchitectures() {
  std::string text;
  for (const Family& family : families())
    text += (text.empty() ? "" : ", ") + std::string(family.modelTypes[0]);
  return text;
}

Result<Architecture> architectureFromConfig(const std::string& text, const std::string& where) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object()) return fail(ErrorCode::badInput, "not a JSON object", where);
  return fromJson(document, where);
}

Result<Architecture> architectureOf(const WeightFile& weights, const std::string& path) {
  return weights.format() == "gguf" ? fromGguf(weights) : fromFolder(path);
}

}  // namespace decoscope
