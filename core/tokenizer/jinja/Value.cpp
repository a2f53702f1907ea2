#include "core/tokenizer/jinja/Value.h"

#include <algorithm>
#include <cmath>

#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Interpreter.h"

namespace decoscope::jinja {

namespace {

thread_local std::int64_t liveBytesOfThread = 0;

// Below this many entries a dict is searched from the front.
constexpr std::size_t kSmallDict = 8;

int below(int nesting) {
  if (nesting >= kMaximumNesting) throwFailure("values are nested too deeply");
  return nesting + 1;
}

}  // namespace

Object::Object() {
  account(sizeof(Object) + 32);
}

Object::~Object() {
  liveBytesOfThread -= static_cast<std::int64_t>(accounted_);
}

void Object::account(std::size_t bytes) {
  accounted_ += bytes;
  liveBytesOfThread += static_cast<std::int64_t>(bytes);
}

std::int64_t Object::liveBytes() {
  return liveBytesOfThread;
}

Text::Text(std::string text, bool isMarkup) : bytes(std::move(text)), markup(isMarkup) {
  for (const char c : bytes) length += (c & 0xC0) != 0x80;
  account(bytes.capacity());
}

Sequence::Sequence(std::vector<Value> values) : items(std::move(values)) {
  account(items.capacity() * sizeof(Value));
  int deepest = 0;
  for (const Value& item : items) {
    deepest = std::max(deepest, item.nesting());
    lazy = lazy || item.lazy();
  }
  nesting = below(deepest);
}

Sequence::~Sequence() = default;

Value::Value(std::string text, bool markup)
    : kind_(Kind::string), object_(std::make_shared<Text>(std::move(text), markup)) {}

Value Value::list(std::vector<Value> items) {
  return {Kind::list, std::make_shared<Sequence>(std::move(items))};
}

Value Value::tuple(std::vector<Value> items) {
  return {Kind::tuple, std::make_shared<Sequence>(std::move(items))};
}

Value Value::dict(std::vector<std::pair<std::string, Value>> entries) {
  auto result = std::make_shared<Dict>();
  for (auto& [key, value] : entries) result->set(std::move(key), std::move(value));
  return dict(std::move(result));
}

Value Value::dict(std::shared_ptr<Dict> entries) {
  return {Kind::dict, std::move(entries)};
}

const Text& Value::text() const {
  return as<Text>();
}
const std::string& Value::bytes() const {
  return as<Text>().bytes;
}
const std::vector<Value>& Value::items() const {
  return as<Sequence>().items;
}
const Dict& Value::entries() const {
  return as<Dict>();
}

bool Value::truth() const {
  switch (kind_) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return boolean();
    case Kind::integer:
      return scalar_.integer != 0;
    case Kind::real:
      return scalar_.real != 0;
    case Kind::string:
      return !bytes().empty();
    case Kind::list:
    case Kind::tuple:
      return !items().empty();
    case Kind::dict:
      return !entries().items.empty();
    case Kind::range:
      return as<Range>().length() > 0;
    case Kind::view:
      return as<View>().dict.truth();
    case Kind::loop:
      return as<Loop>().length() > 0;
    default:
      return true;
  }
}

bool Value::identical(const Value& other) const {
  if (kind_ != other.kind_) return false;
  if (object_ || other.object_) {
    if (object_ == other.object_) return true;
    return kind_ == Kind::string && bytes() == other.bytes();
  }
  return kind_ == Kind::undefined || equal(*this, other);
}

std::int64_t Range::length() const {
  if (step > 0 && start < stop) return (stop - start - 1) / step + 1;
  if (step < 0 && start > stop) return (start - stop - 1) / -step + 1;
  return 0;
}

void Dict::set(Value key, Value value) {
  const auto keyOfString = key.is(Kind::string);
  nesting = std::max({nesting, below(value.nesting()), keyOfString ? 1 : below(key.nesting())});
  lazy = lazy || key.lazy() || value.lazy();
  if (index_.empty()) {
    for (auto& [known, held] : items)
      if (equal(known, key)) {
        held = std::move(value);
        return;
      }
  } else if (const auto found = index_.find(key); found != index_.end()) {
    items[found->second].second = std::move(value);
    return;
  }
  account(2 * sizeof(Value) + (index_.empty() ? 0 : 2 * sizeof(Value)));
  items.emplace_back(std::move(key), std::move(value));
  if (!index_.empty())
    index_.emplace(items.back().first, items.size() - 1);
  else if (items.size() > kSmallDict)
    for (std::size_t i = 0; i < items.size(); ++i) index_.emplace(items[i].first, i);
}

const Value* Dict::find(const Value& key) const {
  if (!index_.empty()) {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &items[found->second].second;
  }
  for (const auto& [known, value] : items)
    if (equal(known, key)) return &value;
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) return find(Value(key));
  for (const auto& [known, value] : items)
    if (known.is(Kind::string) && known.bytes() == key) return &value;
  return nullptr;
}

