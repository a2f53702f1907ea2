#include "core/tokenizer/jinja/Operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Formatting.h"
#include "core/tokenizer/jinja/Interpreter.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSmallest = std::numeric_limits<std::int64_t>::min();

const char* symbolOf(Operator op) {
  switch (op) {
    case Operator::add:
      return "+";
    case Operator::subtract:
      return "-";
    case Operator::multiply:
      return "*";
    case Operator::divide:
      return "/";
    case Operator::floorDivide:
      return "//";
    case Operator::modulo:
      return "%";
    default:
      return "**";
  }
}

[[noreturn]] void throwOverflow() {
  throwFailure("the result does not fit in an integer of 64 bits", FailureKind::unsupported);
}

[[noreturn]] void throwZero() {
  throwFailure("division by zero");
}

std::int64_t floorDivided(std::int64_t a, std::int64_t b) {
  if (b == 0) throwZero();
  if (a == kSmallest && b == -1) throwOverflow();
  const std::int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a % b < 0) != (b < 0));
}

std::int64_t moduloOf(std::int64_t a, std::int64_t b) {
  if (b == 0) throwZero();
  if (b == -1) return 0;
  const std::int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double moduloOf(double a, double b) {
  if (b == 0) throwZero();
  double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double floorDivided(double a, double b) {
  if (b == 0) throwZero();
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Value realPower(double base, double exponent) {
  if (base == 0 && exponent < 0) throwFailure("0.0 cannot be raised to a negative power");
  if (base < 0 && exponent != std::floor(exponent) && std::isfinite(base) && std::isfinite(exponent))
    throwFailure("the power is a complex number", FailureKind::unsupported);
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    throwFailure("Numerical result out of range");
  return result;
}

Value wholePower(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return realPower(static_cast<double>(base), static_cast<double>(exponent));
  std::int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) throwOverflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) throwOverflow();
  }
  return result;
}

Value wholeArithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::subtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::multiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::divide:
      if (b == 0) throwZero();
      return static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b));
    case Operator::floorDivide:
      return floorDivided(a, b);
    case Operator::modulo:
      return moduloOf(a, b);
    default:
      return wholePower(a, b);
  }
  if (overflow) throwOverflow();
  return result;
}

Value realArithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return a + b;
    case Operator::subtract:
      return a - b;
    case Operator::multiply:
      return a * b;
    case Operator::divide:
      if (b == 0) throwZero();
      return a / b;
    case Operator::floorDivide:
      return floorDivided(a, b);
    case Operator::modulo:
      return moduloOf(a, b);
    default:
      return realPower(a, b);
  }
}

