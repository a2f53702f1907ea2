// Typed access to config.json and to GGUF metadata, with errors that name the field. The first error is kept
// and every later read gives its fallback, so that a description reads as a list and is checked once.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

constexpr int kLargestLayerCount = 4096;

// One JSON object; must outlive the reader.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& document, std::string where);

  bool has(const char* key) const;       // present and not null
  bool mentions(const char* key) const;  // present, perhaps null
  // Sizes: 0 … 2^30. Without a fallback the field must be there.
  int integer(const char* key, std::optional<int> fallback = {}) const;
  // The number of layers, which must be sensible before anything is said of each of them.
  int layers(const char* key) const;
  double real(const char* key, double fallback) const;
  bool boolean(const char* key, bool fallback) const;
  std::string text(const char* key, std::string fallback = {}) const;
  std::vector<float> reals(const char* key) const;
  const nlohmann::json* array(const char* key) const;
  const nlohmann::json* object(const char* key) const;

  const nlohmann::json& document() const { return document_; }
  const std::string& where() const { return where_; }
  void report(Error error) const;  // keeps the first
  const Status& status() const { return status_; }

 private:
  const nlohmann::json* find(const char* key) const;
  const nlohmann::json& document_;
  std::string where_;
  mutable Status status_;
};

// The metadata of one GGUF; keys are given without the architecture's prefix.
class GgufReader {
 public:
  GgufReader(const WeightFile& file, std::string architecture)
      : file_(file), prefix_(std::move(architecture) + ".") {}
  bool has(const std::string& key) const { return file_.metadata().contains(prefix_ + key); }
  bool hasTensor(const std::string& name) const { return file_.find(name) != nullptr; }
  int integer(const std::string& key, int fallback) const;
  double real(const std::string& key, double fallback) const { return file_.real(prefix_ + key, fallback); }
  bool boolean(const std::string& key, bool fallback) const;
  std::string text(const std::string& key) const { return file_.text(prefix_ + key); }
  // A list, or one number that stands for every layer.
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::vector<bool> flags(const std::string& key) const;
  std::string field(const std::string& key) const { return file_.path() + ", field " + prefix_ + key; }
  const WeightFile& file() const { return file_; }
  void report(Error error) const;  // keeps the first
  const Status& status() const { return status_; }

 private:
  const WeightFile& file_;
  std::string prefix_;
  mutable Status status_;
};

}  // namespace decoscope
