#include "core/tokenizer/jinja/Interpreter.h"

#include <unordered_set>

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"

namespace decoscope::jinja {

Activation::Activation(int slots, Activation* outer, Context* context)
    : slots(static_cast<std::size_t>(slots), Value::missing()), outer(outer), context(context) {
  account(static_cast<std::size_t>(slots) * sizeof(Value));
}

void Activation::capture() {
  for (Activation* at = this; at && !at->captured; at = at->outer) at->captured = true;
}

Interpreter::Interpreter(const Program& program, const RenderOptions& options)
    : program_(program), options_(options) {
  for (const Block* block : program.blocks) blocks_.emplace(block->name, block);
}

Interpreter::~Interpreter() {
  // Namespaces may hold each other in circles; their contents go first, while all of them are still there.
  takeApart();
  for (const auto& nameSpace : nameSpaces_) nameSpace->attributes.reset();
  for (const auto& activation : activations_) activation->slots.clear();
}

std::string Interpreter::render(const Variables& variables) {
  contexts_.push_back(std::make_unique<Context>());
  Context& context = *contexts_.back();
  for (const auto& [name, value] : globals()) context.variables.emplace(name, value);
  for (const auto& [name, value] : variables) context.variables.insert_or_assign(name, value);
  std::string text;
  out_ = &text;
  withActivation(program_.slots, nullptr, &context, [&](Activation& frame) {
    if (program_.self.index >= 0) variable(program_.self, frame) = blocksOf(context);
    enter(program_.scope, frame);
    run(program_.body, frame);
  });
  return text;
}

// ---- variables

// Runs `work` with the variables of a new call.
template <typename Work>
void Interpreter::withActivation(int slots, Activation* outer, Context* context, const Work& work) {
  const DepthGuard guard;
  chargeBytes(static_cast<std::uint64_t>(slots) * sizeof(Value));
  auto frame = std::make_unique<Activation>(slots, outer, context);
  work(*frame);
  if (frame->captured) activations_.push_back(std::move(frame));
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
    keepEscaped(value);
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

// Only through a namespace can an iterator or loop come to hold itself: it gives what the namespace holds
// later.
void Interpreter::keepEscaped(const Value& value) {
  if (value.lazy()) escaped_.push_back(value);
}

void Interpreter::takeApart() {
  std::vector<Value> pending = std::move(escaped_);
  std::unordered_set<const Object*> seen;
  while (!pending.empty()) {
    const Value value = std::move(pending.back());
    pending.pop_back();
    if (!value.lazy() || !seen.insert(value.object().get()).second) continue;
    switch (value.kind()) {
      case Kind::list:
      case Kind::tuple:
        pending.insert(pending.end(), value.items().begin(), value.items().end());
        break;
      case Kind::dict:
        for (const auto& [key, item] : value.entries().items) pending.insert(pending.end(), {key, item});
        break;
      case Kind::view:
        pending.push_back(value.as<View>().dict);
        break;
      case Kind::function:
        if (value.as<Function>().self) pending.push_back(*value.as<Function>().self);
        break;
      case Kind::iterator:
        value.as<Iterator>().next = [](Value&) { return false; };
        break;
      case Kind::loop: {
        Loop& loop = value.as<Loop>();
        loop.cursor = Cursor();
        for (Value* held : {&loop.iterable, &loop.after, &loop.now, &loop.before, &loop.changing})
          pending.push_back(std::exchange(*held, Value()));
        break;
      }
      case Kind::object:
        value.as<HelperObject>().attributes.clear();
        value.as<HelperObject>().call = nullptr;
        value.as<HelperObject>().refresh = nullptr;
        break;
      default:
        break;
    }
  }
}

Value Interpreter::keep(std::shared_ptr<NameSpace> nameSpace) {
  for (const auto& [key, value] : nameSpace->attributes->items) keepEscaped(value);
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
  withActivation(block.slots, nullptr, &context, [&](Activation& frame) {
    if (block.self.index >= 0) variable(block.self, frame) = blocksOf(context);
    if (block.parent.index >= 0)
      variable(block.parent, frame) =
          undefinedBecause("there is no parent block called '" + block.name + "'.");
    enter(block.scope, frame);
    run(block.body, frame);
  });
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
  outside.capture();
  return captured([&] {
    withActivation(node.slots, &outside, outside.context,
                   [&](Activation& frame) { runLoopHere(node, frame, outside, iterable, depth); });
  });
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
  outside.capture();
  auto frame = std::make_shared<Activation>(node.testSlots, &outside, outside.context);
  auto cursor = std::make_shared<Cursor>(iterable);
  return makeIterator(iterable.nesting(), [this, &node, frame, cursor, entered = false](Value& item) mutable {
    const DepthGuard guard;
    if (!std::exchange(entered, true)) enter(node.testScope, *frame);
    while (cursor->next(item)) {
      assign(*node.testTarget, item, *frame);
      if (evaluate(*node.test, *frame).truth()) return true;
    }
    return false;
  });
}

// ---- macros and calls

Value Interpreter::makeMacro(const MacroCode& code, Activation& frame) {
  auto macro = std::make_shared<Macro>();
  macro->code = &code;
  macro->closure = &frame;
  frame.capture();
  return {Kind::macro, std::move(macro)};
}

Value Interpreter::callMacro(const Macro& macro, Arguments& arguments) {
  const int line = line_;
  std::string text;
  withActivation(macro.code->slots, macro.closure, macro.closure->context, [&](Activation& frame) {
    fillParameters(*macro.code, arguments, frame);
    text = captured([&] { run(macro.code->body, frame); });
  });
  line_ = line;
  return Value(std::move(text));
}

// By the rules of Jinja2: positional, then keywords, then defaults, which see the parameters before them.
void Interpreter::fillParameters(const MacroCode& code, Arguments& arguments, Activation& frame) {
  const std::string title = code.name.empty() ? "None" : "'" + code.name + "'";
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
  for (std::size_t i = 0; i < expected; ++i) {
    Value& slot = variable(code.parameterSlots[i], frame);
    if (!slot.is(Kind::missing)) continue;
    const std::size_t fromEnd = expected - i;
    slot = fromEnd <= code.defaults.size()
               ? evaluate(*code.defaults[code.defaults.size() - fromEnd], frame)
               : undefinedBecause("parameter '" + code.parameters[i] + "' was not provided");
  }
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

}  // namespace decoscope::jinja
