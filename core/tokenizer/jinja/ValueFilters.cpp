// Filters over numbers and single values, and the tests.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Formatting.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

// ---- numbers from text

// Digits of any script as ASCII, surrounding white space gone, single underscores between digits dropped;
// nothing if an underscore stands elsewhere.
std::optional<std::string> plainNumber(std::string_view text) {
  std::string out;
  const std::u32string characters = codePoints(strip(text));
  for (std::size_t i = 0; i < characters.size(); ++i) {
    const char32_t c = characters[i];
    if (c == '_') {
      const auto isDigitAt = [&](std::size_t at) {
        return at < characters.size() && (decimalValue(characters[at]) >= 0 || isAlphabetic(characters[at]));
      };
      if (i == 0 || !isDigitAt(i - 1) || !isDigitAt(i + 1)) return std::nullopt;
      continue;
    }
    if (const int digit = decimalValue(c); digit >= 0)
      out += static_cast<char>('0' + digit);
    else if (c < 128)
      out += static_cast<char>(c);
    else
      return std::nullopt;
  }
  return out;
}

std::optional<std::int64_t> wholeFromText(std::string_view source, std::int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  const auto plain = plainNumber(source);
  if (!plain) return std::nullopt;
  std::string_view text = *plain;
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const auto prefixed = [&](char letter) {
    return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter;
  };
  if ((base == 16 || base == 0) && prefixed('x'))
    base = 16, text.remove_prefix(2);
  else if ((base == 8 || base == 0) && prefixed('o'))
    base = 8, text.remove_prefix(2);
  else if ((base == 2 || base == 0) && prefixed('b'))
    base = 2, text.remove_prefix(2);
  else if (base == 0 && text.size() > 1 && text[0] == '0' &&
           text.find_first_not_of('0') != std::string_view::npos)
    return std::nullopt;
  if (base == 0) base = 10;
  if (text.empty()) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'                     ? c - '0'
                      : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                               : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, base, &value) || __builtin_sub_overflow(value, digit, &value))
      throwFailure("an integer does not fit in 64 bits", FailureKind::unsupported);
  }
  if (negative) return value;
  if (value == INT64_MIN) throwFailure("an integer does not fit in 64 bits", FailureKind::unsupported);
  return -value;
}

std::optional<double> realFromText(std::string_view source) {
  const auto plain = plainNumber(source);
  if (!plain || plain->empty()) return std::nullopt;
  std::string lower;
  for (const char c : *plain) lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  const std::size_t sign = lower[0] == '+' || lower[0] == '-' ? 1 : 0;
  const std::string body = lower.substr(sign);
  const double direction = lower[0] == '-' ? -1 : 1;
  if (body == "inf" || body == "infinity") return direction * HUGE_VAL;
  if (body == "nan") return std::nan("");
  if (body.empty() || body.find_first_not_of("0123456789.e+-") != std::string::npos) return std::nullopt;
  if (body[0] != '.' && (body[0] < '0' || body[0] > '9')) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(lower.c_str(), &end);
  if (*end != '\0' || body == ".") return std::nullopt;
  return value;
}

std::int64_t wholeFromReal(double value) {
  if (!(std::abs(value) < 9.2e18))
    throwFailure("the number does not fit in 64 bits", FailureKind::unsupported);
  return static_cast<std::int64_t>(value);
}

Value toInt(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("int", arguments, {"default", "base"});
  const Value otherwise = parameters[0] ? *parameters[0] : Value(0);
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (input.isWhole()) return input.whole();
  if (input.is(Kind::real)) {
    if (std::isinf(input.real())) throwFailure("cannot convert float infinity to integer");
    if (std::isnan(input.real())) return otherwise;
    return wholeFromReal(input.real());
  }
  if (!input.is(Kind::string)) return otherwise;
  if (const auto whole = wholeFromText(input.bytes(), parameters.whole(1, 10))) return *whole;
  const auto real = realFromText(input.bytes());
  if (!real || !std::isfinite(*real)) return otherwise;
  return wholeFromReal(*real);
}

Value toFloat(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("float", arguments, {"default"});
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (input.isNumber()) return input.real();
  if (input.is(Kind::string))
    if (const auto real = realFromText(input.bytes())) return *real;
  return parameters[0] ? *parameters[0] : Value(0.0);
}

