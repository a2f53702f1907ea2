#include "core/train/nets/Checkpoint.h"

#include <filesystem>
#include <fstream>

#include "core/model/weights/SafetensorsWriter.h"
#include "core/train/nets/StoredTensor.h"

namespace decoscope::train {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

std::vector<float> valuesOf(const Tensor& tensor) {
  const Tensor host = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  return {host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel()};
}

Status take(const WeightFile& file, const std::string& name, Tensor& into) {
  const WeightTensor* tensor = file.find(name);
  if (!tensor || tensor->shape != into.sizes().vec())
    return fail(ErrorCode::badInput, "the checkpoint has no fitting '" + name + "'", file.path(),
                "Start without --resume.");
  const c10::NoGradGuard guard;
  DECOSCOPE_ASSIGN(const Tensor values, hostValuesOf(*tensor));
  into.copy_(values);
  return {};
}

// The characters of a text as numbers, because a safetensors file's notes are not read back.
std::vector<std::int64_t> mark(const std::string& fingerprint) {
  return {fingerprint.begin(), fingerprint.end()};
}

Status writeText(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail(ErrorCode::failed, "the file could not be written", path.string());
  return {};
}

}  // namespace

Status writeCheckpoint(const std::string& path, const ParameterSet& net, Optimiser& optimiser,
                       const Progress& progress, const std::string& fingerprint) {
  SafetensorsWriter writer;
  for (const Parameter& parameter : net.parameters())
    if (parameter.value.requires_grad())
      writer.add("weight." + parameter.name, parameter.value.sizes().vec(), valuesOf(parameter.value));
  for (const Optimiser::Slot& slot : optimiser.slots()) {
    writer.add("first." + slot.name, slot.first.sizes().vec(), valuesOf(slot.first));
    writer.add("second." + slot.name, slot.second.sizes().vec(), valuesOf(slot.second));
  }
  writer.add("step", {1}, std::vector<std::int64_t>{progress.step});
  writer.add("recipe", {static_cast<std::int64_t>(fingerprint.size())}, mark(fingerprint));
  return writer.write(path);
}

Result<Progress> readCheckpoint(const std::string& path, ParameterSet& net, Optimiser& optimiser,
                                const std::string& fingerprint) {
  DECOSCOPE_ASSIGN(const auto file, openWeights(path));
  const WeightTensor* recipe = file->find("recipe");
  const WeightTensor* step = file->find("step");
  std::vector<float> stored(recipe ? static_cast<std::size_t>(recipe->elements()) : 0);
  if (recipe) DECOSCOPE_TRY(dequantise(*recipe, 0, stored));
  const std::vector<std::int64_t> wanted = mark(fingerprint);
  if (!step || step->data.size() != sizeof(std::int64_t) ||
      !std::equal(stored.begin(), stored.end(), wanted.begin(), wanted.end()))
    return fail(ErrorCode::badInput, "the checkpoint belongs to another recipe or corpus", path,
                "Start without --resume, or restore the recipe.");
  for (Parameter& parameter : net.parameters())
    if (parameter.value.requires_grad())
      DECOSCOPE_TRY(take(*file, "weight." + parameter.name, parameter.value));
  for (Optimiser::Slot& slot : optimiser.slots()) {
    DECOSCOPE_TRY(take(*file, "first." + slot.name, slot.first));
    DECOSCOPE_TRY(take(*file, "second." + slot.name, slot.second));
  }
  Progress progress;
  std::copy_n(reinterpret_cast<const char*>(step->data.data()), sizeof progress.step,
              reinterpret_cast<char*>(&progress.step));
  return progress;
}

Status exportModel(const std::string& folder, const ParameterSet& net, const Recipe& recipe,
                   const std::string& tokenizer) {
  std::error_code error;
  fs::create_directories(folder, error);
  nlohmann::json config = recipe.shape;
  config["dtype"] = "bfloat16";
  DECOSCOPE_TRY(writeText(fs::path(folder) / "config.json", config.dump(2) + "\n"));
  SafetensorsWriter writer;
  writer.note("format", "pt");
  for (const Parameter& parameter : net.parameters())
    if (parameter.value.requires_grad())
      writer.addBfloat16(parameter.name, parameter.value.sizes().vec(), valuesOf(parameter.value));
  for (const auto& [name, numbers] : net.constants())
    writer.add(name, {static_cast<std::int64_t>(numbers.size())}, numbers);
  DECOSCOPE_TRY(writer.write((fs::path(folder) / "model.safetensors").string()));
  if (tokenizer.empty()) return {};
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    const fs::path source = fs::path(tokenizer) / name;
    if (!fs::exists(source, error)) continue;
    fs::copy_file(source, fs::path(folder) / name, fs::copy_options::overwrite_existing, error);
    if (error)
      return fail(ErrorCode::failed, "the tokenizer could not be copied: " + error.message(),
                  source.string());
  }
  return {};
}

}  // namespace decoscope::train
