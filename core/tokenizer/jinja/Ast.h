// The syntax tree of a template. The parser makes it, the binder fills in where each name lives, the
// interpreter walks it. Immutable after that.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/tokenizer/jinja/Value.h"

namespace decoscope::jinja {

class Interpreter;
struct Arguments;
// A filter or test: gets what stands before the bar or the `is`.
using Operation = Value (*)(Interpreter&, const Value& input, Arguments&);

// Where a variable lives: `hops` functions outwards (macros, recursive loops and loop filters are functions),
// `index` in that function's slots.
struct Slot {
  int hops = 0;
  int index = -1;
};

// What happens to the variables of a scope when it is entered.
struct Load {
  enum class Action { parameter, resolve, alias, undefined };
  int slot = 0;
  Action action = Action::undefined;
  std::string name;  // to resolve from the context
  Slot source;       // to alias
};

struct ScopeCode {
  std::vector<Load> loads;
};

struct Expression {
  enum class Kind {
    literal,
    name,
    tuple,
    list,
    dict,
    unary,
    logical,
    arithmetic,
    concatenation,
    comparison,
    attribute,
    subscript,
    slice,
    conditional,
    call,
    filter,
    test,
    nameSpaceTarget,
  };
  Expression(Kind kind, int line) : kind(kind), line(line) {}
  virtual ~Expression() = default;
  const Kind kind;
  const int line;
  int depth = 1;  // levels of expressions below and including this one
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct Literal final : Expression {
  Literal(Value value, int line) : Expression(Kind::literal, line), value(std::move(value)) {}
  Value value;
};

struct Name final : Expression {
  Name(std::string name, int line) : Expression(Kind::name, line), name(std::move(name)) {}
  std::string name;
  Slot slot;
};

struct NameSpaceTarget final : Expression {  // `ns.attribute` on the left of `set`
  NameSpaceTarget(std::string name, std::string attribute, int line)
      : Expression(Kind::nameSpaceTarget, line), name(std::move(name)), attribute(std::move(attribute)) {}
  std::string name, attribute;
  Slot slot;
};

struct Items final : Expression {  // tuple, list, concatenation
  Items(Kind kind, std::vector<ExpressionPtr> items, int line)
      : Expression(kind, line), items(std::move(items)) {}
  std::vector<ExpressionPtr> items;
};

struct DictDisplay final : Expression {
  explicit DictDisplay(int line) : Expression(Kind::dict, line) {}
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};

enum class Operator {
  add,
  subtract,
  multiply,
  divide,
  floorDivide,
  modulo,
  power,
  logicalAnd,
  logicalOr,
  logicalNot,
  negative,
  positive,
  equal,
  notEqual,
  less,
  lessEqual,
  greater,
  greaterEqual,
  in,
  notIn,
};

struct Unary final : Expression {
  Unary(Operator op, ExpressionPtr operand, int line)
      : Expression(Kind::unary, line), op(op), operand(std::move(operand)) {}
  Operator op;
  ExpressionPtr operand;
};

struct Binary final : Expression {  // logical, arithmetic
  Binary(Kind kind, Operator op, ExpressionPtr left, ExpressionPtr right, int line)
      : Expression(kind, line), op(op), left(std::move(left)), right(std::move(right)) {}
  Operator op;
  ExpressionPtr left, right;
};

struct Comparison final : Expression {
  Comparison(ExpressionPtr first, int line) : Expression(Kind::comparison, line), first(std::move(first)) {}
  ExpressionPtr first;
  std::vector<std::pair<Operator, ExpressionPtr>> rest;
};

struct Attribute final : Expression {
  Attribute(ExpressionPtr object, std::string name, int line)
      : Expression(Kind::attribute, line), object(std::move(object)), name(std::move(name)) {}
  ExpressionPtr object;
  std::string name;
};

struct Subscript final : Expression {
  Subscript(ExpressionPtr object, ExpressionPtr index, int line)
      : Expression(Kind::subscript, line), object(std::move(object)), index(std::move(index)) {}
  ExpressionPtr object, index;
};

struct SliceExpression final : Expression {
  explicit SliceExpression(int line) : Expression(Kind::slice, line) {}
  ExpressionPtr object, start, stop, step;  // any of the last three may be null
};

struct Conditional final : Expression {
  Conditional(ExpressionPtr test, ExpressionPtr then, ExpressionPtr otherwise, int line)
      : Expression(Kind::conditional, line),
        test(std::move(test)),
        then(std::move(then)),
        otherwise(std::move(otherwise)) {}
  ExpressionPtr test, then, otherwise;  // `otherwise` may be null
};

struct ArgumentList {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keyword;
  ExpressionPtr positionalFrom, keywordFrom;  // *args and **kwargs, or null
};

struct CallExpression final : Expression {
  CallExpression(ExpressionPtr callee, ArgumentList arguments, int line)
      : Expression(Kind::call, line), callee(std::move(callee)), arguments(std::move(arguments)) {}
  ExpressionPtr callee;
  ArgumentList arguments;
};

struct NamedOperation final : Expression {  // filter, test
  NamedOperation(Kind kind, ExpressionPtr input, std::string name, ArgumentList arguments, int line)
      : Expression(kind, line),
        input(std::move(input)),
        name(std::move(name)),
        arguments(std::move(arguments)) {}
  ExpressionPtr input;  // null in filter blocks: the text of the block
  std::string name;
  ArgumentList arguments;
  Operation operation = nullptr;  // null: unknown, which fails when it is reached
};

// Calls `visit(ExpressionPtr&)` for the expressions directly below `node` that are there.
template <typename Visit>
void forEachChild(Expression& node, const Visit& visit) {
  using Kind = Expression::Kind;
  const auto some = [&](ExpressionPtr& child) {
    if (child) visit(child);
  };
  const auto list = [&](ArgumentList& arguments) {
    for (ExpressionPtr& argument : arguments.positional) visit(argument);
    for (auto& [name, argument] : arguments.keyword) visit(argument);
    some(arguments.positionalFrom);
    some(arguments.keywordFrom);
  };
  switch (node.kind) {
    case Kind::literal:
    case Kind::name:
    case Kind::nameSpaceTarget:
      break;
    case Kind::tuple:
    case Kind::list:
    case Kind::concatenation:
      for (ExpressionPtr& item : static_cast<Items&>(node).items) visit(item);
      break;
    case Kind::dict:
      for (auto& [key, value] : static_cast<DictDisplay&>(node).items) visit(key), visit(value);
      break;
    case Kind::unary:
      visit(static_cast<Unary&>(node).operand);
      break;
    case Kind::logical:
    case Kind::arithmetic:
      visit(static_cast<Binary&>(node).left);
      visit(static_cast<Binary&>(node).right);
      break;
    case Kind::comparison:
      visit(static_cast<Comparison&>(node).first);
      for (auto& [op, value] : static_cast<Comparison&>(node).rest) visit(value);
      break;
    case Kind::attribute:
      visit(static_cast<Attribute&>(node).object);
      break;
    case Kind::subscript:
      visit(static_cast<Subscript&>(node).object);
      visit(static_cast<Subscript&>(node).index);
      break;
    case Kind::slice: {
      auto& slice = static_cast<SliceExpression&>(node);
      some(slice.object), some(slice.start), some(slice.stop), some(slice.step);
      break;
    }
    case Kind::conditional: {
      auto& conditional = static_cast<Conditional&>(node);
      visit(conditional.test), visit(conditional.then), some(conditional.otherwise);
      break;
    }
    case Kind::call:
      visit(static_cast<CallExpression&>(node).callee);
      list(static_cast<CallExpression&>(node).arguments);
      break;
    case Kind::filter:
    case Kind::test:
      some(static_cast<NamedOperation&>(node).input);
      list(static_cast<NamedOperation&>(node).arguments);
      break;
  }
}

struct Statement {
  enum class Kind {
    text,
    output,
    branch,
    loop,
    assign,
    assignBlock,
    macro,
    callBlock,
    filterBlock,
    with,
    scope,
    block,
    breakLoop,
    continueLoop,
  };
  Statement(Kind kind, int line) : kind(kind), line(line) {}
  virtual ~Statement() = default;
  const Kind kind;
  const int line;
};
using StatementPtr = std::unique_ptr<Statement>;
using Body = std::vector<StatementPtr>;

struct TextOutput final : Statement {
  TextOutput(std::string text, int line) : Statement(Kind::text, line), text(std::move(text)) {}
  std::string text;
};

struct Output final : Statement {
  explicit Output(int line) : Statement(Kind::output, line) {}
  std::vector<ExpressionPtr> expressions;
};

struct Branch final : Statement {
  explicit Branch(int line) : Statement(Kind::branch, line) {}
  std::vector<std::pair<ExpressionPtr, Body>> cases;
  Body otherwise;
};

struct ForLoop final : Statement {
  explicit ForLoop(int line) : Statement(Kind::loop, line) {}
  ExpressionPtr target, iterable, test;  // `test` may be null
  ExpressionPtr testTarget;              // the target as the test's own function sees it
  Body body, otherwise;
  bool recursive = false;
  Slot loopSlot;
  ScopeCode bodyScope, otherwiseScope, testScope;
  int slots = 0;      // of the function, if recursive
  int testSlots = 0;  // of the test's function
};

struct Assign final : Statement {
  explicit Assign(int line) : Statement(Kind::assign, line) {}
  ExpressionPtr target, value;
  bool exported = false;  // at the top level: blocks see it
};

struct AssignBlock final : Statement {
  explicit AssignBlock(int line) : Statement(Kind::assignBlock, line) {}
  ExpressionPtr target, filter;  // `filter` may be null
  Body body;
  ScopeCode scope;
  bool exported = false;
};

// What macros and call blocks have in common: a function with parameters that returns its output.
struct MacroCode {
  std::string name;  // empty for call blocks
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  std::vector<Slot> parameterSlots;
  Body body;
  ScopeCode scope;
  int line = 0;
  int slots = 0;
  Slot caller, keywords, rest;  // index −1: not used
};

struct MacroDefinition final : Statement {
  explicit MacroDefinition(int line) : Statement(Kind::macro, line) {}
  MacroCode code;
  Slot slot;
  bool exported = false;
};

struct CallBlock final : Statement {
  explicit CallBlock(int line) : Statement(Kind::callBlock, line) {}
  MacroCode code;
  ExpressionPtr call;  // null for generation blocks, which render their body
};

struct FilterBlock final : Statement {
  explicit FilterBlock(int line) : Statement(Kind::filterBlock, line) {}
  ExpressionPtr filter;
  Body body;
  ScopeCode scope;
};

struct With final : Statement {
  explicit With(int line) : Statement(Kind::with, line) {}
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> bindings;
  Body body;
  ScopeCode scope;
};

struct Scope final : Statement {
  explicit Scope(int line) : Statement(Kind::scope, line) {}
  Body body;
  ScopeCode code;
};

struct Block final : Statement {
  explicit Block(int line) : Statement(Kind::block, line) {}
  std::string name;
  bool scoped = false, required = false;
  Body body;
  ScopeCode scope;
  int slots = 0;
  Slot self, parent;                               // `self` and `super`, index −1: not used
  std::vector<std::pair<std::string, Slot>> seen;  // what a scoped block sees of where it stands
};

struct LoopControl final : Statement {
  LoopControl(Kind kind, int line) : Statement(kind, line) {}
};

struct Program {
  Body body;
  ScopeCode scope;
  int slots = 0;
  Slot self;
  std::vector<Block*> blocks;
};

}  // namespace decoscope::jinja
