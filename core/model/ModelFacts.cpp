#include "core/model/ModelFacts.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/Files.h"
#include "core/model/AcceptanceHead.h"
#include "core/model/GgufTokenizer.h"
#include "core/model/ModelLoader.h"
#include "core/model/torch/Architecture.h"
#include "core/model/weights/Gguf.h"
#include "core/model/weights/Readers.h"
#include "core/tokenizer/TokenizerKind.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kMaximumConfig = 1u << 20, kMaximumReadme = 1u << 16;
constexpr int kLargestNumber = 1 << 30;

// llama.cpp's numbers for general.file_type; the gaps were given up.
constexpr const char* kFileTypes[] = {"F32",    "F16",    "Q4_0",    "Q4_1",   "",       "",        "",
                                      "Q8_0",   "Q5_0",   "Q5_1",    "Q2_K",   "Q3_K_S", "Q3_K_M",  "Q3_K_L",
                                      "Q4_K_S", "Q4_K_M", "Q5_K_S",  "Q5_K_M", "Q6_K",   "IQ2_XXS", "IQ2_XS",
                                      "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S",  "IQ4_NL", "IQ3_S",   "IQ3_M",
                                      "IQ2_S",  "IQ2_M",  "IQ4_XS",  "IQ1_M",  "BF16",   "",        "",
                                      "",       "TQ1_0",  "TQ2_0",   "MXFP4",  "NVFP4",  "Q1_0"};

// Adds up tensors by type.
class Census {
 public:
  void add(const std::vector<WeightTensor>& tensors) {
    for (const WeightTensor& tensor : tensors) byType_[tensor.typeName] += tensor.elements();
  }
  void tell(ModelFacts& facts) const {
    std::int64_t most = 0;
    for (const auto& [type, elements] : byType_) {
      facts.parameters += elements;
      if (elements > most) facts.dtype = type;
      most = std::max(most, elements);
    }
  }

 private:
  std::map<std::string, std::int64_t> byType_;
};

int bounded(std::int64_t number) {
  return number > 0 && number <= kLargestNumber ? static_cast<int>(number) : 0;
}

// Nothing in builds without a backend for them.
std::optional<Capabilities> transformerCapabilities(const std::string& architecture, bool diffusion) {
#ifdef DECOSCOPE_WITH_TORCH
  ModelInfo info;
  info.architecture = architecture;
  info.maskToken = diffusion ? 0 : -1;
  return capabilitiesOf(info);
#else
  (void)architecture;
  (void)diffusion;
  return std::nullopt;
#endif
}

bool isAuxiliary(const GgufShard& shard, const std::string& architecture) {
  const std::string type = metadataText(shard, "general.type", "model");
  return type != "model" || architecture == "clip" || architecture == "imatrix" ||
         architecture == "controlvector" || shard.metadata.contains("adapter.type");
}

Result<ModelFacts> ggufFacts(const std::string& path) {
  DECOSCOPE_ASSIGN(const auto files, ggufShards(path));
  ModelFacts facts;
  facts.format = "gguf";
  Census census;
  for (std::size_t i = 0; i < files.size(); ++i) {
    DECOSCOPE_ASSIGN(auto file, MappedFile::open(files[i]));
    facts.bytes += static_cast<std::int64_t>(file->bytes().size());
    DECOSCOPE_ASSIGN(const GgufShard shard, readGguf(std::move(file), GgufDepth::tensors));
    census.add(shard.tensors);
    if (i > 0) continue;
    facts.architecture = metadataText(shard, "general.architecture");
    facts.licence = metadataText(shard, "general.license");
    facts.layers = bounded(metadataInteger(shard, facts.architecture + ".block_count", 0));
    facts.context = bounded(metadataInteger(shard, facts.architecture + ".context_length", 0));
    const std::int64_t type = metadataInteger(shard, "general.file_type", -1);
    if (type >= 0 && type < static_cast<std::int64_t>(std::size(kFileTypes)))
      facts.quantisation = kFileTypes[type];
    facts.tokenizer = ggufTokenizerKind(metadataText(shard, "tokenizer.ggml.model"),
                                        metadataText(shard, "tokenizer.ggml.pre"));
    if (const auto diffusion = ggufDiffuses(facts.architecture))
      facts.capabilities = transformerCapabilities(facts.architecture, *diffusion);
    facts.isModel = !isAuxiliary(shard, facts.architecture);
  }
  census.tell(facts);
  if (facts.parameters == 0) facts.isModel = false;
  if (facts.quantisation.empty()) facts.quantisation = facts.dtype;
  return facts;
}