Value absolute(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("abs", arguments, {});
  if (input.is(Kind::real)) return std::abs(input.real());
  if (input.isWhole()) return input.whole() < 0 ? negated(input) : Value(input.whole());
  if (input.is(Kind::undefined)) throwUndefined(input);
  throwFailure("bad operand type for abs(): '" + typeName(input) + "'");
}

double roundedTo(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 330) return value;
  if (digits >= 0) return std::strtod(fixed(value, static_cast<int>(digits)).c_str(), nullptr);
  if (digits < -330) return std::copysign(0.0, value);
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  const double scaled = value / unit;
  double rounded = std::nearbyint(scaled);
  return rounded * unit;
}

Value roundedTo(std::int64_t value, std::int64_t digits) {
  if (digits >= 0) return value;
  if (digits < -18) return 0;
  std::int64_t unit = 1;
  for (std::int64_t i = digits; i < 0; ++i) unit *= 10;
  const std::int64_t rest = ((value % unit) + unit) % unit;
  const std::int64_t down = value - rest;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (down / unit) % 2 != 0);
  std::int64_t result = down;
  if (up && __builtin_add_overflow(down, unit, &result))
    throwFailure("the result does not fit in 64 bits", FailureKind::unsupported);
  return result;
}

Value round(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("round", arguments, {"precision", "method"});
  const Value method = parameters[1] ? *parameters[1] : Value("common");
  const bool up = equal(method, Value("ceil")), down = equal(method, Value("floor"));
  if (!up && !down && !equal(method, Value("common"))) throwFailure("method must be common, ceil or floor");
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (!input.isNumber()) throwFailure("type " + typeName(input) + " doesn't define __round__ method");
  if (!up && !down) {
    // Without digits, and only then, Python's round() gives an integer.
    if (parameters[0] && parameters[0]->is(Kind::none)) {
      if (input.isWhole()) return input.whole();
      if (!std::isfinite(input.real())) throwFailure("cannot convert float to integer");
      return wholeFromReal(std::nearbyint(input.real()));
    }
    const std::int64_t digits = parameters.whole(0, 0);
    return input.isWhole() ? roundedTo(input.whole(), digits) : Value(roundedTo(input.real(), digits));
  }
  const Value scale = arithmetic(Operator::power, Value(10), parameters[0] ? *parameters[0] : Value(0));
  const Value scaled = arithmetic(Operator::multiply, input, scale);
  if (!std::isfinite(scaled.real())) throwFailure("cannot convert float to integer");
  const Value whole = scaled.isWhole()
                          ? Value(scaled.whole())
                          : Value(wholeFromReal(up ? std::ceil(scaled.real()) : std::floor(scaled.real())));
  return arithmetic(Operator::divide, whole, scale);
}

Value defaultTo(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("default", arguments, {"default_value", "boolean"});
  if (input.is(Kind::undefined) || (parameters.truth(1) && !input.truth()))
    return parameters[0] ? *parameters[0] : Value("");
  return input;
}

Value attribute(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("attr", arguments, {"name"}, 1);
  const std::string name = parameters.text(0);
  const Value value = getAttribute(input, name);
  // The attribute alone counts, not an item of that name.
  if (!attributeOf(input, name) && !value.is(Kind::undefined))
    return undefinedBecause("'" + typeName(input) + " object' has no attribute '" + name + "'");
  return value;
}

// ---- tests

template <bool (*holds)(const Value&)>
Value simple(Interpreter&, const Value& value, Arguments& arguments) {
  const Parameters none("test", arguments, {});
  return holds(value);
}

template <Kind kind>
bool isKind(const Value& value) {
  return value.is(kind);
}

template <bool wanted>
bool isBoolean(const Value& value) {
  return value.is(Kind::boolean) && value.boolean() == wanted;
}

bool isDefined(const Value& value) {
  return !value.is(Kind::undefined);
}
bool isCallable(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:  // has __call__, which fails
    case Kind::function:
    case Kind::macro:
    case Kind::loop:
      return true;
    case Kind::object:
      return static_cast<bool>(value.as<HelperObject>().call);
    default:
      return false;
  }
}
bool isEscaped(const Value& value) {
  return value.is(Kind::string) && value.text().markup;
}
bool isNumeric(const Value& value) {
  return value.isNumber();
}
bool isLower(const Value& value) {
  return isOneCase(str(value), false);
}
bool isUpper(const Value& value) {
  return isOneCase(str(value), true);
}

