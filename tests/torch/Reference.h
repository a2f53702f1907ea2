// The tiny checkpoints of reference/*.json (made by reference/make.py): their weights, written as a Hugging
// Face folder, and loaded.
#pragma once

#include <QString>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/model/torch/TransformerModel.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

inline nlohmann::json referenceOf(const std::string& name) {
  std::ifstream stream(std::string(DECOSCOPE_SOURCE_DIR "/tests/torch/reference/") + name);
  return nlohmann::json::parse(stream);
}

// The same numbers as weights.py makes.
inline std::vector<float> weightsOf(const std::string& name, const std::vector<std::int64_t>& shape) {
  std::uint64_t seed = 0xCBF29CE484222325;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  const bool norm = shape.size() == 1 && name.ends_with("weight");
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    z ^= z >> 31;
    const float u = static_cast<float>(z >> 40) * 0x1p-24f - 0.5f;
    values[i] = norm ? 1.0f + u * 0.5f : u * 0.5f;
  }
  return values;
}

inline void writeCheckpoint(const std::string& folder, const nlohmann::json& document) {
  std::ofstream(folder + "/config.json") << document["config"];
  nlohmann::json header = nlohmann::json::object();
  std::vector<float> data;
  for (const auto& [name, shape] : document["tensors"].items()) {
    const auto values = weightsOf(name, shape.get<std::vector<std::int64_t>>());
    header[name] = {{"dtype", "F32"},
                    {"shape", shape},
                    {"data_offsets", {data.size() * 4, (data.size() + values.size()) * 4}}};
    data.insert(data.end(), values.begin(), values.end());
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), 8);
  file.write(text.data(), static_cast<std::streamsize>(size));
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size() * 4));
}

// A byte-level tokenizer of the checkpoints' 64 tokens.
inline void writeTokenizer(const std::string& folder) {
  nlohmann::json vocabulary = nlohmann::json::object();
  for (int i = 0; i < 64; ++i) vocabulary[std::string(1, static_cast<char>('0' + i))] = i;
  const nlohmann::json document = {
      {"version", "1.0"},
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder", nullptr},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}}};
  std::ofstream(folder + "/tokenizer.json") << document;
}

inline std::unique_ptr<Model> load(const std::string& folder, const char* device, QString& problem,
                                   const char* dtype = "f32") {
  const auto weights = openWeights(folder);
  if (!weights) return problem = QString::fromStdString(weights.error().text()), nullptr;
  LoadOptions options;
  options.dtype = dtype;
  options.device = device;
  auto model = loadTransformer(*weights, folder, options, StopToken());
  if (!model) return problem = QString::fromStdString(model.error().text()), nullptr;
  return std::move(*model);
}

inline double deviation(const std::vector<float>& v) {
  double mean = 0, sum = 0;
  for (const float x : v) mean += x / static_cast<double>(v.size());
  for (const float x : v) sum += (x - mean) * (x - mean);
  return std::sqrt(sum / static_cast<double>(v.size()));
}

inline double largestDifference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    // A NaN is as far off as can be.
    largest = std::max(largest, std::isnan(a[i] - b[i]) ? INFINITY : std::abs(double{a[i]} - b[i]));
  return largest;
}

}  // namespace decoscope
