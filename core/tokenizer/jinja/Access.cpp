#include "core/tokenizer/jinja/Access.h"

#include <algorithm>
#include <array>

#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

// What the immutable sandbox refuses: the methods that change a list or a dict.
bool isChanging(const Value& object, std::string_view name) {
  static constexpr std::array<std::string_view, 8> ofLists = {"append", "clear", "pop",    "reverse",
                                                              "insert", "sort",  "extend", "remove"};
  static constexpr std::array<std::string_view, 5> ofDicts = {"clear", "pop", "popitem", "setdefault",
                                                              "update"};
  if (object.is(Kind::list)) return std::find(ofLists.begin(), ofLists.end(), name) != ofLists.end();
  if (object.is(Kind::dict)) return std::find(ofDicts.begin(), ofDicts.end(), name) != ofDicts.end();
  return false;
}

std::string objectName(const Value& object) {
  if (object.is(Kind::none)) return "None";
  if (object.is(Kind::nameSpace)) return "jinja2.utils.Namespace object";
  if (object.is(Kind::loop) || object.is(Kind::macro))
    return "jinja2.runtime." + typeName(object) + " object";
  return typeName(object) + " object";
}

Value unsafe(const Value& object, const std::string& name) {
  return undefinedBecause("access to attribute '" + name + "' of '" + typeName(object) +
                          "' object is unsafe.");
}

Value absent(const Value& object, const Value& key) {
  if (key.is(Kind::string))
    return undefinedBecause("'" + objectName(object) + "' has no attribute " + repr(key));
  return undefinedBecause(objectName(object) + " has no element " + repr(key));
}

std::optional<Value> loopAttribute(const Value& object, const std::string& name) {
  Loop& loop = object.as<Loop>();
  if (name == "index") return Value(loop.index0 + 1);
  if (name == "index0") return Value(loop.index0);
  if (name == "revindex") return Value(loop.length() - loop.index0);
  if (name == "revindex0") return Value(loop.length() - loop.index0 - 1);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "last") return Value(loop.peek().is(Kind::missing));
  if (name == "length") return Value(loop.length());
  if (name == "depth") return Value(loop.depth0 + 1);
  if (name == "depth0") return Value(loop.depth0);
  if (name == "previtem") {
    if (loop.index0 == 0 || loop.before.is(Kind::missing))
      return undefinedBecause("there is no previous item");
    return loop.before;
  }
  if (name == "nextitem") {
    Value next = loop.peek();
    return next.is(Kind::missing) ? undefinedBecause("there is no next item") : next;
  }
  if (name == "cycle")
    return bindMethod(object, name, [](Interpreter&, const Value& self, Arguments& arguments) -> Value {
      if (arguments.positional.empty()) throwFailure("no items for cycling given");
      if (!arguments.keyword.empty()) throwFailure("cycle() takes no keyword arguments");
      const auto count = static_cast<std::int64_t>(arguments.positional.size());
      return arguments
          .positional[static_cast<std::size_t>(std::max<std::int64_t>(self.as<Loop>().index0, 0) % count)];
    });
  if (name == "changed")
    return bindMethod(object, name, [](Interpreter&, const Value& self, Arguments& arguments) -> Value {
      if (!arguments.keyword.empty()) throwFailure("changed() takes no keyword arguments");
      Value given = Value::tuple(arguments.positional);
      Loop& asked = self.as<Loop>();
      if (!asked.changing.is(Kind::missing) && equal(asked.changing, given)) return false;
      asked.changing = std::move(given);
      return true;
    });
  return std::nullopt;
}

std::optional<Value> macroAttribute(const Value& object, const std::string& name) {
  const MacroCode& code = *object.as<Macro>().code;
  if (name == "name") return code.name.empty() ? Value(nullptr) : Value(code.name);
  if (name == "arguments") {
    std::vector<Value> names;
    for (const std::string& parameter : code.parameters) names.emplace_back(parameter);
    return Value::tuple(std::move(names));
  }
  if (name == "catch_kwargs") return Value(code.keywords.index >= 0);
  if (name == "catch_varargs") return Value(code.rest.index >= 0);
  if (name == "caller") return Value(code.caller.index >= 0);
  if (name == "explicit_caller")
    return Value(std::find(code.parameters.begin(), code.parameters.end(), "caller") !=
                 code.parameters.end());
  return std::nullopt;
}

std::optional<Value> numberAttribute(const Value& object, const std::string& name) {
  if (name == "real") return object.is(Kind::real) ? object : Value(object.whole());
  if (name == "imag") return object.is(Kind::real) ? Value(0.0) : Value(0);
  if (object.isWhole() && name == "numerator") return Value(object.whole());
  if (object.isWhole() && name == "denominator") return Value(1);
  return std::nullopt;
}

}  // namespace

