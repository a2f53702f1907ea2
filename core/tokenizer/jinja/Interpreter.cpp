#include "core/tokenizer/jinja/Interpreter.h"

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"

namespace decoscope::jinja {

Activation::Activation(int slots, Activation* outer, Context* context)
    : slots(static_cast<std::size_t>(slots), Value::missing()), outer(outer), context(context) {}

Interpreter::Interpreter(const Program& program, const RenderOptions& options)
    : program_(program), options_(options) {
  for (const Block* block : program.blocks) blocks_.emplace(block->name, block);
}

Interpreter::~Interpreter() {
  // Namespaces may hold each other in circles; their contents go first, while all of them are still there.
  for (const auto& nameSpace : nameSpaces_) nameSpace->attributes.reset();
  for (const auto& activation : activations_) activation->slots.clear();
}

std::string Interpreter::render(const Variables& variables) {
  contexts_.push_back(std::make_unique<Context>());
  Context& context = *contexts_.back();
  for (const auto& [name, value] : globals()) context.variables.emplace(name, value);
  for (const auto& [name, value] : variables) context.variables.insert_or_assign(name, value);
  Activation& frame = keepActivation(program_.slots, nullptr, &context);
  std::string text;
  out_ = &text;
  if (program_.self.index >= 0) variable(program_.self, frame) = blocksOf(context);
  enter(program_.scope, frame);
  run(program_.body, frame);
  return text;
}

// ---- variables

Activation& Interpreter::keepActivation(int slots, Activation* outer, Context* context) {
  chargeBytes(static_cast<std::uint64_t>(slots) * sizeof(Value));
  activations_.push_back(std::make_unique<Activation>(slots, outer, context));
  return *activations_.back();
}

Value& Interpreter::variable(Slot slot, Activation& frame) {
  Activation* owner = &frame;
  for (int hop = 0; hop < slot.hops; ++hop) owner = owner->outer;
  return owner->slots[static_cast<std::size_t>(slot.index)];
}

Value Interpreter::resolve(const std::string& name, const Context& context) const {
  for (const Context* at = &context; at; at = at->outer)
    if (const auto found = at->variables.find(name); found != at->variables.end()) return found->second;
  return Value::missing();
}

void Interpreter::enter(const ScopeCode& scope, Activation& frame) {
  for (const Load& load : scope.loads) {
    if (load.action == Load::Action::parameter) continue;
    chargeSteps(1);
    Value& target = frame.slots[static_cast<std::size_t>(load.slot)];
    if (load.action == Load::Action::resolve)
      target = resolve(load.name, *frame.context);
    else if (load.action == Load::Action::alias)
      target = Value(variable(load.source, frame));
    else
      target = Value::missing();
  }
}

void Interpreter::leave(const ScopeCode& scope, Activation& frame) {
  for (const Load& load : scope.loads) frame.slots[static_cast<std::size_t>(load.slot)] = Value::missing();
}

void Interpreter::assign(const Expression& target, Value value, Activation& frame) {
  if (target.kind == Expression::Kind::name) {
    variable(static_cast<const Name&>(target).slot, frame) = std::move(value);
  } else if (target.kind == Expression::Kind::nameSpaceTarget) {
    const auto& node = static_cast<const NameSpaceTarget&>(target);
    const Value& owner = variable(node.slot, frame);
    if (!owner.is(Kind::nameSpace)) throwFailure("cannot assign attribute on non-namespace object");
    if (node.attribute.starts_with('_'))
      throwFailure("a namespace cannot hold the attribute '" + node.attribute +
                   "': it begins with an underscore");
    owner.as<NameSpace>().attributes->set(Value(node.attribute), std::move(value));
  } else {
    const auto& parts = static_cast<const Items&>(target).items;
    if (!isIterable(value)) throwFailure("cannot unpack non-iterable " + typeName(value) + " object");
    Cursor cursor(value);
    std::vector<Value> items;
    Value item;
    while (items.size() <= parts.size() && cursor.next(item)) items.push_back(item);
    if (items.size() > parts.size())
      throwFailure("too many values to unpack (expected " + std::to_string(parts.size()) + ")");
    if (items.size() < parts.size())
      throwFailure("not enough values to unpack (expected " + std::to_string(parts.size()) + ", got " +
                   std::to_string(items.size()) + ")");
    for (std::size_t i = 0; i < parts.size(); ++i) assign(*parts[i], std::move(items[i]), frame);
  }
}

// Blocks look names up in the context, where the top level leaves what it sets.
void Interpreter::exportNames(const Expression& target, Activation& frame) {
  if (blocks_.empty()) return;
  if (target.kind == Expression::Kind::name) {
    const auto& name = static_cast<const Name&>(target);
    frame.context->variables.insert_or_assign(name.name, variable(name.slot, frame));
  } else if (target.kind == Expression::Kind::tuple) {
    for (const ExpressionPtr& part : static_cast<const Items&>(target).items) exportNames(*part, frame);
  }
}

Value Interpreter::keep(std::shared_ptr<NameSpace> nameSpace) {
  nameSpaces_.push_back(nameSpace);
  return {Kind::nameSpace, std::move(nameSpace)};
}

std::tm Interpreter::now() const {
  if (options_.now) return *options_.now;
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  localtime_r(&seconds, &local);
  return local;
}

// ---- output

void Interpreter::write(std::string_view text) {
  chargeBytes(text.size());
  checkSize(out_->size() + text.size());
  *out_ += text;
}

// What a call or filter block gives is joined to the output as it is, so it has to be text.
void Interpreter::writeBlock(const Value& value) {
  if (!value.is(Kind::string))
    throwFailure("the block gives a value of type " + typeName(value) + ", not text");
  write(value.bytes());
}

template <typename Work>
std::string Interpreter::captured(const Work& work) {
  std::string text;
  std::string* const outer = out_;
  out_ = &text;
  work();
  out_ = outer;
  return text;
}

// ---- statements

Interpreter::Flow Interpreter::run(const Body& body, Activation& frame) {
  for (const StatementPtr& statement : body)
    if (const Flow flow = run(*statement, frame); flow != Flow::next) return flow;
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const Statement& statement, Activation& frame) {
  const DepthGuard guard;
  chargeSteps(1);
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::Kind::text:
      write(static_cast<const TextOutput&>(statement).text);
      break;
    case Statement::Kind::output:
      for (const ExpressionPtr& part : static_cast<const Output&>(statement).expressions)
        write(str(evaluate(*part, frame)));
      break;
    case Statement::Kind::branch: {
      const auto& node = static_cast<const Branch&>(statement);
      for (const auto& [test, body] : node.cases)
        if (evaluate(*test, frame).truth()) return run(body, frame);
      return run(node.otherwise, frame);
    }
    case Statement::Kind::loop: {
      const auto& node = static_cast<const ForLoop&>(statement);
      return runLoop(node, frame, evaluate(*node.iterable, frame), 0);
    }
    case Statement::Kind::assign:
      runAssign(static_cast<const Assign&>(statement), frame);
      break;
    case Statement::Kind::assignBlock: {
      const auto& node = static_cast<const AssignBlock&>(statement);
      enter(node.scope, frame);
      std::string text = captured([&] { run(node.body, frame); });
      Value value = node.filter ? filterChain(*node.filter, frame, std::move(text)) : Value(std::move(text));
      assign(*node.target, std::move(value), frame);
      if (node.exported) exportNames(*node.target, frame);
      leave(node.scope, frame);
      break;
    }
    case Statement::Kind::macro: {
      const auto& node = static_cast<const MacroDefinition&>(statement);
      variable(node.slot, frame) = makeMacro(node.code, frame);
      if (node.exported && !blocks_.empty())
        frame.context->variables.insert_or_assign(node.code.name, variable(node.slot, frame));
      break;
    }
    case Statement::Kind::callBlock: {
      const auto& node = static_cast<const CallBlock&>(statement);
      const Value caller = makeMacro(node.code, frame);
      Arguments none;
      writeBlock(node.call ? evaluateCall(static_cast<const CallExpression&>(*node.call), frame, &caller)
                           : call(caller, none));
      break;
    }
    case Statement::Kind::filterBlock: {
      const auto& node = static_cast<const FilterBlock&>(statement);
      enter(node.scope, frame);
      std::string text = captured([&] { run(node.body, frame); });
      writeBlock(filterChain(*node.filter, frame, std::move(text)));
      leave(node.scope, frame);
      break;
    }
    case Statement::Kind::with: {
      const auto& node = static_cast<const With&>(statement);
      enter(node.scope, frame);
      for (const auto& [target, value] : node.bindings) assign(*target, evaluate(*value, frame), frame);
      const Flow flow = run(node.body, frame);
      leave(node.scope, frame);
      return flow;
    }
    case Statement::Kind::scope: {
      const auto& node = static_cast<const Scope&>(statement);
      enter(node.code, frame);
      const Flow flow = run(node.body, frame);
      leave(node.code, frame);
      return flow;
    }
    case Statement::Kind::block: {
      const auto& node = static_cast<const Block&>(statement);
      if (node.required) throwFailure("Required block '" + node.name + "' not found");
      if (!node.scoped) {
        runBlock(node, *frame.context);
        break;
      }
      contexts_.push_back(std::make_unique<Context>());
      Context& context = *contexts_.back();
      context.outer = frame.context;
      for (const auto& [name, slot] : node.seen)
        if (const Value& value = variable(slot, frame); !value.is(Kind::missing))
          context.variables.emplace(name, value);
      runBlock(node, context);
      break;
    }
    case Statement::Kind::breakLoop:
      return Flow::breakLoop;
    case Statement::Kind::continueLoop:
      return Flow::continueLoop;
  }
  return Flow::next;
}

