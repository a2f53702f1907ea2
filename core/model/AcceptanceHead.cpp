#include "core/model/AcceptanceHead.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/Files.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kLargestConfig = 1 << 20;
constexpr int kMostBlocks = 64, kClasses = 2;

struct Layer {
  int outputs = 0, inputs = 0;
  std::vector<float> weight, bias;
};

fs::path folderOf(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? fs::path(path) : fs::path(path).parent_path();
}

json parsed(const std::string& config) {
  return json::parse(config, [](int depth, json::parse_event_t, json&) { return depth < 16; }, false);
}

std::string configOf(const std::string& path) {
  return readBeginning(folderOf(path) / "config.json", kLargestConfig);
}

Result<AcceptanceShape> shapeOf(const std::string& path) {
  return acceptanceShape(configOf(path), (folderOf(path) / "config.json").string());
}

// The shape is held against the file before anything is allocated.
Result<std::vector<float>> valuesOf(const WeightFile& file, const std::string& name,
                                    const std::vector<std::int64_t>& shape) {
  const WeightTensor* tensor = file.find(name);
  if (!tensor || tensor->shape != shape)
    return fail(
        ErrorCode::badInput,
        "tensor '" + name + (tensor ? "' has another shape than the configuration says" : "' is missing"),
        file.path());
  std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
  DECOSCOPE_TRY(dequantise(*tensor, 0, values));
  return values;
}

Result<Layer> layerOf(const WeightFile& file, const std::string& name, int outputs, int inputs) {
  Layer layer{outputs, inputs, {}, {}};
  DECOSCOPE_ASSIGN(layer.weight, valuesOf(file, name + ".weight", {outputs, inputs}));
  DECOSCOPE_ASSIGN(layer.bias, valuesOf(file, name + ".bias", {outputs}));
  return layer;
}

ModelInfo infoOf(const std::string& path, const AcceptanceShape& shape, const WeightFile& file) {
  ModelInfo info;
  info.name = folderOf(path).filename().string();
  info.path = path;
  info.architecture = kAcceptanceArchitecture;
  info.format = file.format();
  info.dtype = "f32";
  info.device = "cpu";
  info.layers = shape.blocks;
  info.width = info.inner = shape.width;
  info.contextLength = 1 << 30;
  info.vocabularySize = kClasses;
  for (const WeightTensor& tensor : file.tensors()) {
    info.parameters += tensor.elements();
    info.fileType = tensor.typeName;
    const bool classifier = tensor.name.starts_with("classifier.");
    info.tensors.push_back({tensor.name,
                            std::string(classifier ? "classifier" : "residual block") +
                                (tensor.name.ends_with(".bias") ? ", bias" : ""),
                            tensor.typeName, tensor.shape});
  }
  info.bytes = info.parameters * static_cast<std::int64_t>(sizeof(float));
  return info;
}

class ClassLogits final : public Logits {
 public:
  explicit ClassLogits(std::vector<float> values) : values_(std::move(values)) {}
  int rows() const override { return static_cast<int>(values_.size()) / kClasses; }
  int vocabularySize() const override { return kClasses; }
  std::span<const float> row(int index) const override {
    return std::span(values_).subspan(static_cast<std::size_t>(index) * kClasses, kClasses);
  }

 private:
  std::vector<float> values_;
};