std::string unquoted(std::string text) {
  const auto begin = text.find_first_not_of(" \t\r'\"-"), end = text.find_last_not_of(" \t\r'\"");
  return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

// `license:` of the YAML front matter; `license_name:` where that says "other".
std::string readmeLicence(const fs::path& path) {
  std::istringstream lines(readBeginning(path, kMaximumReadme));
  std::string line, licence, name;
  bool listed = false;
  if (!std::getline(lines, line) || unquoted(line) != "" || !line.starts_with("---")) return {};
  while (std::getline(lines, line) && !line.starts_with("---")) {
    if (listed && licence.empty() && line.find('-') != std::string::npos) licence = unquoted(line);
    listed = line.starts_with("license:");
    if (listed) licence = unquoted(line.substr(8));
    if (line.starts_with("license_name:")) name = unquoted(line.substr(13));
  }
  return licence == "other" && !name.empty() ? name : licence;
}

int firstNumber(const json& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (config.contains(key) && config[key].is_number_integer())
      return bounded(config[key].get<std::int64_t>());
  return 0;
}

// The settings that a list shows; what is missing or odd stays unknown, as loading will say.
void readConfig(const fs::path& folder, ModelFacts& facts) {
  const std::string text = readBeginning(folder / "config.json", kMaximumConfig);
  // The depth is what costs memory, and no setting lies deeper than this.
  const json config =
      json::parse(text, [](int depth, json::parse_event_t, json&) { return depth < 16; }, false);
  if (!config.is_object()) return;
  const json& settings =
      config.contains("text_config") && config["text_config"].is_object() ? config["text_config"] : config;
  if (config.contains("model_type") && config["model_type"].is_string())
    facts.architecture = config["model_type"].get<std::string>();
  facts.layers = firstNumber(settings, {"num_hidden_layers", "n_layers", "n_layer", "num_layers"});
  facts.context =
      firstNumber(settings, {"max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx"});
  if (facts.architecture == kAcceptanceArchitecture) {
    facts.capabilities = capabilitiesOf({.architecture = facts.architecture});
  } else if (const auto described = architectureFromConfig(text, "config.json")) {
    facts.capabilities = transformerCapabilities(described->config.architecture, described->config.diffusion);
  }
}

Result<ModelFacts> safetensorsFacts(const std::string& path) {
  std::error_code error;
  const fs::path folder = fs::is_directory(path, error) ? fs::path(path) : fs::path(path).parent_path();
  DECOSCOPE_ASSIGN(const auto files, weightFiles(path));
  ModelFacts facts;
  facts.format = "safetensors";
  Census census;
  for (const std::string& name : files) {
    DECOSCOPE_ASSIGN(const auto file, MappedFile::open(name));
    facts.bytes += static_cast<std::int64_t>(file->bytes().size());
    DECOSCOPE_ASSIGN(const auto tensors, readSafetensors(*file));
    census.add(tensors);
  }
  census.tell(facts);
  readConfig(folder, facts);
  facts.licence = readmeLicence(folder / "README.md");
  facts.tokenizer = tokenizerKind(folder.string());
  return facts;
}

}  // namespace

Result<ModelFacts> modelFacts(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return fail(ErrorCode::notFound, "there is no such file", path);
  if (isGgufFile(path)) return ggufFacts(path);
  if (!fs::is_directory(path, error) && !path.ends_with(".safetensors")) {
    // For its words: it is neither, and says which one it might be.
    DECOSCOPE_TRY(openWeights(path));
  }
  return safetensorsFacts(path);
}

}  // namespace decoscope