void Interpreter::runAssign(const Assign& node, Activation& frame) {
  assign(*node.target, evaluate(*node.value, frame), frame);
  if (node.exported) exportNames(*node.target, frame);
}

void Interpreter::runBlock(const Block& block, Context& context) {
  Activation& frame = keepActivation(block.slots, nullptr, &context);
  if (block.self.index >= 0) variable(block.self, frame) = blocksOf(context);
  if (block.parent.index >= 0)
    variable(block.parent, frame) = undefinedBecause("there is no parent block called '" + block.name + "'.");
  enter(block.scope, frame);
  run(block.body, frame);
}

// What `self` is: every block as a function.
Value Interpreter::blocksOf(Context& context) {
  auto blocks = std::make_shared<HelperObject>();
  blocks->type = "TemplateReference";
  for (const auto& [name, block] : blocks_)
    blocks->attributes.emplace(
        name, makeFunction(name, [block = block, &context](Interpreter& interpreter, Arguments&) {
          const DepthGuard guard;
          return Value(interpreter.captured([&] { interpreter.runBlock(*block, context); }));
        }));
  return {Kind::object, std::move(blocks)};
}

Interpreter::Flow Interpreter::runLoop(const ForLoop& node, Activation& frame, const Value& iterable,
                                       std::int64_t depth) {
  if (!node.recursive) return runLoopHere(node, frame, frame, iterable, depth);
  write(recurse(node, frame, iterable, depth));
  return Flow::next;
}