class AcceptanceHead final : public Model {
 public:
  AcceptanceHead(ModelInfo info, std::vector<Layer> blocks, int passes, Layer classifier)
      : info_(std::move(info)),
        blocks_(std::move(blocks)),
        passes_(passes),
        classifier_(std::move(classifier)) {}
  const ModelInfo& info() const override { return info_; }
  Capabilities capabilities() const override {
    Capabilities can;
    can.causal = can.trees = false;
    return can;
  }
  int cached() const override { return 0; }
  std::int64_t memoryBytes() const override { return info_.bytes; }
  Status retain(int prefix, std::span<const std::int32_t> slots) override {
    return prefix == 0 && slots.empty() ? Status()
                                        : fail(ErrorCode::usage, "cannot retain more than is cached");
  }
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    const auto start = std::chrono::steady_clock::now();
    const auto width = static_cast<std::size_t>(info_.width);
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (request.tokens.empty() || request.inputs.size() != request.tokens.size() * width)
      return fail(ErrorCode::usage,
                  "an acceptance head needs a state of width " + std::to_string(width) + " a token",
                  info_.name);
    if (!request.taps.empty() || !request.interventions.empty() || request.lastLayer > 0)
      return fail(ErrorCode::unsupported, "an acceptance head cannot be watched or changed", info_.name);
    std::vector<float> values;
    for (const std::int32_t row : request.logitRows) {
      if (row < 0 || static_cast<std::size_t>(row) >= request.tokens.size())
        return fail(ErrorCode::usage, "there is no row " + std::to_string(row));
      const auto first =
          request.inputs.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * width);
      std::vector<float> state(first, first + static_cast<std::ptrdiff_t>(width));
      for (int pass = 0; pass < passes_; ++pass) {
        const auto change =
            apply(blocks_[std::min(static_cast<std::size_t>(pass), blocks_.size() - 1)], state);
        for (std::size_t i = 0; i < width; ++i) state[i] += change[i] / (1 + std::exp(-change[i]));
      }
      const auto classes = apply(classifier_, state);
      values.insert(values.end(), classes.begin(), classes.end());
    }
    ForwardOutput output;
    if (!values.empty()) output.logits = std::make_unique<ClassLogits>(std::move(values));
    output.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return output;
  }

 private:
  static std::vector<float> apply(const Layer& layer, const std::vector<float>& x) {
    std::vector<float> out = layer.bias;
    for (std::size_t o = 0; o < out.size(); ++o) {
      const float* row = layer.weight.data() + o * x.size();
      float sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) sum += row[i] * x[i];
      out[o] += sum;
    }
    return out;
  }

  ModelInfo info_;
  std::vector<Layer> blocks_;  // the one that all passes share, or one a pass
  int passes_;
  Layer classifier_;
};

}  // namespace

Result<AcceptanceShape> acceptanceShape(const std::string& text, const std::string& where) {
  const json config = parsed(text);
  const auto integer = [&](const char* key, std::int64_t most) -> Result<int> {
    const auto found = config.find(key);
    if (found == config.end() || !found->is_number_integer() || found->get<std::int64_t>() < 0 ||
        found->get<std::int64_t>() > most)
      return fail(ErrorCode::badInput, "a whole number up to " + std::to_string(most) + " is needed",
                  where + ", field " + key);
    return found->get<int>();
  };
  AcceptanceShape shape;
  DECOSCOPE_ASSIGN(shape.width, integer("hidden_size", 1 << 20));
  DECOSCOPE_ASSIGN(shape.blocks, integer("num_blocks", kMostBlocks));
  shape.shared = config.contains("shared_blocks") && config["shared_blocks"] == true;
  if (shape.width == 0)
    return fail(ErrorCode::badInput, "the width must be positive", where + ", field hidden_size");
  return shape;
}

bool isAcceptanceHead(const std::string& path) {
  const json config = parsed(configOf(path));
  return config.is_object() && config.contains("model_type") &&
         config["model_type"] == kAcceptanceArchitecture;
}

Result<ModelInfo> describeAcceptanceHead(const std::string& path) {
  DECOSCOPE_ASSIGN(const AcceptanceShape shape, shapeOf(path));
  DECOSCOPE_ASSIGN(const auto file, openWeights(path));
  return infoOf(path, shape, *file);
}

Result<std::unique_ptr<Model>> loadAcceptanceHead(const std::string& path) {
  DECOSCOPE_ASSIGN(const AcceptanceShape shape, shapeOf(path));
  DECOSCOPE_ASSIGN(const auto file, openWeights(path));
  std::vector<Layer> blocks;
  for (int i = 0; i < shape.stored(); ++i) {
    DECOSCOPE_ASSIGN(Layer block, layerOf(*file, "blocks." + std::to_string(i), shape.width, shape.width));
    blocks.push_back(std::move(block));
  }
  DECOSCOPE_ASSIGN(Layer classifier, layerOf(*file, "classifier", kClasses, shape.width));
  ModelInfo info = infoOf(path, shape, *file);
  DECOSCOPE_ASSIGN(info.fingerprint, fileDigest(path));
  return std::unique_ptr<Model>(std::make_unique<AcceptanceHead>(std::move(info), std::move(blocks),
                                                                 shape.blocks, std::move(classifier)));
}

}  // namespace decoscope
