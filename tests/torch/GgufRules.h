// A tiny checkpoint as a GGUF, by the rules of reference/gguf/rules.json (which explains them). The same as
// reference/make-gguf.py writes, which was held against what ggml's converter does.
#pragma once

#include <algorithm>
#include <map>
#include <regex>
#include <sstream>

#include "tests/torch/Reference.h"
#include "tests/weights/Files.h"

namespace decoscope {

struct GgufContents {
  std::vector<std::pair<std::string, GgufValue>> metadata;
  std::vector<GgufTensor> tensors;

  // The key without the architecture's prefix, or behind '/' as it is; a new one is added, an old one
  // changed.
  void set(const std::string& key, GgufValue value) {
    const std::string full = fullKey(key);
    for (auto& [name, old] : metadata)
      if (name == full) return void(old = std::move(value));
    metadata.emplace_back(full, std::move(value));
  }
  void remove(const std::string& key) {
    std::erase_if(metadata, [full = fullKey(key)](const auto& entry) { return entry.first == full; });
  }
  GgufTensor take(const std::string& name) {
    const auto found =
        std::find_if(tensors.begin(), tensors.end(), [&](const GgufTensor& t) { return t.name == name; });
    if (found == tensors.end()) return {};
    GgufTensor tensor = std::move(*found);
    tensors.erase(found);
    return tensor;
  }

 private:
  std::string fullKey(const std::string& key) const {
    if (key.starts_with('/')) return key.substr(1);
    return std::get<std::string>(metadata.front().second) + "." + key;
  }
};

class GgufRules {
 public:
  explicit GgufRules(const nlohmann::json& document)
      : config_(document["config"]), shapes_(document["tensors"]) {
    rotation_ = config_.value("rope_parameters", nlohmann::json::object());
    if (rotation_.contains("full_attention")) rotation_ = nlohmann::json(rotation_["full_attention"]);
    scaling_ = rotation_.value("rope_type", "default");
    heads_ = first("num_attention_heads|n_head|n_heads");
    const auto size = first("head_dim");
    headSize_ = size.is_null() ? first("hidden_size|n_embd|d_model").get<std::int64_t>() / heads_
                               : size.get<std::int64_t>();
    const auto keyValueHeads = first("num_kv_heads|num_key_value_heads|n_kv_heads");
    keyValueHeads_ = keyValueHeads.is_null() ? heads_ : keyValueHeads.get<std::int64_t>();
    if (config_["model_type"] == "falcon" && !config_["new_decoder_architecture"].get<bool>())
      keyValueHeads_ = config_["multi_query"].get<bool>() ? 1 : heads_;
  }

  GgufContents contents() const {
    const nlohmann::json rules = referenceOf("gguf/rules.json");
    const Family family = familyOf(rules["families"], config_["model_type"]);
    GgufContents result;
    result.metadata.emplace_back("general.architecture", family.architecture);
    for (const nlohmann::json& entry : family.metadata) {
      const nlohmann::json value = valueOf(entry[1], entry[2]);
      if (!value.is_null()) result.set(entry[0], typed(entry[1], value));
    }
    std::map<std::string, std::map<int, Values>> stacks;
    for (const auto& [source, shape] : shapes_.items()) {
      static const std::regex kNumber("\\.([0-9]+)(?=\\.|$)");
      const std::string suffix = source.ends_with(".weight") ? ".weight"
                                 : source.ends_with(".bias") ? ".bias"
                                                             : "";
      std::string pattern = source.substr(0, source.size() - suffix.size());
      std::vector<std::string> numbers;
      for (std::smatch match; numbers.size() < 2 && std::regex_search(pattern, match, kNumber);) {
        numbers.push_back(match[1]);
        pattern = match.prefix().str() + (numbers.size() == 1 ? ".{}" : ".{e}") + match.suffix().str();
      }
      const Values values{shape, weightsOf(source, shape)};
      const nlohmann::json& rule = family.tensors.at(pattern);
      for (std::size_t i = 0; i + 1 < rule.size(); i += 2) {
        std::string target = rule[i].get<std::string>() + suffix;
        if (const auto at = target.find("{}"); at != std::string::npos) target.replace(at, 2, numbers.at(0));
        if (rule[i + 1] == "stack")
          stacks[target][std::stoi(numbers.at(1))] = values;
        else
          result.tensors.push_back(tensorOf(target, transformed(values, rule[i + 1])));
      }
    }
    for (const auto& [target, parts] : stacks) {
      Values stack;
      for (const auto& [number, part] : parts) {
        stack.shape = part.shape;
        stack.numbers.insert(stack.numbers.end(), part.numbers.begin(), part.numbers.end());
      }
      stack.shape.insert(stack.shape.begin(), static_cast<std::int64_t>(parts.size()));
      result.tensors.push_back(tensorOf(target, stack));
    }
    addFactors(result);
    return result;
  }

