#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <string_view>

#include "core/model/torch/Architecture.h"
#include "core/model/torch/TransformerModel.h"

namespace decoscope {

namespace {

std::string roleOf(const std::string& name, const TensorNames& names) {
  const std::pair<const std::string*, const char*> roles[] = {
      {&names.embedding, "token embedding"},
      {&names.positions, "position embedding"},
      {&names.finalNorm, "final norm"},
      {&names.head, "LM head"},
      {&names.attentionNorm, "attention norm"},
      {&names.postAttentionNorm, "norm of the attention's output"},
      {&names.query, "attention query"},
      {&names.key, "attention key"},
      {&names.value, "attention value"},
      {&names.queryKeyValue, "attention query, key and value"},
      {&names.output, "attention output"},
      {&names.queryNorm, "query norm"},
      {&names.keyNorm, "key norm"},
      {&names.sinks, "attention sinks"},
      {&names.mlpNorm, "MLP norm"},
      {&names.postMlpNorm, "norm of the MLP's output"},
      {&names.gate, "MLP gate"},
      {&names.up, "MLP up"},
      {&names.gateUp, "MLP gate and up"},
      {&names.down, "MLP down"},
      {&names.router, "router of experts"},
      {&names.expertGate, "expert gate"},
      {&names.expertUp, "expert up"},
      {&names.expertGateUp, "expert gate and up"},
      {&names.expertDown, "expert down"},
      {&names.sharedGate, "shared expert gate"},
      {&names.sharedUp, "shared expert up"},
      {&names.sharedDown, "shared expert down"},
      {&names.sharedSwitch, "switch of the shared expert"},
      {&names.fuse, "fusion of embedding and feature"},
      {&names.ranked, "ranked tokens"}};
  // Holes stand for whole numbers; a bias is named after its weight.
  const auto matches = [](std::string_view text, std::string_view pattern) {
    while (!pattern.empty()) {
      if (pattern.front() != '{') {
        if (text.empty() || text.front() != pattern.front()) return false;
        text.remove_prefix(1), pattern.remove_prefix(1);
        continue;
      }
      pattern.remove_prefix(pattern.find('}') + 1);
      if (text.empty() || !std::isdigit(static_cast<unsigned char>(text.front()))) return false;
      while (!text.empty() && std::isdigit(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
    }
    return text.empty();
  };
  std::string asWeight = name;
  const bool bias = asWeight.ends_with(".bias");
  if (bias) asWeight.replace(asWeight.size() - 4, 4, "weight");
  for (const auto& [pattern, role] : roles)
    if (!pattern->empty() && matches(asWeight, *pattern)) return bias ? std::string(role) + ", bias" : role;
  return "";
}

}  // namespace

ModelInfo describe(const Architecture& architecture, const WeightFile& weights, const std::string& path) {
  const TransformerConfig& config = architecture.config;
  ModelInfo info;
  info.name = std::filesystem::path(path).filename().string();
  if (weights.format() == "gguf") info.name = std::filesystem::path(path).stem().string();
  if (const auto dot = info.name.rfind(".Q"); dot != std::string::npos) info.name.resize(dot);
  info.path = path;
  info.architecture = config.architecture;
  info.format = weights.format();
  info.licence = weights.text("general.license");
  info.layers = config.layers;
  info.width = config.width;
  info.inner = config.inner;
  info.heads = config.heads;
  info.keyValueHeads = config.keyValueHeads;
  info.contextLength = config.context;
  info.vocabularySize = config.vocabulary;
  info.maskToken = config.maskToken;
  info.shifted = config.shifted;
  std::map<std::string, std::int64_t> byType;
  for (const WeightTensor& tensor : weights.tensors()) {
    info.parameters += tensor.elements();
    byType[tensor.typeName] += tensor.elements();
    info.tensors.push_back(
        {tensor.name, roleOf(tensor.name, architecture.names), tensor.typeName, tensor.shape});
    info.bytes += static_cast<std::int64_t>(tensor.data.size());
  }
  const auto most = std::max_element(byType.begin(), byType.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != byType.end()) info.fileType = most->first;
  return info;
}

Result<ModelInfo> describeTransformer(const WeightFile& weights, const std::string& path) {
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(weights, path));
  return describe(architecture, weights, path);
}

}  // namespace decoscope