template <bool odd>
bool isOdd(const Value& value) {
  return equal(arithmetic(Operator::modulo, value, Value(2)), Value(odd ? 1 : 0));
}

template <bool (*holds)(const Value&, const Value&)>
Value binary(Interpreter&, const Value& value, Arguments& arguments) {
  const Parameters parameters("test", arguments, {"other"}, 1);
  return holds(value, *parameters[0]);
}

bool isDivisible(const Value& value, const Value& other) {
  return equal(arithmetic(Operator::modulo, value, other), Value(0));
}
bool isSame(const Value& value, const Value& other) {
  return value.identical(other);
}
bool isIn(const Value& value, const Value& other) {
  return contains(other, value);
}
bool isDifferent(const Value& value, const Value& other) {
  return !equal(value, other);
}
bool isLess(const Value& value, const Value& other) {
  return less(value, other);
}
bool isLessEqual(const Value& value, const Value& other) {
  return lessEqual(value, other);
}
bool isGreater(const Value& value, const Value& other) {
  return less(other, value, ">");
}
bool isGreaterEqual(const Value& value, const Value& other) {
  return lessEqual(other, value, ">=");
}

bool isFilterName(const Value& value) {
  if (!isHashable(value)) throwFailure("unhashable type: '" + typeName(value) + "'");
  return value.is(Kind::string) && findFilter(value.bytes());
}
bool isTestName(const Value& value) {
  if (!isHashable(value)) throwFailure("unhashable type: '" + typeName(value) + "'");
  return value.is(Kind::string) && findTest(value.bytes());
}

using Lookup = std::unordered_map<std::string_view, Operation>;

Operation lookUp(const Lookup& table, std::string_view name) {
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace

OperationTable valueFilters() {
  return {{"abs", absolute},  {"attr", attribute}, {"d", defaultTo}, {"default", defaultTo},
          {"float", toFloat}, {"int", toInt},      {"round", round}};
}

double requireReal(const Value& value) {
  if (value.is(Kind::undefined)) throwUndefined(value);
  if (value.isNumber()) return value.real();
  if (value.is(Kind::string))
    if (const auto real = realFromText(value.bytes())) return *real;
  throwFailure("could not convert to float: " + repr(value));
}

Operation findFilter(std::string_view name) {
  static const Lookup table = [] {
    Lookup all;
    for (const OperationTable& part : {textFilters(), sequenceFilters(), valueFilters()})
      for (const auto& [known, operation] : part) all.emplace(known, operation);
    return all;
  }();
  return lookUp(table, name);
}

Operation findTest(std::string_view name) {
  static const Lookup table = {
      {"odd", simple<isOdd<true>>},
      {"even", simple<isOdd<false>>},
      {"divisibleby", binary<isDivisible>},
      {"defined", simple<isDefined>},
      {"undefined", simple<isKind<Kind::undefined>>},
      {"filter", simple<isFilterName>},
      {"test", simple<isTestName>},
      {"none", simple<isKind<Kind::none>>},
      {"boolean", simple<isKind<Kind::boolean>>},
      {"false", simple<isBoolean<false>>},
      {"true", simple<isBoolean<true>>},
      {"integer", simple<isKind<Kind::integer>>},
      {"float", simple<isKind<Kind::real>>},
      {"lower", simple<isLower>},
      {"upper", simple<isUpper>},
      {"string", simple<isKind<Kind::string>>},
      {"mapping", simple<isKind<Kind::dict>>},
      {"number", simple<isNumeric>},
      {"sequence", simple<isSequence>},
      {"iterable", simple<isIterable>},
      {"callable", simple<isCallable>},
      {"sameas", binary<isSame>},
      {"escaped", simple<isEscaped>},
      {"in", binary<isIn>},
      {"==", binary<equal>},
      {"eq", binary<equal>},
      {"equalto", binary<equal>},
      {"!=", binary<isDifferent>},
      {"ne", binary<isDifferent>},
      {">", binary<isGreater>},
      {"gt", binary<isGreater>},
      {"greaterthan", binary<isGreater>},
      {"ge", binary<isGreaterEqual>},
      {">=", binary<isGreaterEqual>},
      {"<", binary<isLess>},
      {"lt", binary<isLess>},
      {"lessthan", binary<isLess>},
      {"<=", binary<isLessEqual>},
      {"le", binary<isLessEqual>},
  };
  return lookUp(table, name);
}

}  // namespace decoscope::jinja
