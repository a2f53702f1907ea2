// What runs under the interpreter: budgets, arguments, iteration, loops, undefined values.
#include <algorithm>
#include <limits>

#include "core/tokenizer/jinja/Budget.h"
#include "core/tokenizer/jinja/Interpreter.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

constexpr int kMaximumDepth = 2000;
// Texts that are made outside of a render.
constexpr std::uint64_t kLargestText = 256 * 1024 * 1024;

thread_local Budget* budget = nullptr;
thread_local int depth = 0;

}  // namespace

Budget::Budget(const RenderLimits& limits)
    : limits_(limits), baseline_(Object::liveBytes()), outer_(budget), outerDepth_(depth) {
  budget = this;
  depth = 0;
}

Budget::~Budget() {
  budget = outer_;
  depth = outerDepth_;
}

void Budget::charge(std::uint64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps)
    throwFailure("the template takes more than " + std::to_string(limits_.steps) + " steps",
                 FailureKind::limit);
  if (Object::liveBytes() - baseline_ > limits_.memoryBytes)
    throwFailure("the template needs more than " + std::to_string(limits_.memoryBytes) + " bytes of memory",
                 FailureKind::limit);
}

void Budget::check(std::uint64_t bytes) const {
  if (bytes > limits_.outputBytes)
    throwFailure("a text or list of more than " + std::to_string(limits_.outputBytes) + " bytes",
                 FailureKind::limit);
}

void throwFailure(std::string message, FailureKind kind, int line) {
  throw Failure{kind, std::move(message), line};
}

void chargeSteps(std::uint64_t steps) {
  if (budget) budget->charge(steps);
}

void checkSize(std::uint64_t bytes) {
  if (budget)
    budget->check(bytes);
  else if (bytes > kLargestText)
    throwFailure("a text is too long", FailureKind::limit);
}

DepthGuard::DepthGuard() {
  if (depth >= kMaximumDepth) throwFailure("maximum recursion depth exceeded", FailureKind::limit);
  ++depth;
}

DepthGuard::~DepthGuard() {
  --depth;
}

// ---- arguments

Parameters::Parameters(const char* function, const Arguments& arguments,
                       std::initializer_list<const char*> names, std::size_t required)
    : function_(function), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size())
    throwFailure(std::string(function) + "() takes at most " + std::to_string(names.size()) + " arguments (" +
                 std::to_string(arguments.positional.size()) + " given)");
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto* found = names.begin();
    while (found != names.end() && name != *found) ++found;
    if (found == names.end())
      throwFailure(std::string(function) + "() got an unexpected keyword argument '" + name + "'");
    const Value*& slot = values_[static_cast<std::size_t>(found - names.begin())];
    if (slot) throwFailure(std::string(function) + "() got multiple values for argument '" + name + "'");
    slot = &value;
  }
  for (std::size_t i = 0; i < required; ++i)
    if (!values_[i])
      throwFailure(std::string(function) + "() missing required argument: '" + names.begin()[i] + "'");
}

const Value* Parameters::some(std::size_t index) const {
  return values_[index] && !values_[index]->is(Kind::none) ? values_[index] : nullptr;
}

std::int64_t Parameters::whole(std::size_t index, std::int64_t otherwise) const {
  return values_[index] ? requireWhole(*values_[index], function_) : otherwise;
}

bool Parameters::truth(std::size_t index, bool otherwise) const {
  return values_[index] ? values_[index]->truth() : otherwise;
}

std::string Parameters::text(std::size_t index, std::string_view otherwise) const {
  const Value* value = values_[index];
  if (!value) return std::string(otherwise);
  if (value->is(Kind::undefined)) throwUndefined(*value);
  if (!value->is(Kind::string))
    throwFailure(std::string(function_) + "() needs a str, not " + typeName(*value));
  return value->bytes();
}

// ---- iteration

bool isSequence(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
      return true;
    default:
      return false;
  }
}

bool isReversible(const Value& value) {
  return isSequence(value) || value.is(Kind::view);
}

bool isIterable(const Value& value) {
  return isReversible(value) || value.is(Kind::iterator) || value.is(Kind::loop);
}

Cursor::Cursor(Value iterable) : iterable_(std::move(iterable)) {
  if (!isIterable(iterable_)) throwFailure("'" + typeName(iterable_) + "' object is not iterable");
}

namespace {

Value viewItem(const View& view, std::size_t index) {
  const auto& [key, value] = view.dict.entries().items[index];
  if (view.part == View::Part::keys) return key;
  if (view.part == View::Part::values) return value;
  return Value::tuple({key, value});
}

}  // namespace