 private:
  struct Family {
    std::string architecture;
    nlohmann::json metadata = nlohmann::json::array(), tensors = nlohmann::json::object();
  };
  struct Values {
    std::vector<std::int64_t> shape;  // row-major
    std::vector<float> numbers;
  };

  static Family familyOf(const nlohmann::json& families, const std::string& name) {
    const nlohmann::json& own = families.at(name);
    Family family = own.contains("extends") ? familyOf(families, own["extends"]) : Family();
    family.architecture = own.value("architecture", std::string());
    for (const nlohmann::json& entry : own["metadata"]) family.metadata.push_back(entry);
    family.tensors.update(own["tensors"]);
    return family;
  }

  // The first field of the alternatives that is set; null if none is.
  nlohmann::json first(const std::string& alternatives) const {
    std::stringstream list(alternatives);
    for (std::string path; std::getline(list, path, '|');) {
      std::stringstream steps(path);
      nlohmann::json value = config_;
      for (std::string step; std::getline(steps, step, '.');)
        value = step == "rope"                              ? rotation_
                : value.is_object() && value.contains(step) ? nlohmann::json(value[step])
                                                            : nlohmann::json();
      if (!value.is_null()) return value;
    }
    return {};
  }

  nlohmann::json derived(const std::string& name) const {
    const bool yarn = scaling_ == "yarn", stretched = yarn || scaling_ == "linear";
    if (name == "headSize") return headSize_;
    if (name == "keyValueHeads") return keyValueHeads_;
    if (name == "rotated")
      return static_cast<std::int64_t>(static_cast<double>(headSize_) *
                                       rotation_.value("partial_rotary_factor", 1.0));
    if (name == "scaling") return stretched ? nlohmann::json(scaling_) : nlohmann::json();
    if (name == "scalingFactor") return stretched ? rotation_["factor"] : nlohmann::json();
    if (name == "yarnContext") return yarn ? rotation_["original_max_position_embeddings"] : nlohmann::json();
    if (name == "windowed") {
      nlohmann::json flags = nlohmann::json::array();
      for (const nlohmann::json& kind : config_["layer_types"]) flags.push_back(kind == "sliding_attention");
      return flags;
    }
    if (name == "longropeAttention" && scaling_ == "longrope") {
      const double original = rotation_["original_max_position_embeddings"];
      const double stretch = config_["max_position_embeddings"].get<double>() / original;
      return stretch > 1 ? std::sqrt(1 + std::log(stretch) / std::log(original)) : 1.0;
    }
    return {};
  }

  nlohmann::json valueOf(const std::string& kind, const nlohmann::json& rule) const {
    if (kind == "text" || !rule.is_string()) return rule;
    const std::string text = rule;
    return text.starts_with("=") ? derived(text.substr(1)) : first(text);
  }

  static GgufValue typed(const std::string& kind, const nlohmann::json& value) {
    if (kind == "u32") return value.get<std::uint32_t>();
    if (kind == "f32") return value.get<float>();
    if (kind == "bool") return value.get<bool>();
    if (kind == "bools") return value.get<std::vector<bool>>();
    return value.get<std::string>();
  }

  // The numbers in another order: element `to` is the old element from(to).
  template <typename From>
  static Values reordered(const Values& values, std::vector<std::int64_t> shape, From from) {
    Values result{std::move(shape), {}};
    std::int64_t count = 1;
    for (const std::int64_t extent : result.shape) count *= extent;
    for (std::int64_t to = 0; to < count; ++to)
      result.numbers.push_back(values.numbers.at(static_cast<std::size_t>(from(to))));
    return result;
  }

