// Runs a bound template. One interpreter renders once, on one thread. Its functions throw Failure.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/tokenizer/jinja/Ast.h"
#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Template.h"
#include "core/tokenizer/jinja/Value.h"

namespace decoscope::jinja {

// The arguments of one call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// Arguments sorted into named parameters, by Python's rules: too many, unknown or missing ones fail.
class Parameters {
 public:
  Parameters(const char* function, const Arguments& arguments, std::initializer_list<const char*> names,
             std::size_t required = 0);
  // Null where it was not given.
  const Value* operator[](std::size_t index) const { return values_[index]; }
  // None counts as not given.
  const Value* some(std::size_t index) const;
  std::int64_t whole(std::size_t index, std::int64_t otherwise) const;
  bool truth(std::size_t index, bool otherwise = false) const;
  std::string text(std::size_t index, std::string_view otherwise = {}) const;  // must be a string

 private:
  const char* function_;
  std::vector<const Value*> values_;
};

// Goes through an iterable value once.
class Cursor {
 public:
  Cursor() = default;
  explicit Cursor(Value iterable);  // fails if it is not iterable
  bool next(Value& item);

 private:
  Value iterable_;
  std::size_t at_ = 0;
};

std::vector<Value> itemsOf(const Value& iterable);
// Each of these takes what the one before it takes, and more.
bool isSequence(const Value& value);    // has places that can be counted
bool isReversible(const Value& value);  // what Python's reversed() takes
bool isIterable(const Value& value);
// Python's len(), or nothing where a value has none.
std::optional<std::int64_t> lengthOf(const Value& value);
std::int64_t requireLength(const Value& value);

struct Function final : Object {
  std::string name;
  std::optional<Value> self;  // of a bound method
  std::function<Value(Interpreter&, Arguments&)> call;
};
Value makeFunction(std::string name, std::function<Value(Interpreter&, Arguments&)> call);
Value makeIterator(int nesting, std::function<bool(Value&)> next, const char* type = "generator");

struct Activation;

struct Macro final : Object {
  const MacroCode* code = nullptr;
  Activation* closure = nullptr;  // kept by the interpreter
};

// cycler, joiner, and `self`
struct HelperObject final : Object {
  std::string type;
  std::unordered_map<std::string, Value> attributes;
  std::function<Value(Interpreter&, Arguments&)> call;  // may be empty
  std::function<void(HelperObject&)> refresh;           // brings `attributes` up to date; may be empty
};

// What `loop` is inside a loop.
struct Loop final : Object {
  Loop(Value iterable, const ForLoop* node, Activation* closure, std::int64_t depth0);
  bool next(Value& item);
  std::int64_t length();
  Value peek();  // the item after the current one, or missing

  Value iterable;
  Cursor cursor;
  std::int64_t index0 = -1, depth0 = 0;
  std::optional<std::int64_t> knownLength;
  Value after = Value::missing(), now = Value::missing(), before = Value::missing(),
        changing = Value::missing();
  const ForLoop* node = nullptr;  // of a recursive loop
  Activation* closure = nullptr;
};

// Where names are looked up that no scope has: what the caller gave, the globals, and for blocks what stood
// around them.
struct Context {
  std::unordered_map<std::string, Value> variables;
  const Context* outer = nullptr;
};

// One running function's variables.
struct Activation final : Object {
  Activation(int slots, Activation* outer, Context* context);
  // Something that may live longer than the call refers to it: it is kept until the end.
  void capture();
  std::vector<Value> slots;
  Activation* outer;
  Context* context;
  bool captured = false;
};

Value undefinedNamed(const std::string& name);
Value undefinedBecause(std::string message);
// What the use of an undefined value says: "'x' is undefined".
std::string undefinedMessage(const Value& value);
[[noreturn]] void throwUndefined(const Value& value);

class Interpreter {
 public:
  Interpreter(const Program& program, const RenderOptions& options);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string render(const Variables& variables);
  int line() const { return line_; }

  Value call(const Value& callee, Arguments& arguments);
  Value filter(const Value& name, const Value& input, Arguments& arguments);
  bool test(const Value& name, const Value& input, Arguments& arguments);
  // Keeps a namespace until the end, so that circles of them are taken apart.
  Value keep(std::shared_ptr<NameSpace> nameSpace);
  std::tm now() const;

 private:
  enum class Flow { next, breakLoop, continueLoop };

  Flow run(const Body& body, Activation& frame);
  Flow run(const Statement& statement, Activation& frame);
  Flow runLoop(const ForLoop& node, Activation& frame, const Value& iterable, std::int64_t depth);
  Flow runLoopHere(const ForLoop& node, Activation& frame, Activation& outside, const Value& iterable,
                   std::int64_t depth);
  std::string recurse(const ForLoop& node, Activation& outside, const Value& iterable, std::int64_t depth);
  Value filtered(const ForLoop& node, Activation& outside, const Value& iterable);
  void runBlock(const Block& block, Context& context);
  void runAssign(const Assign& node, Activation& frame);
  Value blocksOf(Context& context);
  Value makeMacro(const MacroCode& code, Activation& frame);
  Value callMacro(const Macro& macro, Arguments& arguments);
  void fillParameters(const MacroCode& code, Arguments& arguments, Activation& frame);

  Value evaluate(const Expression& node, Activation& frame);
  Value evaluateName(const Name& node, Activation& frame);
  Value evaluateComparison(const Comparison& node, Activation& frame);
  Value evaluateDict(const DictDisplay& node, Activation& frame);
  Value evaluateSlice(const SliceExpression& node, Activation& frame);
  Value evaluateCall(const CallExpression& node, Activation& frame, const Value* caller);
  Value evaluateOperation(const NamedOperation& node, Activation& frame, const Value* input);
  Value concatenated(const Items& node, Activation& frame);
  std::vector<Value> evaluateAll(const std::vector<ExpressionPtr>& nodes, Activation& frame);
  Arguments evaluateArguments(const ArgumentList& list, Activation& frame);
  Value filterChain(const Expression& filter, Activation& frame, std::string text);

  void enter(const ScopeCode& scope, Activation& frame);
  void leave(const ScopeCode& scope, Activation& frame);
  void assign(const Expression& target, Value value, Activation& frame);
  void keepEscaped(const Value& value);
  void takeApart();
  void exportNames(const Expression& target, Activation& frame);
  static Value& variable(Slot slot, Activation& frame);
  Value resolve(const std::string& name, const Context& context) const;
  template <typename Work>
  void withActivation(int slots, Activation* outer, Context* context, const Work& work);
  void write(std::string_view text);
  void writeBlock(const Value& value);
  template <typename Work>
  std::string captured(const Work& work);

  const Program& program_;
  const RenderOptions& options_;
  std::string* out_ = nullptr;
  int line_ = 0;
  std::vector<std::unique_ptr<Activation>> activations_;
  std::vector<std::shared_ptr<NameSpace>> nameSpaces_;
  std::vector<Value> escaped_;  // iterators and loops that a namespace has held, and what they are in
  std::vector<std::unique_ptr<Context>> contexts_;
  std::unordered_map<std::string, const Block*> blocks_;
};

}  // namespace decoscope::jinja