std::string Interpreter::recurse(const ForLoop& node, Activation& outside, const Value& iterable,
                                 std::int64_t depth) {
  const DepthGuard guard;
  Activation& frame = keepActivation(node.slots, &outside, outside.context);
  return captured([&] { runLoopHere(node, frame, outside, iterable, depth); });
}

Interpreter::Flow Interpreter::runLoopHere(const ForLoop& node, Activation& frame, Activation& outside,
                                           const Value& iterable, std::int64_t depth) {
  const auto loop = std::make_shared<Loop>(node.test ? filtered(node, outside, iterable) : iterable,
                                           node.recursive ? &node : nullptr, &outside, depth);
  bool completed = false;  // Jinja2 runs the else branch also when no iteration came to its end
  Value item;
  while (loop->next(item)) {
    variable(node.loopSlot, frame) = Value(Kind::loop, loop);
    assign(*node.target, std::move(item), frame);
    enter(node.bodyScope, frame);
    const Flow flow = run(node.body, frame);
    if (flow == Flow::breakLoop) break;
    if (flow == Flow::next) completed = true;
  }
  leave(node.bodyScope, frame);
  if (completed || node.otherwise.empty()) return Flow::next;
  enter(node.otherwiseScope, frame);
  const Flow flow = run(node.otherwise, frame);
  leave(node.otherwiseScope, frame);
  return flow;
}