  template <typename From>
  static Values withRows(const Values& values, From from) {
    const std::int64_t row = static_cast<std::int64_t>(values.numbers.size()) / values.shape[0];
    return reordered(values, values.shape, [&](std::int64_t to) { return from(to / row) * row + to % row; });
  }

  static Values transposed(const Values& values) {  // of the last two dimensions
    if (values.shape.size() < 2) return values;
    std::vector<std::int64_t> shape = values.shape;
    std::swap(shape.end()[-1], shape.end()[-2]);
    const std::int64_t rows = shape.end()[-2], columns = shape.end()[-1];
    return reordered(values, shape, [&](std::int64_t to) {
      const std::int64_t within = to % (rows * columns);
      return to - within + within % columns * rows + within / columns;
    });
  }

  // Every second one, from `begin` on, of the last dimension.
  static Values everySecond(const Values& values, std::int64_t begin) {
    std::vector<std::int64_t> shape = values.shape;
    shape.back() /= 2;
    return reordered(values, shape, [&](std::int64_t to) { return 2 * to + begin; });
  }

  Values transformed(const Values& values, const std::string& how) const {
    if (how == "plus one") {
      Values result = values;
      for (float& number : result.numbers) number += 1;
      return result;
    }
    if (how == "query pairs" || how == "key pairs")
      return withRows(values, [&](std::int64_t row) {
        const std::int64_t within = row % headSize_;
        return row - within + within % 2 * (headSize_ / 2) + within / 2;
      });
    if (how == "ungroup") {
      const std::int64_t share = heads_ / keyValueHeads_;
      return withRows(values, [&](std::int64_t row) {
        std::int64_t head = row / headSize_, place = head / share * (share + 2) + head % share;
        for (std::int64_t which = 0; which < 2; ++which)
          if (const std::int64_t own = head - heads_ - which * keyValueHeads_; own >= 0)
            place = own * (share + 2) + share + which;
        return place * headSize_ + row % headSize_;
      });
    }
    if (how == "transpose") return transposed(values);
    if (how == "even" || how == "odd") return everySecond(values, how == "odd");
    if (how == "transposed even" || how == "transposed odd")
      return transposed(everySecond(values, how == "transposed odd"));
    return values;
  }

  static GgufTensor tensorOf(const std::string& name, const Values& values) {
    GgufTensor tensor{name, 0, {values.shape.rbegin(), values.shape.rend()}, {}};
    tensor.bytes.assign(reinterpret_cast<const char*>(values.numbers.data()), values.numbers.size() * 4);
    return tensor;
  }

  void addFactors(GgufContents& contents) const {
    const auto add = [&](const std::string& name, const std::vector<float>& factors) {
      contents.tensors.push_back(tensorOf(name, {{static_cast<std::int64_t>(factors.size())}, factors}));
    };
    if (scaling_ == "longrope")
      for (const char* length : {"long", "short"})
        add(std::string("rope_factors_") + length + ".weight",
            rotation_[std::string(length) + "_factor"].get<std::vector<float>>());
    if (scaling_ != "llama3") return;
    const double low = rotation_["low_freq_factor"], high = rotation_["high_freq_factor"],
                 original = rotation_["original_max_position_embeddings"], factor = rotation_["factor"];
    std::vector<float> factors;
    for (std::int64_t i = 0; i < headSize_; i += 2) {
      const double wavelength = 2 * M_PI *
                                std::pow(rotation_["rope_theta"].get<double>(),
                                         static_cast<double>(i) / static_cast<double>(headSize_));
      const double smooth = std::clamp((original / wavelength - low) / (high - low), 0.0, 1.0);
      factors.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
    }
    add("rope_freqs.weight", factors);
  }

  nlohmann::json config_, shapes_, rotation_;
  std::string scaling_;
  std::int64_t heads_ = 0, headSize_ = 0, keyValueHeads_ = 0;
};

}  // namespace decoscope
