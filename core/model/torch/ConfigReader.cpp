#include "core/model/torch/ConfigReader.h"

#include <algorithm>

namespace decoscope {

using nlohmann::json;

namespace {
constexpr std::int64_t kLargest = 1 << 30;
}

ConfigReader::ConfigReader(const json& document, std::string where)
    : document_(document), where_(std::move(where)) {}

void ConfigReader::report(Error error) const {
  if (status_) status_ = tl::unexpected(std::move(error));
}

const json* ConfigReader::find(const char* key) const {
  const auto found = document_.find(key);
  return found == document_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const char* key) const {
  return find(key) != nullptr;
}

bool ConfigReader::mentions(const char* key) const {
  return document_.contains(key);
}

int ConfigReader::integer(const char* key, std::optional<int> fallback) const {
  const json* value = find(key);
  if (!value) {
    if (!fallback)
      report({ErrorCode::badInput, std::string("the field '") + key + "' is missing", where_, {}});
    return fallback.value_or(0);
  }
  if (!value->is_number_integer() || value->get<std::int64_t>() < 0 ||
      value->get<std::int64_t>() > kLargest) {
    report({ErrorCode::badInput,
            std::string("the field '") + key + "' is not a sensible whole number",
            where_,
            {}});
    return fallback.value_or(0);
  }
  return value->get<int>();
}

int ConfigReader::layers(const char* key) const {
  const int count = integer(key);
  if (count <= kLargestLayerCount) return count;
  report({ErrorCode::badInput,
          std::string("the field '") + key + "' names " + std::to_string(count) + " layers, more than " +
              std::to_string(kLargestLayerCount),
          where_,
          {}});
  return 0;
}

double ConfigReader::real(const char* key, double fallback) const {
  const json* value = find(key);
  return value && value->is_number() ? value->get<double>() : fallback;
}

bool ConfigReader::boolean(const char* key, bool fallback) const {
  const json* value = find(key);
  return value && value->is_boolean() ? value->get<bool>() : fallback;
}

std::string ConfigReader::text(const char* key, std::string fallback) const {
  const json* value = find(key);
  return value && value->is_string() ? value->get<std::string>() : fallback;
}

std::vector<float> ConfigReader::reals(const char* key) const {
  std::vector<float> values;
  if (const json* list = array(key))
    for (const json& value : *list)
      if (value.is_number()) values.push_back(value.get<float>());
  return values;
}

const json* ConfigReader::array(const char* key) const {
  const json* value = find(key);
  return value && value->is_array() ? value : nullptr;
}

const json* ConfigReader::object(const char* key) const {
  const json* value = find(key);
  return value && value->is_object() ? value : nullptr;
}

void GgufReader::report(Error error) const {
  if (status_) status_ = tl::unexpected(std::move(error));
}

int GgufReader::integer(const std::string& key, int fallback) const {
  const std::vector<std::int64_t> list = integers(key);
  const std::int64_t value = list.empty() ? fallback : list.front();
  return static_cast<int>(std::clamp<std::int64_t>(value, 0, kLargest));
}

bool GgufReader::boolean(const std::string& key, bool fallback) const {
  const auto found = file_.metadata().find(prefix_ + key);
  const bool* value = found == file_.metadata().end() ? nullptr : std::get_if<bool>(&found->second);
  return value ? *value : fallback;
}

std::vector<std::int64_t> GgufReader::integers(const std::string& key) const {
  const auto found = file_.metadata().find(prefix_ + key);
  if (found == file_.metadata().end()) return {};
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&found->second)) return *list;
  constexpr std::int64_t kAbsent = INT64_MIN;
  const std::int64_t value = file_.integer(prefix_ + key, kAbsent);
  return value == kAbsent ? std::vector<std::int64_t>() : std::vector<std::int64_t>{value};
}

std::vector<bool> GgufReader::flags(const std::string& key) const {
  std::vector<bool> values;
  for (const std::int64_t value : integers(key)) values.push_back(value != 0);
  return values;
}

}  // namespace decoscope