// The items for which the loop's `if` holds, tested when they are asked for.
Value Interpreter::filtered(const ForLoop& node, Activation& outside, const Value& iterable) {
  Activation& frame = keepActivation(node.testSlots, &outside, outside.context);
  auto cursor = std::make_shared<Cursor>(iterable);
  return makeIterator(iterable.nesting(),
                      [this, &node, &frame, cursor, entered = false](Value& item) mutable {
                        const DepthGuard guard;
                        if (!std::exchange(entered, true)) enter(node.testScope, frame);
                        while (cursor->next(item)) {
                          assign(*node.testTarget, item, frame);
                          if (evaluate(*node.test, frame).truth()) return true;
                        }
                        return false;
                      });
}

// ---- macros and calls

Value Interpreter::makeMacro(const MacroCode& code, Activation& frame) {
  auto macro = std::make_shared<Macro>();
  macro->code = &code;
  macro->closure = &frame;
  return {Kind::macro, std::move(macro)};
}

Value Interpreter::callMacro(const Macro& macro, Arguments& arguments) {
  const DepthGuard guard;
  const MacroCode& code = *macro.code;
  const std::string title = code.name.empty() ? "None" : "'" + code.name + "'";
  Activation& frame = keepActivation(code.slots, macro.closure, macro.closure->context);
  const std::size_t expected = code.parameters.size();
  const auto takeKeyword = [&](const std::string& name) -> std::optional<Value> {
    for (auto at = arguments.keyword.begin(); at != arguments.keyword.end(); ++at)
      if (at->first == name) {
        Value value = std::move(at->second);
        arguments.keyword.erase(at);
        return value;
      }
    return std::nullopt;
  };
  bool foundCaller = false;
  for (std::size_t i = 0; i < expected; ++i) {
    Value& slot = variable(code.parameterSlots[i], frame);
    if (i < arguments.positional.size()) {
      slot = arguments.positional[i];
    } else {
      if (auto value = takeKeyword(code.parameters[i])) slot = std::move(*value);
      if (code.parameters[i] == "caller") foundCaller = true;
    }
    if (arguments.positional.size() >= expected && code.parameters[i] == "caller") foundCaller = true;
  }
  if (code.caller.index >= 0 && !foundCaller) {
    auto caller = takeKeyword("caller");
    variable(code.caller, frame) =
        caller && !caller->is(Kind::none) ? *caller : undefinedBecause("No caller defined");
  }
  if (code.keywords.index >= 0) {
    variable(code.keywords, frame) = Value::dict(std::move(arguments.keyword));
  } else if (!arguments.keyword.empty()) {
    throwFailure("macro " + title + " takes no keyword argument '" + arguments.keyword.front().first + "'");
  }
  if (code.rest.index >= 0) {
    std::vector<Value> rest;
    for (std::size_t i = expected; i < arguments.positional.size(); ++i)
      rest.push_back(arguments.positional[i]);
    variable(code.rest, frame) = Value::tuple(std::move(rest));
  } else if (arguments.positional.size() > expected) {
    throwFailure("macro " + title + " takes not more than " + std::to_string(expected) + " argument(s)");
  }
  enter(code.scope, frame);
  const int line = line_;
  for (std::size_t i = 0; i < expected; ++i) {
    Value& slot = variable(code.parameterSlots[i], frame);
    if (!slot.is(Kind::missing)) continue;
    const std::size_t fromEnd = expected - i;
    slot = fromEnd <= code.defaults.size()
               ? evaluate(*code.defaults[code.defaults.size() - fromEnd], frame)
               : undefinedBecause("parameter '" + code.parameters[i] + "' was not provided");
  }
  std::string text = captured([&] { run(code.body, frame); });
  line_ = line;
  return Value(std::move(text));
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  switch (callee.kind()) {
    case Kind::macro:
      return callMacro(callee.as<Macro>(), arguments);
    case Kind::function:
      return callee.as<Function>().call(*this, arguments);
    case Kind::object:
      if (!callee.as<HelperObject>().call) break;
      return callee.as<HelperObject>().call(*this, arguments);
    case Kind::loop: {
      Loop& loop = callee.as<Loop>();
      if (!loop.node) throwFailure("The loop must have the 'recursive' marker to be called recursively.");
      const Parameters parameters("loop", arguments, {"iterable"}, 1);
      return Value(recurse(*loop.node, *loop.closure, *parameters[0], loop.depth0 + 1));
    }
    case Kind::undefined:
      throwUndefined(callee);
    default:
      break;
  }
  throwFailure("'" + typeName(callee) + "' object is not callable");
}