Value bindMethod(const Value& self, std::string_view name, Method method) {
  auto function = std::make_shared<Function>();
  if (self.nesting() >= kMaximumNesting) throwFailure("values are nested too deeply");
  function->nesting = self.nesting() + 1;
  function->lazy = self.lazy();
  function->name = std::string(name);
  function->self = self;
  // The function holds itself only through `self`, so that no circle keeps it alive.
  function->call = [self, method](Interpreter& interpreter, Arguments& arguments) {
    return method(interpreter, self, arguments);
  };
  return {Kind::function, std::move(function)};
}

std::optional<Value> attributeOf(const Value& object, const std::string& name) {
  switch (object.kind()) {
    case Kind::undefined:
      if (name.starts_with("__") && name.ends_with("__")) return std::nullopt;
      throwUndefined(object);
    case Kind::string:
      if (const Method method = findTextMethod(name)) return bindMethod(object, name, method);
      return std::nullopt;
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      if (auto value = numberAttribute(object, name)) return value;
      break;
    case Kind::tuple:
      if (object.as<Sequence>().group && (name == "grouper" || name == "list"))
        return object.items()[name == "list"];
      break;
    case Kind::range:
      if (name == "start") return Value(object.as<Range>().start);
      if (name == "stop") return Value(object.as<Range>().stop);
      if (name == "step") return Value(object.as<Range>().step);
      break;
    case Kind::nameSpace: {
      const Value* found = object.as<NameSpace>().attributes->find(std::string_view(name));
      return found ? std::optional<Value>(*found) : std::nullopt;
    }
    case Kind::loop:
      return loopAttribute(object, name);
    case Kind::macro:
      return macroAttribute(object, name);
    case Kind::object: {
      HelperObject& helper = object.as<HelperObject>();
      if (helper.refresh) helper.refresh(helper);
      const auto& attributes = helper.attributes;
      const auto found = attributes.find(name);
      return found == attributes.end() ? std::nullopt : std::optional<Value>(found->second);
    }
    default:
      break;
  }
  if (const Method method = findContainerMethod(object.kind(), name)) return bindMethod(object, name, method);
  return std::nullopt;
}

namespace {

// The item, or nothing where Python raises TypeError or LookupError.
std::optional<Value> itemOf(const Value& object, const Value& key) {
  switch (object.kind()) {
    case Kind::undefined:
      throwUndefined(object);
    case Kind::dict: {
      if (!isHashable(key)) return std::nullopt;
      const Value* found = object.entries().find(key);
      return found ? std::optional<Value>(*found) : std::nullopt;
    }
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::range: {
      if (!key.isWhole()) return std::nullopt;
      const std::int64_t length = *lengthOf(object);
      std::int64_t at = key.whole();
      if (at < 0) at += length;
      if (at < 0 || at >= length) return std::nullopt;
      if (object.is(Kind::range)) return Value(object.as<Range>().at(at));
      if (!object.is(Kind::string)) return object.items()[static_cast<std::size_t>(at)];
      const Text& text = object.text();
      if (!text.ascii()) chargeBytes(static_cast<std::uint64_t>(at));
      std::size_t from = byteOffset(text.bytes, static_cast<std::size_t>(at), text.ascii()), end = from;
      nextCodePoint(text.bytes, end);
      return Value(text.bytes.substr(from, end - from), text.markup);
    }
    case Kind::object:
      if (object.as<HelperObject>().type == "TemplateReference" && key.is(Kind::string))
        return attributeOf(object, key.bytes());
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

Value getAttribute(const Value& object, const std::string& name) {
  if (isChanging(object, name)) return unsafe(object, name);
  if (auto value = attributeOf(object, name)) {
    if (name.starts_with('_')) return unsafe(object, name);
    return std::move(*value);
  }
  if (auto value = itemOf(object, Value(name))) return std::move(*value);
  // What Python objects all have, and the sandbox hides.
  if (name.starts_with("__") && name.ends_with("__") && name.size() > 4 && !object.is(Kind::nameSpace))
    return unsafe(object, name);
  return absent(object, Value(name));
}

Value getItem(const Value& object, const Value& key) {
  if (auto value = itemOf(object, key)) return std::move(*value);
  if (!key.is(Kind::string)) return absent(object, key);
  const std::string& name = key.bytes();
  if (isChanging(object, name)) return unsafe(object, name);
  if (auto value = attributeOf(object, name)) {
    if (name.starts_with('_')) return unsafe(object, name);
    return std::move(*value);
  }
  return absent(object, key);
}

}  // namespace decoscope::jinja
