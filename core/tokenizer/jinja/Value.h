// The values that a chat template computes with: Python's, as Jinja2 sees them.
//
// A Value is cheap to copy; strings, lists, tuples and dictionaries are immutable once made, so they may be
// shared between threads. Everything else (namespaces, loops, iterators, functions) lives and dies with one
// render. Integers have 64 bits; arithmetic that leaves them is an error, never a wrong number.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace decoscope::jinja {

enum class Kind : std::uint8_t {
  missing,  // an unset variable of the interpreter; never seen by a template
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  dict,
  range,
  view,      // what keys(), values() and items() of a dict return
  iterator,  // what map, select and the like return: can be gone through once
  nameSpace,
  loop,
  function,  // built-in functions and bound methods
  macro,
  object,  // cycler and joiner
};

// How deep values may be nested; what goes deeper is refused, so that nothing recurses without bound.
inline constexpr int kMaximumNesting = 400;

struct Object {
  Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object();
  // Adds to the number of bytes that this thread holds in values.
  void account(std::size_t bytes);
  // Bytes held in values that this thread made and has not given up; may be negative where values were handed
  // to another thread.
  static std::int64_t liveBytes();

  int nesting = 0;
  // An iterator or loop is in it: what it gives later is not known yet, and may lead back to it.
  bool lazy = false;

 private:
  std::size_t accounted_ = 0;
};

struct Text;
struct Sequence;
struct Dict;
struct Range;
struct View;
struct Iterator;
struct NameSpace;
struct Loop;
struct Function;
struct Macro;
struct UndefinedInfo;

class Value {
 public:
  Value() = default;  // undefined, without a name
  Value(std::nullptr_t) : kind_(Kind::none) {}
  Value(bool value) : kind_(Kind::boolean) { scalar_.boolean = value; }
  Value(int value) : Value(static_cast<std::int64_t>(value)) {}
  Value(std::int64_t value) : kind_(Kind::integer) { scalar_.integer = value; }
  Value(double value) : kind_(Kind::real) { scalar_.real = value; }
  // `text` is well-formed UTF-8.
  Value(std::string text, bool markup = false);
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) {}

  static Value missing() {
    Value value;
    value.kind_ = Kind::missing;
    return value;
  }
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(std::vector<std::pair<std::string, Value>> entries);
  static Value dict(std::shared_ptr<Dict> entries);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool isNumber() const { return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::real; }
  bool isWhole() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }

  // Each is only for a value of that kind; `whole` for integers and booleans.
  bool boolean() const { return scalar_.boolean; }
  std::int64_t whole() const { return kind_ == Kind::boolean ? scalar_.boolean : scalar_.integer; }
  double real() const { return kind_ == Kind::real ? scalar_.real : static_cast<double>(whole()); }
  const Text& text() const;
  const std::string& bytes() const;
  const std::vector<Value>& items() const;  // list or tuple
  const Dict& entries() const;
  template <typename T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const std::shared_ptr<Object>& object() const { return object_; }
  int nesting() const { return object_ ? object_->nesting : 0; }
  bool lazy() const { return object_ && object_->lazy; }

  // Python's truth of a value.
  bool truth() const;
  // The same object (`sameas`): identity for objects, equality for numbers and text of one kind.
  bool identical(const Value& other) const;

 private:
  Kind kind_ = Kind::undefined;
  union {
    bool boolean;
    std::int64_t integer = 0;
    double real;
  } scalar_;
  std::shared_ptr<Object> object_;
};

// Text with what Python's indexing needs to know about it.
struct Text final : Object {
  Text(std::string text, bool isMarkup);
  std::string bytes;
  std::size_t length = 0;  // in code points
  bool markup = false;     // already escaped for HTML (Jinja's `safe` and `escape`)
  bool ascii() const { return length == bytes.size(); }
};

struct Sequence final : Object {
  explicit Sequence(std::vector<Value> values);
  ~Sequence() override;
  std::vector<Value> items;
  bool group = false;  // made by groupby: item 0 is also `grouper`, item 1 also `list`
};

struct ValueHash {
  std::size_t operator()(const Value& value) const;
};
struct ValueEqual {
  bool operator()(const Value& a, const Value& b) const;
};

// Keeps the order of insertion; a key that comes again keeps its place and gets the new value.
struct Dict final : Object {
  std::vector<std::pair<Value, Value>> items;

  // `key` must be hashable (see isHashable).
  void set(Value key, Value value);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

 private:
  std::unordered_map<Value, std::size_t, ValueHash, ValueEqual> index_;  // only once there are many
};

struct Range final : Object {
  std::int64_t start = 0, stop = 0, step = 1;
  std::int64_t length() const;
  std::int64_t at(std::int64_t index) const { return start + index * step; }
};

struct View final : Object {
  enum class Part { keys, values, items };
  Part part = Part::keys;
  Value dict;
};

struct Iterator final : Object {
  std::function<bool(Value&)> next;
  bool running = false;  // asked for its next item by itself, it fails as a Python generator does
  std::string type = "generator";
};

struct NameSpace final : Object {
  std::shared_ptr<Dict> attributes;
};

struct UndefinedInfo final : Object {
  std::string message;
  bool security = false;  // the sandbox refused an attribute
};

bool isHashable(const Value& value);
// Python's ==.
bool equal(const Value& a, const Value& b);
// "str", "dict", "NoneType": Python's name of the type, for messages.
std::string typeName(const Value& value);

}  // namespace decoscope::jinja