Value Interpreter::filter(const Value& name, const Value& input, Arguments& arguments) {
  const Operation operation = name.is(Kind::string) ? findFilter(name.bytes()) : nullptr;
  if (!operation) throwFailure("No filter named " + repr(name) + ".");
  return operation(*this, input, arguments);
}

bool Interpreter::test(const Value& name, const Value& input, Arguments& arguments) {
  const Operation operation = name.is(Kind::string) ? findTest(name.bytes()) : nullptr;
  if (!operation) throwFailure("No test named " + repr(name) + ".");
  return operation(*this, input, arguments).truth();
}

// ---- expressions

Value Interpreter::evaluate(const Expression& node, Activation& frame) {
  const DepthGuard guard;
  chargeSteps(1);
  switch (node.kind) {
    case Expression::Kind::literal:
      return static_cast<const Literal&>(node).value;
    case Expression::Kind::name:
      return evaluateName(static_cast<const Name&>(node), frame);
    case Expression::Kind::tuple:
      return Value::tuple(evaluateAll(static_cast<const Items&>(node).items, frame));
    case Expression::Kind::list:
      return Value::list(evaluateAll(static_cast<const Items&>(node).items, frame));
    case Expression::Kind::concatenation:
      return concatenated(static_cast<const Items&>(node), frame);
    case Expression::Kind::dict:
      return evaluateDict(static_cast<const DictDisplay&>(node), frame);
    case Expression::Kind::unary: {
      const auto& unary = static_cast<const Unary&>(node);
      const Value operand = evaluate(*unary.operand, frame);
      if (unary.op == Operator::logicalNot) return !operand.truth();
      return unary.op == Operator::negative ? negated(operand) : positive(operand);
    }
    case Expression::Kind::logical: {
      const auto& binary = static_cast<const Binary&>(node);
      Value left = evaluate(*binary.left, frame);
      if (left.truth() == (binary.op == Operator::logicalOr)) return left;
      return evaluate(*binary.right, frame);
    }
    case Expression::Kind::arithmetic: {
      const auto& binary = static_cast<const Binary&>(node);
      const Value left = evaluate(*binary.left, frame), right = evaluate(*binary.right, frame);
      return arithmetic(binary.op, left, right);
    }
    case Expression::Kind::comparison:
      return evaluateComparison(static_cast<const Comparison&>(node), frame);
    case Expression::Kind::attribute: {
      const auto& attribute = static_cast<const Attribute&>(node);
      return getAttribute(evaluate(*attribute.object, frame), attribute.name);
    }
    case Expression::Kind::subscript: {
      const auto& subscript = static_cast<const Subscript&>(node);
      const Value object = evaluate(*subscript.object, frame);
      return getItem(object, evaluate(*subscript.index, frame));
    }
    case Expression::Kind::slice:
      return evaluateSlice(static_cast<const SliceExpression&>(node), frame);
    case Expression::Kind::conditional: {
      const auto& conditional = static_cast<const Conditional&>(node);
      if (evaluate(*conditional.test, frame).truth()) return evaluate(*conditional.then, frame);
      if (conditional.otherwise) return evaluate(*conditional.otherwise, frame);
      return undefinedBecause("the inline if-expression on line " + std::to_string(node.line) +
                              " evaluated to false and no else section was defined.");
    }
    case Expression::Kind::call:
      return evaluateCall(static_cast<const CallExpression&>(node), frame, nullptr);
    case Expression::Kind::filter:
    case Expression::Kind::test:
      return evaluateOperation(static_cast<const NamedOperation&>(node), frame, nullptr);
    case Expression::Kind::nameSpaceTarget:
      break;
  }
  throwFailure("a namespace attribute stands where a value is needed");
}

Value Interpreter::evaluateName(const Name& node, Activation& frame) {
  const Value& value = variable(node.slot, frame);
  if (!value.is(Kind::missing)) return value;
  line_ = node.line;
  return undefinedNamed(node.name);
}

std::vector<Value> Interpreter::evaluateAll(const std::vector<ExpressionPtr>& nodes, Activation& frame) {
  std::vector<Value> values;
  values.reserve(nodes.size());
  for (const ExpressionPtr& node : nodes) values.push_back(evaluate(*node, frame));
  return values;
}