bool Cursor::next(Value& item) {
  chargeSteps(1);
  switch (iterable_.kind()) {
    case Kind::string: {
      const std::string& text = iterable_.bytes();
      if (at_ >= text.size()) return false;
      const std::size_t from = at_;
      nextCodePoint(text, at_);
      item = Value(text.substr(from, at_ - from), iterable_.text().markup);
      return true;
    }
    case Kind::list:
    case Kind::tuple:
      if (at_ >= iterable_.items().size()) return false;
      item = iterable_.items()[at_++];
      return true;
    case Kind::dict:
      if (at_ >= iterable_.entries().items.size()) return false;
      item = iterable_.entries().items[at_++].first;
      return true;
    case Kind::range: {
      const Range& range = iterable_.as<Range>();
      if (static_cast<std::int64_t>(at_) >= range.length()) return false;
      item = Value(range.at(static_cast<std::int64_t>(at_++)));
      return true;
    }
    case Kind::view: {
      const View& view = iterable_.as<View>();
      if (at_ >= view.dict.entries().items.size()) return false;
      item = viewItem(view, at_++);
      return true;
    }
    case Kind::iterator: {
      const DepthGuard guard;
      Iterator& iterator = iterable_.as<Iterator>();
      if (iterator.running) throwFailure("generator already executing");
      iterator.running = true;
      const bool found = iterator.next(item);
      iterator.running = false;
      return found;
    }
    case Kind::loop: {
      const DepthGuard guard;
      Value current;
      if (!iterable_.as<Loop>().next(current)) return false;
      item = Value::tuple({std::move(current), iterable_});
      return true;
    }
    default:
      return false;
  }
}

std::vector<Value> itemsOf(const Value& iterable) {
  if (iterable.is(Kind::list) || iterable.is(Kind::tuple)) {
    chargeSteps(iterable.items().size());
    return iterable.items();
  }
  std::vector<Value> items;
  Cursor cursor(iterable);
  for (Value item; cursor.next(item);) {
    checkSize((items.size() + 1) * sizeof(Value));
    items.push_back(std::move(item));
  }
  return items;
}

std::optional<std::int64_t> lengthOf(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return static_cast<std::int64_t>(value.text().length);
    case Kind::list:
    case Kind::tuple:
      return static_cast<std::int64_t>(value.items().size());
    case Kind::dict:
      return static_cast<std::int64_t>(value.entries().items.size());
    case Kind::range:
      return value.as<Range>().length();
    case Kind::view:
      return static_cast<std::int64_t>(value.as<View>().dict.entries().items.size());
    case Kind::loop:
      return value.as<Loop>().length();
    default:
      return std::nullopt;
  }
}

std::int64_t requireLength(const Value& value) {
  const auto length = lengthOf(value);
  if (!length) throwFailure("object of type '" + typeName(value) + "' has no len()");
  return *length;
}

Value makeFunction(std::string name, std::function<Value(Interpreter&, Arguments&)> call) {
  auto function = std::make_shared<Function>();
  function->name = std::move(name);
  function->call = std::move(call);
  return {Kind::function, std::move(function)};
}

Value makeIterator(int nesting, std::function<bool(Value&)> next, const char* type) {
  if (nesting >= kMaximumNesting) throwFailure("values are nested too deeply");
  auto iterator = std::make_shared<Iterator>();
  iterator->nesting = nesting + 1;
  iterator->lazy = true;
  iterator->next = std::move(next);
  iterator->type = type;
  return {Kind::iterator, std::move(iterator)};
}

// ---- loops

Loop::Loop(Value over, const ForLoop* loopNode, Activation* around, std::int64_t depthBefore)
    : iterable(std::move(over)), cursor(iterable), depth0(depthBefore), node(loopNode), closure(around) {
  if (iterable.nesting() >= kMaximumNesting) throwFailure("values are nested too deeply");
  nesting = iterable.nesting() + 1;
  lazy = true;
}

bool Loop::next(Value& item) {
  if (!after.is(Kind::missing))
    item = std::exchange(after, Value::missing());
  else if (!cursor.next(item))
    return false;
  ++index0;
  before = std::move(now);
  now = item;
  return true;
}

Value Loop::peek() {
  if (after.is(Kind::missing)) {
    Value item;
    if (cursor.next(item)) after = std::move(item);
  }
  return after;
}

std::int64_t Loop::length() {
  if (knownLength) return *knownLength;
  knownLength = lengthOf(iterable);
  if (!knownLength) {
    std::vector<Value> rest;
    for (Value item; cursor.next(item);) {
      checkSize((rest.size() + 1) * sizeof(Value));
      rest.push_back(std::move(item));
    }
    knownLength = static_cast<std::int64_t>(rest.size()) + index0 + 1 + !after.is(Kind::missing);
    cursor = Cursor(Value::list(std::move(rest)));
  }
  return *knownLength;
}

// ---- undefined

namespace {
Value makeUndefined(std::string message) {
  auto info = std::make_shared<UndefinedInfo>();
  info->message = std::move(message);
  return {Kind::undefined, std::move(info)};
}
}  // namespace

Value undefinedNamed(const std::string& name) {
  return makeUndefined("'" + name + "' is undefined");
}

Value undefinedBecause(std::string message) {
  return makeUndefined(std::move(message));
}

std::string undefinedMessage(const Value& value) {
  return value.object() ? value.as<UndefinedInfo>().message : "the value is undefined";
}

void throwUndefined(const Value& value) {
  throwFailure(undefinedMessage(value));
}

}  // namespace decoscope::jinja
