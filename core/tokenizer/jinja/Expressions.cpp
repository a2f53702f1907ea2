// The half of the interpreter that evaluates expressions.
#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Interpreter.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"

namespace decoscope::jinja {

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
