#include "core/base/ParamSchema.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

namespace decoscope {

namespace {

std::string realText(double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, result.ptr);
}

// Edits that turn one name into the other; for "did you mean".
std::size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j)
      diagonal = std::exchange(
          row[j], std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)}));
  }
  return row[b.size()];
}

tl::unexpected<Error> wrongValue(const ParamSpec& spec, std::string_view value, const std::string& expected) {
  return fail(ErrorCode::usage, "'" + std::string(value) + "' is not a value of " + spec.name,
              "parameter " + spec.name, "Expected " + expected + ".");
}

Result<ParamValue> parseNumber(const ParamSpec& spec, std::string_view value) {
  const bool whole = spec.type == ParamType::integer;
  const std::string expected = std::string(whole ? "a whole number" : "a number") + " from " +
                               realText(spec.minimum) + " to " + realText(spec.maximum);
  double number = 0;
  std::int64_t integer = 0;
  const char* end = value.data() + value.size();
  if (whole) {
    const auto result = std::from_chars(value.data(), end, integer);
    if (result.ec != std::errc() || result.ptr != end) return wrongValue(spec, value, expected);
    number = static_cast<double>(integer);
  } else {
    const auto result = std::from_chars(value.data(), end, number);
    if (result.ec != std::errc() || result.ptr != end || !std::isfinite(number))
      return wrongValue(spec, value, expected);
  }
  if (number < spec.minimum || number > spec.maximum)
    return fail(ErrorCode::usage, spec.name + " = " + std::string(value) + " is out of range",
                "parameter " + spec.name, "Expected " + expected + ".");
  return whole ? ParamValue(integer) : ParamValue(number);
}

const ParamValue& valueOf(const std::map<std::string, ParamValue, std::less<>>& values,
                          std::string_view name) {
  const auto found = values.find(name);
  // A parameter that the schema lacks is a programming error, not an input.
  if (found == values.end()) throw std::logic_error("no parameter " + std::string(name));
  return found->second;
}

}  // namespace

const char* paramTypeName(ParamType type) {
  switch (type) {
    case ParamType::boolean:
      return "boolean";
    case ParamType::integer:
      return "integer";
    case ParamType::real:
      return "real";
    case ParamType::choice:
      return "choice";
    case ParamType::text:
      return "text";
  }
  return "text";
}

std::string paramText(const ParamValue& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&value)) return realText(*real);
  return std::get<std::string>(value);
}

bool ParamSet::has(std::string_view name) const {
  return values_.find(name) != values_.end();
}
bool ParamSet::boolean(std::string_view name) const {
  return std::get<bool>(valueOf(values_, name));
}
std::int64_t ParamSet::integer(std::string_view name) const {
  return std::get<std::int64_t>(valueOf(values_, name));
}
double ParamSet::real(std::string_view name) const {
  return std::get<double>(valueOf(values_, name));
}
const std::string& ParamSet::text(std::string_view name) const {
  return std::get<std::string>(valueOf(values_, name));
}

ParamSchema ParamSchema::with(const ParamSchema& more) const {
  ParamSchema result = *this;
  for (const ParamSpec& spec : more.specs_)
    if (!result.find(spec.name)) result.specs_.push_back(spec);
  return result;
}

const ParamSpec* ParamSchema::find(std::string_view name) const {
  const auto found =
      std::find_if(specs_.begin(), specs_.end(), [&](const ParamSpec& spec) { return spec.name == name; });
  return found == specs_.end() ? nullptr : &*found;
}

ParamSet ParamSchema::defaults() const {
  ParamSet set;
  for (const ParamSpec& spec : specs_) set.set(spec.name, spec.defaultValue);
  return set;
}

Result<ParamValue> ParamSchema::parse(std::string_view name, std::string_view value) const {
  const ParamSpec* spec = find(name);
  if (!spec) {
    std::string near, all;
    std::size_t best = 4;
    for (const ParamSpec& known : specs_) {
      all += (all.empty() ? "" : ", ") + known.name;
      if (const std::size_t distance = editDistance(name, known.name); distance < best)
        best = distance, near = known.name;
    }
    return fail(ErrorCode::usage, "unknown parameter '" + std::string(name) + "'", "--set",
                near.empty()
                    ? (all.empty() ? "The method has no parameters." : "Known parameters: " + all + ".")
                    : "Did you mean " + near + "?");
  }
  switch (spec->type) {
    case ParamType::boolean:
      if (value == "true" || value == "1" || value == "on" || value == "yes") return ParamValue(true);
      if (value == "false" || value == "0" || value == "off" || value == "no") return ParamValue(false);
      return wrongValue(*spec, value, "true or false");
    case ParamType::integer:
    case ParamType::real:
      return parseNumber(*spec, value);
    case ParamType::choice: {
      if (std::find(spec->choices.begin(), spec->choices.end(), value) != spec->choices.end())
        return ParamValue(std::string(value));
      std::string choices;
      for (const std::string& choice : spec->choices) choices += (choices.empty() ? "" : ", ") + choice;
      return wrongValue(*spec, value, "one of " + choices);
    }
    case ParamType::text:
      return ParamValue(std::string(value));
  }
  return wrongValue(*spec, value, "a value");
}

Result<ParamSet> ParamSchema::parse(std::span<const std::string> assignments) const {
  return parse(defaults(), assignments);
}

Result<ParamSet> ParamSchema::parse(const ParamSet& base, std::span<const std::string> assignments) const {
  ParamSet set = defaults();
  for (const auto& [name, value] : base.values())
    if (find(name)) set.set(name, value);
  for (const std::string& assignment : assignments) {
    const auto equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(ErrorCode::usage, "'" + assignment + "' is not NAME=VALUE", "--set",
                  "For example --set temperature=0.7");
    const std::string name = assignment.substr(0, equals);
    DECOSCOPE_ASSIGN(ParamValue value, parse(name, std::string_view(assignment).substr(equals + 1)));
    set.set(name, std::move(value));
  }
  return set;
}

}  // namespace decoscope
