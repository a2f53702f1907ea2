#include "core/model/ModelLoader.h"

#include <filesystem>

#include "core/model/AcceptanceHead.h"
#include "core/model/Catalog.h"
#include "core/model/GgufTokenizer.h"
#include "core/model/scripted/TableModel.h"
#include "core/model/weights/WeightFile.h"
#ifdef DECOSCOPE_WITH_TORCH
#include "core/model/torch/TransformerModel.h"
#endif

namespace decoscope {

namespace {

constexpr const char* kTable = "table:";

Status checkRemote(const std::string& name) {
  if (name.starts_with("http://") || name.starts_with("https://"))
    return fail(ErrorCode::unsupported, "models behind a URL are not supported yet", name,
                "Name a GGUF file, a Hugging Face folder or table:FILE.json.");
  return {};
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> loadModelTokenizer(const std::string& name) {
  DECOSCOPE_TRY(checkRemote(name));
  if (name.starts_with(kTable)) {
    DECOSCOPE_ASSIGN(TableModelParts parts, loadTableModel(name.substr(6)));
    return parts.tokenizer;
  }
  DECOSCOPE_ASSIGN(const std::string path, resolveModel(name));
  if (!isGgufFile(path))
    return loadTokenizer(path.ends_with(".safetensors") ? std::filesystem::path(path).parent_path().string()
                                                        : path);
  DECOSCOPE_ASSIGN(const auto weights, openWeights(path));
  return tokenizerFromGguf(*weights);
}

Result<ModelInfo> describeModel(const std::string& name) {
  DECOSCOPE_TRY(checkRemote(name));
  if (name.starts_with(kTable)) {
    DECOSCOPE_ASSIGN(const TableModelParts parts, loadTableModel(name.substr(6)));
    return parts.model->info();
  }
  DECOSCOPE_ASSIGN(const std::string path, resolveModel(name));
  if (!isGgufFile(path) && isAcceptanceHead(path)) return describeAcceptanceHead(path);
#ifdef DECOSCOPE_WITH_TORCH
  DECOSCOPE_ASSIGN(const auto weights, openWeights(path));
  return describeTransformer(*weights, path);
#else
  return fail(ErrorCode::unsupported, "this build has no libtorch backend", path,
              "Only table models run here.");
#endif
}

Capabilities capabilitiesOf(const ModelInfo& info) {
  const bool diffusion = info.maskToken >= 0, net = info.format != "table";
  Capabilities can;
  if (info.architecture == kAcceptanceArchitecture) {
    can.causal = can.trees = false;
    return can;
  }
  can.causal = can.trees = !diffusion;
  can.maskedDiffusion = diffusion;
  can.earlyExit = net && !diffusion;
  can.hiddenStates = can.interventions = net;
  can.followsFeatures = info.architecture == "eagle";
  return can;
}

Result<LoadedModel> loadModel(const std::string& name, const LoadOptions& options, const StopToken& stop) {
  DECOSCOPE_TRY(checkRemote(name));
  if (name.starts_with(kTable)) {
    DECOSCOPE_ASSIGN(TableModelParts parts, loadTableModel(name.substr(6)));
    return LoadedModel{std::move(parts.model), std::move(parts.tokenizer)};
  }
  DECOSCOPE_ASSIGN(const std::string path, resolveModel(name));
  if (!isGgufFile(path) && isAcceptanceHead(path)) {
    DECOSCOPE_ASSIGN(auto head, loadAcceptanceHead(path));
    return LoadedModel{std::move(head), nullptr};
  }
#ifdef DECOSCOPE_WITH_TORCH
  DECOSCOPE_ASSIGN(auto weights, openWeights(path));
  LoadedModel loaded;
  if (isGgufFile(path)) {
    DECOSCOPE_ASSIGN(loaded.tokenizer, tokenizerFromGguf(*weights));
  } else if (auto tokenizer = loadModelTokenizer(path)) {
    loaded.tokenizer = std::move(*tokenizer);
  } else {
    // A draft head has its target's tokenizer.
    DECOSCOPE_ASSIGN(const ModelInfo info, describeTransformer(*weights, path));
    if (!capabilitiesOf(info).followsFeatures) return tl::unexpected<Error>(tokenizer.error());
  }
  DECOSCOPE_ASSIGN(loaded.model, loadTransformer(std::move(weights), path, options, stop));
  return loaded;
#else
  (void)options;
  (void)stop;
  return fail(ErrorCode::unsupported, "this build has no libtorch backend", path,
              "Only table models run here; build with -DDECOSCOPE_WITH_TORCH=ON.");
#endif
}

}  // namespace decoscope