bool isHashable(const Value& value) {
  chargeSteps(1);
  switch (value.kind()) {
    case Kind::list:
    case Kind::dict:
    case Kind::view:
      return false;
    case Kind::tuple:
      return std::all_of(value.items().begin(), value.items().end(), isHashable);
    default:
      return true;
  }
}

std::size_t ValueHash::operator()(const Value& value) const {
  chargeSteps(1);
  switch (value.kind()) {
    case Kind::boolean:
    case Kind::integer:
      return std::hash<std::int64_t>()(value.whole());
    case Kind::real: {
      const double real = value.real();
      if (std::abs(real) < 9e18 && real == std::floor(real))
        return std::hash<std::int64_t>()(static_cast<std::int64_t>(real));
      return std::hash<double>()(real);
    }
    case Kind::string:
      chargeBytes(value.bytes().size());
      return std::hash<std::string>()(value.bytes());
    case Kind::tuple: {
      std::size_t hash = 0x9E3779B97F4A7C15u;
      for (const Value& item : value.items()) hash = hash * 1'000'003u ^ (*this)(item);
      return hash;
    }
    case Kind::range:
      return static_cast<std::size_t>(value.as<Range>().length());
    case Kind::undefined:
    case Kind::none:
      return static_cast<std::size_t>(value.kind());
    default:
      return std::hash<const void*>()(value.object().get());
  }
}

bool ValueEqual::operator()(const Value& a, const Value& b) const {
  return equal(a, b);
}

namespace {

bool equalItems(const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const Value& x, const Value& y) {
           return (x.object() && x.object() == y.object()) || equal(x, y);
         });
}

bool equalDicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = b.find(key);
    if (!other || !equal(value, *other)) return false;
  }
  return true;
}

bool equalRanges(const Range& a, const Range& b) {
  const std::int64_t length = a.length();
  return length == b.length() && (length == 0 || (a.start == b.start && (length == 1 || a.step == b.step)));
}

bool equalViews(const View& a, const View& b) {
  if (&a == &b) return true;
  if (a.part == View::Part::values || b.part == View::Part::values || a.part != b.part) return false;
  const Dict &left = a.dict.entries(), &right = b.dict.entries();
  if (left.items.size() != right.items.size()) return false;
  for (const auto& [key, value] : left.items) {
    const Value* other = right.find(key);
    if (!other || (a.part == View::Part::items && !equal(value, *other))) return false;
  }
  return true;
}

bool equalNumbers(const Value& a, const Value& b) {
  if (a.isWhole() && b.isWhole()) return a.whole() == b.whole();
  if (!a.isWhole() && !b.isWhole()) return a.real() == b.real();
  const std::int64_t whole = a.isWhole() ? a.whole() : b.whole();
  const double real = a.isWhole() ? b.real() : a.real();
  return real == std::floor(real) && real >= -9223372036854775808.0 && real < 9223372036854775808.0 &&
         static_cast<std::int64_t>(real) == whole;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  if (a.isNumber() && b.isNumber()) return equalNumbers(a, b);
  if (a.kind() != b.kind()) return false;
  chargeSteps(1);
  switch (a.kind()) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      if (a.bytes().size() != b.bytes().size()) return false;
      chargeBytes(a.bytes().size());
      return a.bytes() == b.bytes();
    case Kind::list:
    case Kind::tuple:
      return equalItems(a.items(), b.items());
    case Kind::dict:
      return a.object() == b.object() || equalDicts(a.entries(), b.entries());
    case Kind::range:
      return equalRanges(a.as<Range>(), b.as<Range>());
    case Kind::view:
      return equalViews(a.as<View>(), b.as<View>());
    case Kind::function: {
      const Function &left = a.as<Function>(), &right = b.as<Function>();
      return &left == &right ||
             (left.name == right.name && left.self && right.self && left.self->identical(*right.self));
    }
    default:
      return a.object() == b.object();
  }
}

std::string typeName(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return value.text().markup ? "Markup" : "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::range:
      return "range";
    case Kind::view:
      switch (value.as<View>().part) {
        case View::Part::keys:
          return "dict_keys";
        case View::Part::values:
          return "dict_values";
        case View::Part::items:
          return "dict_items";
      }
      return "view";
    case Kind::iterator:
      return value.as<Iterator>().type;
    case Kind::nameSpace:
      return "Namespace";
    case Kind::loop:
      return "LoopContext";
    case Kind::function:
      return "builtin_function_or_method";
    case Kind::macro:
      return "Macro";
    case Kind::object:
      return value.as<HelperObject>().type;
  }
  return "object";
}

}  // namespace decoscope::jinja