Value joined(const Value& left, const Value& right) {
  if (left.is(Kind::string)) {
    const bool markup = left.text().markup || right.text().markup;
    const std::string& a = left.bytes();
    checkSize(a.size() + right.bytes().size());
    chargeBytes(a.size() + right.bytes().size());
    if (!markup) return Value(a + right.bytes());
    return Value(escaped(left).bytes() + escaped(right).bytes(), true);
  }
  std::vector<Value> items = left.items();
  checkSize((items.size() + right.items().size()) * sizeof(Value));
  chargeSteps(items.size() + right.items().size());
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

bool canBeJoined(const Value& value) {
  return value.is(Kind::string) || value.is(Kind::list) || value.is(Kind::tuple);
}

Value repeated(const Value& value, std::int64_t count) {
  count = std::max<std::int64_t>(count, 0);
  const std::uint64_t times = static_cast<std::uint64_t>(count);
  if (value.is(Kind::string)) {
    const std::string& text = value.bytes();
    if (text.empty() || times == 0) return Value(std::string(), value.text().markup);
    if (times > std::numeric_limits<std::uint32_t>::max()) checkSize(kLargest);
    checkSize(text.size() * times);
    chargeBytes(text.size() * times);
    std::string out;
    out.reserve(text.size() * times);
    for (std::uint64_t i = 0; i < times; ++i) out += text;
    return Value(std::move(out), value.text().markup);
  }
  std::vector<Value> items;
  if (!value.items().empty()) {
    if (times > std::numeric_limits<std::uint32_t>::max()) checkSize(kLargest);
    checkSize(value.items().size() * times * sizeof(Value));
    chargeSteps(value.items().size() * times);
    for (std::uint64_t i = 0; i < times; ++i)
      items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

}  // namespace

Value arithmetic(Operator op, const Value& left, const Value& right) {
  if (left.isWhole() && right.isWhole()) return wholeArithmetic(op, left.whole(), right.whole());
  if (left.isNumber() && right.isNumber()) return realArithmetic(op, left.real(), right.real());
  if (op == Operator::modulo && left.is(Kind::string)) return percentFormat(left, right);
  if (left.is(Kind::undefined)) throwUndefined(left);
  if (right.is(Kind::undefined)) throwUndefined(right);
  if (op == Operator::add && canBeJoined(left) && left.kind() == right.kind()) return joined(left, right);
  if (op == Operator::multiply) {
    if (canBeJoined(left) && right.isWhole()) return repeated(left, right.whole());
    if (left.isWhole() && canBeJoined(right)) return repeated(right, left.whole());
    if (canBeJoined(left) || canBeJoined(right))
      throwFailure("can't multiply sequence by non-int of type '" +
                   typeName(canBeJoined(left) ? right : left) + "'");
  }
  if (op == Operator::add && left.is(Kind::string))
    throwFailure("can only concatenate str (not \"" + typeName(right) + "\") to str");
  throwFailure(std::string("unsupported operand type(s) for ") + symbolOf(op) + ": '" + typeName(left) +
               "' and '" + typeName(right) + "'");
}

Value negated(const Value& value) {
  if (value.is(Kind::real)) return -value.real();
  if (value.is(Kind::undefined)) throwUndefined(value);
  if (!value.isWhole()) throwFailure("bad operand type for unary -: '" + typeName(value) + "'");
  if (value.whole() == kSmallest) throwOverflow();
  return -value.whole();
}

Value positive(const Value& value) {
  if (value.is(Kind::real)) return value;
  if (value.is(Kind::undefined)) throwUndefined(value);
  if (!value.isWhole()) throwFailure("bad operand type for unary +: '" + typeName(value) + "'");
  return value.whole();
}

namespace {

// −1, 0, 1; nothing if one of them is not a number.
std::optional<int> compareNumbers(const Value& a, const Value& b) {
  if (a.isWhole() && b.isWhole()) return a.whole() < b.whole() ? -1 : a.whole() > b.whole();
  if (!a.isWhole() && !b.isWhole()) {
    if (std::isnan(a.real()) || std::isnan(b.real())) return std::nullopt;
    return a.real() < b.real() ? -1 : a.real() > b.real();
  }
  if (!a.isWhole()) {
    const auto other = compareNumbers(b, a);
    return other ? std::optional<int>(-*other) : std::nullopt;
  }
  const double real = b.real();
  if (std::isnan(real)) return std::nullopt;
  if (real >= 9223372036854775808.0) return -1;
  if (real < -9223372036854775808.0) return 1;
  const double floor = std::floor(real);
  const auto whole = static_cast<std::int64_t>(floor);
  if (a.whole() != whole) return a.whole() < whole ? -1 : 1;
  return real > floor ? -1 : 0;
}

bool ordered(const Value& a, const Value& b, bool orEqual, const char* symbol) {
  if (a.isNumber() && b.isNumber()) {
    const auto order = compareNumbers(a, b);
    return order && (orEqual ? *order <= 0 : *order < 0);
  }
  if (a.is(Kind::undefined)) throwUndefined(a);
  if (b.is(Kind::undefined)) throwUndefined(b);
  if (a.is(Kind::string) && b.is(Kind::string)) {
    chargeBytes(std::min(a.bytes().size(), b.bytes().size()));
    const int order = a.bytes().compare(b.bytes());
    return orEqual ? order <= 0 : order < 0;
  }
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const auto &left = a.items(), &right = b.items();
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i)
      if (!equal(left[i], right[i])) return ordered(left[i], right[i], orEqual, symbol);
    return orEqual ? left.size() <= right.size() : left.size() < right.size();
  }
  const bool swapped = symbol[0] == '>';
  throwFailure(std::string("'") + symbol + "' not supported between instances of '" +
               typeName(swapped ? b : a) + "' and '" + typeName(swapped ? a : b) + "'");
}

}  // namespace

bool less(const Value& a, const Value& b, const char* symbol) {
  return ordered(a, b, false, symbol);
}
bool lessEqual(const Value& a, const Value& b, const char* symbol) {
  return ordered(a, b, true, symbol);
}

