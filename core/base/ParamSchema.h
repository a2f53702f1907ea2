// Typed, ranged, documented parameters. A method declares a schema; its form in the window, its `--set`
// options and its documentation row are made from it, and nothing else knows its parameters.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

enum class ParamType { boolean, integer, real, choice, text };
const char* paramTypeName(ParamType type);

using ParamValue = std::variant<bool, std::int64_t, double, std::string>;
// The text form of a value; reals with the fewest digits that read back to the same number.
std::string paramText(const ParamValue& value);

struct ParamSpec {
  std::string name;   // as in `--set name=value`: lower case, underscores
  std::string title;  // as in a form
  ParamType type = ParamType::real;
  ParamValue defaultValue = 0.0;
  double minimum = 0, maximum = 0;   // inclusive; for integer and real
  std::vector<std::string> choices;  // for choice
  std::string unit;                  // "tokens", "nats", … or empty
  std::string help;                  // one or two sentences
};

// A complete, checked assignment: every parameter of its schema has a value.
class ParamSet {
 public:
  bool boolean(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  const std::string& text(std::string_view name) const;  // choice and text
  bool has(std::string_view name) const;
  const std::map<std::string, ParamValue, std::less<>>& values() const { return values_; }
  // Sets without a check: for readers that restore a recorded set. Forms and options go through ParamSchema.
  void set(std::string name, ParamValue value) {
    values_.insert_or_assign(std::move(name), std::move(value));
  }
  bool operator==(const ParamSet&) const = default;

 private:
  std::map<std::string, ParamValue, std::less<>> values_;
};

class ParamSchema {
 public:
  ParamSchema() = default;
  explicit ParamSchema(std::vector<ParamSpec> specs) : specs_(std::move(specs)) {}
  // This schema followed by another's parameters that it does not have yet.
  ParamSchema with(const ParamSchema& more) const;

  std::span<const ParamSpec> specs() const { return specs_; }
  const ParamSpec* find(std::string_view name) const;
  ParamSet defaults() const;
  // Checks one value given as text. Errors: usage, naming the parameter, its range and its known neighbours.
  Result<ParamValue> parse(std::string_view name, std::string_view value) const;
  // Defaults overlaid with "name=value" assignments, the later winning.
  Result<ParamSet> parse(std::span<const std::string> assignments) const;
  // The same over a base set; parameters of `base` that this schema lacks are dropped.
  Result<ParamSet> parse(const ParamSet& base, std::span<const std::string> assignments) const;

 private:
  std::vector<ParamSpec> specs_;
};

}  // namespace decoscope