Value Interpreter::concatenated(const Items& node, Activation& frame) {
  std::string text;
  for (const ExpressionPtr& item : node.items) {
    const std::string part = str(evaluate(*item, frame));
    checkSize(text.size() + part.size());
    chargeBytes(part.size());
    text += part;
  }
  return Value(std::move(text));
}

Value Interpreter::evaluateDict(const DictDisplay& node, Activation& frame) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [keyNode, valueNode] : node.items) {
    Value key = evaluate(*keyNode, frame);
    Value value = evaluate(*valueNode, frame);
    if (!isHashable(key)) throwFailure("unhashable type: '" + typeName(key) + "'");
    dict->set(std::move(key), std::move(value));
  }
  return Value::dict(std::move(dict));
}

Value Interpreter::evaluateComparison(const Comparison& node, Activation& frame) {
  Value left = evaluate(*node.first, frame);
  for (const auto& [op, rightNode] : node.rest) {
    Value right = evaluate(*rightNode, frame);
    line_ = node.line;
    bool holds = false;
    switch (op) {
      case Operator::equal:
        holds = equal(left, right);
        break;
      case Operator::notEqual:
        holds = !equal(left, right);
        break;
      case Operator::less:
        holds = less(left, right);
        break;
      case Operator::lessEqual:
        holds = lessEqual(left, right);
        break;
      case Operator::greater:
        holds = less(right, left, ">");
        break;
      case Operator::greaterEqual:
        holds = lessEqual(right, left, ">=");
        break;
      case Operator::in:
        holds = contains(right, left);
        break;
      default:
        holds = !contains(right, left);
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::evaluateSlice(const SliceExpression& node, Activation& frame) {
  const Value object = evaluate(*node.object, frame);
  const auto bound = [&](const ExpressionPtr& part) {
    return part ? evaluate(*part, frame) : Value(nullptr);
  };
  const Value start = bound(node.start), stop = bound(node.stop), step = bound(node.step);
  line_ = node.line;
  return sliced(object, start, stop, step);
}

Arguments Interpreter::evaluateArguments(const ArgumentList& list, Activation& frame) {
  Arguments arguments;
  arguments.positional = evaluateAll(list.positional, frame);
  for (const auto& [name, node] : list.keyword) arguments.keyword.emplace_back(name, evaluate(*node, frame));
  if (list.positionalFrom) {
    const Value more = evaluate(*list.positionalFrom, frame);
    if (!isIterable(more)) throwFailure("argument after * must be an iterable, not " + typeName(more));
    for (Value& value : itemsOf(more)) arguments.positional.push_back(std::move(value));
  }
  if (list.keywordFrom) {
    const Value more = evaluate(*list.keywordFrom, frame);
    if (!more.is(Kind::dict)) throwFailure("argument after ** must be a mapping, not " + typeName(more));
    for (const auto& [key, value] : more.entries().items) {
      if (!key.is(Kind::string)) throwFailure("keywords must be strings");
      for (const auto& [known, other] : list.keyword)
        if (known == key.bytes()) throwFailure("got multiple values for keyword argument '" + known + "'");
      arguments.keyword.emplace_back(key.bytes(), value);
    }
  }
  return arguments;
}

Value Interpreter::evaluateCall(const CallExpression& node, Activation& frame, const Value* caller) {
  const Value callee = evaluate(*node.callee, frame);
  Arguments arguments = evaluateArguments(node.arguments, frame);
  if (caller) arguments.keyword.emplace_back("caller", *caller);
  line_ = node.line;
  return call(callee, arguments);
}

Value Interpreter::evaluateOperation(const NamedOperation& node, Activation& frame, const Value* input) {
  Value value;
  if (!node.input)
    value = input ? *input : Value();
  else if (input && node.input->kind == Expression::Kind::filter)
    value = evaluateOperation(static_cast<const NamedOperation&>(*node.input), frame, input);
  else
    value = evaluate(*node.input, frame);
  Arguments arguments = evaluateArguments(node.arguments, frame);
  line_ = node.line;
  if (!node.operation)
    throwFailure(std::string("No ") + (node.kind == Expression::Kind::filter ? "filter" : "test") +
                 " named '" + node.name + "' found.");
  return node.operation(*this, value, arguments);
}

Value Interpreter::filterChain(const Expression& filter, Activation& frame, std::string text) {
  const Value input(std::move(text));
  return evaluateOperation(static_cast<const NamedOperation&>(filter), frame, &input);
}

}  // namespace decoscope::jinja
