// The methods of list, tuple, dict, range and numbers that do not change them.
#include <algorithm>
#include <cmath>

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"

namespace decoscope::jinja {

namespace {

Value indexOf(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("index", arguments, {"value", "start", "stop"}, 1);
  const std::int64_t length = *lengthOf(self);
  const auto bound = [&](std::size_t index, std::int64_t otherwise) {
    if (!parameters[index]) return otherwise;
    const std::int64_t at = parameters.whole(index, 0);
    return at < 0 ? std::max<std::int64_t>(at < -length ? 0 : at + length, 0) : at;
  };
  const std::int64_t start = bound(1, 0), stop = bound(2, length);
  Cursor cursor(self);
  std::int64_t at = 0;
  for (Value item; at < stop && cursor.next(item); ++at)
    if (at >= start && equal(item, *parameters[0])) return at;
  throwFailure(repr(*parameters[0]) + " is not in " + typeName(self));
}

Value countOf(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("count", arguments, {"value"}, 1);
  std::int64_t count = 0;
  Cursor cursor(self);
  for (Value item; cursor.next(item);) count += equal(item, *parameters[0]);
  return count;
}

Value copy(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters none("copy", arguments, {});
  return self;
}

template <View::Part part>
Value viewOf(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters none("dict method", arguments, {});
  auto view = std::make_shared<View>();
  view->part = part;
  view->dict = self;
  if (self.nesting() >= kMaximumNesting) throwFailure("values are nested too deeply");
  view->nesting = self.nesting() + 1;
  view->lazy = self.lazy();
  return {Kind::view, std::move(view)};
}

Value get(Interpreter&, const Value& self, Arguments& arguments) {
  // dict.get takes no keywords.
  if (!arguments.keyword.empty()) throwFailure("dict.get() takes no keyword arguments");
  const Parameters parameters("get", arguments, {"key", "default"}, 1);
  if (!isHashable(*parameters[0])) throwFailure("unhashable type: '" + typeName(*parameters[0]) + "'");
  const Value* found = self.entries().find(*parameters[0]);
  if (found) return *found;
  return parameters[1] ? *parameters[1] : Value(nullptr);
}

Value fromKeys(Interpreter&, const Value&, Arguments& arguments) {
  const Parameters parameters("fromkeys", arguments, {"iterable", "value"}, 1);
  auto dict = std::make_shared<Dict>();
  Cursor cursor(*parameters[0]);
  for (Value key; cursor.next(key);) {
    if (!isHashable(key)) throwFailure("unhashable type: '" + typeName(key) + "'");
    dict->set(key, parameters[1] ? *parameters[1] : Value(nullptr));
  }
  return Value::dict(std::move(dict));
}

Value isInteger(Interpreter&, const Value& self, Arguments&) {
  return std::isfinite(self.real()) && self.real() == std::floor(self.real());
}

Value bitLength(Interpreter&, const Value& self, Arguments&) {
  std::int64_t bits = 0;
  const auto value = static_cast<std::uint64_t>(self.whole());
  for (std::uint64_t rest = self.whole() < 0 ? 0 - value : value; rest; rest >>= 1) ++bits;
  return bits;
}

Value conjugate(Interpreter&, const Value& self, Arguments&) {
  return self.is(Kind::boolean) ? Value(self.whole()) : self;
}

Value notOffered(Interpreter&, const Value&, Arguments&) {
  throwFailure("this method", FailureKind::unsupported);
}

}  // namespace

Method findContainerMethod(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::list:
      if (name == "copy") return copy;
      [[fallthrough]];
    case Kind::tuple:
    case Kind::range:
      if (name == "index") return indexOf;
      if (name == "count") return countOf;
      break;
    case Kind::dict:
      if (name == "get") return get;
      if (name == "items") return viewOf<View::Part::items>;
      if (name == "keys") return viewOf<View::Part::keys>;
      if (name == "values") return viewOf<View::Part::values>;
      if (name == "copy") return copy;
      if (name == "fromkeys") return fromKeys;
      break;
    case Kind::real:
      if (name == "is_integer") return isInteger;
      if (name == "conjugate") return conjugate;
      if (name == "hex" || name == "fromhex" || name == "as_integer_ratio") return notOffered;
      break;
    case Kind::boolean:
    case Kind::integer:
      if (name == "bit_length") return bitLength;
      if (name == "conjugate") return conjugate;
      if (name == "bit_count" || name == "to_bytes" || name == "from_bytes" || name == "as_integer_ratio")
        return notOffered;
      break;
    default:
      break;
  }
  return nullptr;
}

}  // namespace decoscope::jinja