bool contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::string:
      if (!item.is(Kind::string))
        throwFailure("'in <string>' requires string as left operand, not " + typeName(item));
      chargeSearch(container.bytes().size(), item.bytes().size());
      return container.bytes().find(item.bytes()) != std::string::npos;
    case Kind::dict:
      if (!isHashable(item)) throwFailure("unhashable type: '" + typeName(item) + "'");
      return container.entries().find(item) != nullptr;
    case Kind::range: {
      if (!item.isNumber()) return false;
      const Range& range = container.as<Range>();
      if (!item.isWhole() && item.real() != std::floor(item.real())) return false;
      if (!item.isWhole() && std::abs(item.real()) > 9e18) return false;
      const std::int64_t whole = item.isWhole() ? item.whole() : static_cast<std::int64_t>(item.real());
      const bool inside = range.step > 0 ? whole >= range.start && whole < range.stop
                                         : whole <= range.start && whole > range.stop;
      return inside && (whole - range.start) % range.step == 0;
    }
    case Kind::view: {
      const View& view = container.as<View>();
      const Dict& dict = view.dict.entries();
      if (view.part == View::Part::keys) {
        if (!isHashable(item)) throwFailure("unhashable type: '" + typeName(item) + "'");
        return dict.find(item) != nullptr;
      }
      if (view.part == View::Part::items) {
        if (!item.is(Kind::tuple) || item.items().size() != 2) return false;
        if (!isHashable(item.items()[0]))
          throwFailure("unhashable type: '" + typeName(item.items()[0]) + "'");
        const Value* found = dict.find(item.items()[0]);
        return found && equal(*found, item.items()[1]);
      }
      break;
    }
    default:
      break;
  }
  if (!isIterable(container)) throwFailure("argument of type '" + typeName(container) + "' is not iterable");
  Cursor cursor(container);
  for (Value other; cursor.next(other);)
    if ((item.object() && item.object() == other.object()) || equal(other, item)) return true;
  return false;
}

namespace {

std::int64_t clampedBound(const Value& bound, std::int64_t length, bool forward, std::int64_t otherwise) {
  if (bound.is(Kind::none)) return otherwise;
  if (!bound.isWhole()) throwFailure("slice indices must be integers or None or have an __index__ method");
  std::int64_t at = bound.whole();
  if (at < 0) {
    at = at < -length ? -1 : at + length;
    if (at < 0) return forward ? 0 : -1;
  }
  return std::min(at, forward ? length : length - 1);
}

}  // namespace

Value sliced(const Value& value, const Value& start, const Value& stop, const Value& step) {
  if (value.is(Kind::undefined)) throwUndefined(value);
  if (value.is(Kind::dict)) throwFailure("unhashable type: 'slice'");
  if (!canBeJoined(value) && !value.is(Kind::range))
    throwFailure("'" + typeName(value) + "' object is not subscriptable");
  if (!step.is(Kind::none) && !step.isWhole())
    throwFailure("slice indices must be integers or None or have an __index__ method");
  const std::int64_t stride = step.is(Kind::none) ? 1 : step.whole();
  if (stride == 0) throwFailure("slice step cannot be zero");
  const std::int64_t length = *lengthOf(value);
  const bool forward = stride > 0;
  const std::int64_t first = clampedBound(start, length, forward, forward ? 0 : length - 1);
  const std::int64_t last = clampedBound(stop, length, forward, forward ? length : -1);
  std::int64_t count = 0;
  if (forward ? first < last : first > last)
    count = (static_cast<std::int64_t>(std::abs(first - last)) - 1) /
                (stride == kSmallest ? kLargest : std::abs(stride)) +
            1;
  if (value.is(Kind::range)) {
    const Range& range = value.as<Range>();
    auto part = std::make_shared<Range>();
    part->start = range.start + first * range.step;
    part->stop = range.start + last * range.step;
    if (__builtin_mul_overflow(range.step, stride, &part->step)) throwOverflow();
    return {Kind::range, std::move(part)};
  }
  if (value.is(Kind::string)) {
    const Text& text = value.text();
    chargeBytes(text.bytes.size());
    if (count == 0) return Value(std::string(), text.markup);
    if (stride == 1) {
      const std::size_t from = byteOffset(text.bytes, static_cast<std::size_t>(first), text.ascii());
      const std::string_view rest = std::string_view(text.bytes).substr(from);
      return Value(
          std::string(rest.substr(0, byteOffset(rest, static_cast<std::size_t>(count), text.ascii()))),
          text.markup);
    }
    const std::u32string characters = codePoints(text.bytes);
    std::string out;
    for (std::int64_t i = 0; i < count; ++i)
      appendCodePoint(out, characters[static_cast<std::size_t>(first + i * stride)]);
    return Value(std::move(out), text.markup);
  }
  chargeSteps(static_cast<std::uint64_t>(count));
  std::vector<Value> items;
  items.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    items.push_back(value.items()[static_cast<std::size_t>(first + i * stride)]);
  return value.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

std::int64_t requireWhole(const Value& value, const char* what) {
  if (value.is(Kind::undefined)) throwUndefined(value);
  if (!value.isWhole())
    throwFailure("'" + typeName(value) + "' object cannot be interpreted as an integer (" + what + ")");
  return value.whole();
}

}  // namespace decoscope::jinja
