#include "core/tokenizer/jinja/ExpressionParser.h"

#include <algorithm>

#include "core/tokenizer/jinja/Failure.h"

namespace decoscope::jinja {

namespace {

constexpr int kMaximumDepth = 300;

std::string quoted(const std::string& text) {
  return "'" + text + "'";
}

}  // namespace

void ExpressionParser::fail(const std::string& message, int line) const {
  throwFailure(message, FailureKind::error, line ? line : current().line);
}

ExpressionPtr ExpressionParser::checked(ExpressionPtr node) const {
  forEachChild(*node,
               [&](const ExpressionPtr& child) { node->depth = std::max(node->depth, child->depth + 1); });
  if (node->depth > kMaximumDepth)
    throwFailure("an expression is nested too deeply", FailureKind::limit, node->line);
  return node;
}

template <typename T, typename... Parts>
ExpressionPtr ExpressionParser::make(Parts&&... parts) {
  return checked(std::make_unique<T>(std::forward<Parts>(parts)...));
}

Token ExpressionParser::take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::skipSymbol(std::string_view text) {
  if (!isSymbol(text)) return false;
  take();
  return true;
}

bool ExpressionParser::skipName(std::string_view text) {
  if (!isName(text)) return false;
  take();
  return true;
}

void ExpressionParser::expectSymbol(std::string_view text) {
  if (!skipSymbol(text))
    fail("expected token " + quoted(std::string(text)) + ", got " + quoted(describe(current())));
}

void ExpressionParser::expectName(std::string_view text) {
  if (!skipName(text))
    fail("expected token " + quoted(std::string(text)) + ", got " + quoted(describe(current())));
}

Token ExpressionParser::expect(Token::Type type, const char* what) {
  if (current().type == type) return take();
  if (current().type == Token::Type::end) fail("unexpected end of template, expected " + quoted(what) + ".");
  fail("expected token " + quoted(what) + ", got " + quoted(describe(current())));
}

bool ExpressionParser::endsTuple(std::string_view endName) const {
  return current().type == Token::Type::variableEnd || current().type == Token::Type::blockEnd ||
         isSymbol(")") || (!endName.empty() && isName(endName));
}

ExpressionPtr ExpressionParser::tuple(bool withConditional, std::string_view endName, bool parentheses) {
  const DepthGuard guard;
  int line = current().line;
  std::vector<ExpressionPtr> items;
  bool isTuple = false;
  for (;;) {
    if (!items.empty()) expectSymbol(",");
    if (endsTuple(endName)) break;
    items.push_back(expression(withConditional));
    if (!isSymbol(",")) break;
    isTuple = true;
    line = current().line;
  }
  if (!isTuple) {
    if (!items.empty()) return std::move(items.front());
    if (!parentheses) fail("Expected an expression, got " + quoted(describe(current())));
  }
  return make<Items>(Expression::Kind::tuple, std::move(items), line);
}

ExpressionPtr ExpressionParser::target(std::string_view endName, bool withNameSpace) {
  const DepthGuard guard;
  const int line = current().line;
  const auto isAssignable = [this](const ExpressionPtr& node) {
    const auto check = [](const auto& self, const Expression& item) -> bool {
      if (item.kind == Expression::Kind::name || item.kind == Expression::Kind::nameSpaceTarget) return true;
      if (item.kind != Expression::Kind::tuple) return false;
      const auto& items = static_cast<const Items&>(item).items;
      return std::all_of(items.begin(), items.end(), [&](const auto& part) { return self(self, *part); });
    };
    if (!check(check, *node)) fail("can't assign to this", node->line);
  };
  std::vector<ExpressionPtr> items;
  bool isTuple = false;
  for (;;) {
    if (!items.empty()) expectSymbol(",");
    if (endsTuple(endName)) break;
    items.push_back(primary(withNameSpace));
    isAssignable(items.back());
    if (!isSymbol(",")) break;
    isTuple = true;
  }
  if (!isTuple) {
    if (!items.empty()) return std::move(items.front());
    fail("Expected an expression, got " + quoted(describe(current())));
  }
  return make<Items>(Expression::Kind::tuple, std::move(items), line);
}

ExpressionPtr ExpressionParser::targetName() {
  const Token token = expect(Token::Type::name, "name");
  for (const char* constant : {"true", "false", "none", "True", "False", "None"})
    if (token.text == constant) fail("can't assign to " + quoted(token.text), token.line);
  return make<Name>(token.text, token.line);
}

ExpressionPtr ExpressionParser::expression(bool withConditional) {
  const DepthGuard guard;
  return withConditional ? conditional() : disjunction();
}

ExpressionPtr ExpressionParser::conditional() {
  const DepthGuard guard;
  int line = current().line;
  ExpressionPtr node = disjunction();
  while (skipName("if")) {
    ExpressionPtr test = disjunction(), otherwise;
    if (skipName("else")) otherwise = conditional();
    node = make<Conditional>(std::move(test), std::move(node), std::move(otherwise), line);
    line = current().line;
  }
  return node;
}

ExpressionPtr ExpressionParser::disjunction() {
  int line = current().line;
  ExpressionPtr left = conjunction();
  while (skipName("or")) {
    ExpressionPtr right = conjunction();
    left =
        make<Binary>(Expression::Kind::logical, Operator::logicalOr, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::conjunction() {
  int line = current().line;
  ExpressionPtr left = negation();
  while (skipName("and")) {
    ExpressionPtr right = negation();
    left = make<Binary>(Expression::Kind::logical, Operator::logicalAnd, std::move(left), std::move(right),
                        line);
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::negation() {
  if (!isName("not")) return comparison();
  const DepthGuard guard;
  const int line = take().line;
  ExpressionPtr operand = negation();
  return make<Unary>(Operator::logicalNot, std::move(operand), line);
}

ExpressionPtr ExpressionParser::comparison() {
  static constexpr std::pair<std::string_view, Operator> operators[] = {
      {"==", Operator::equal},     {"!=", Operator::notEqual}, {"<", Operator::less},
      {"<=", Operator::lessEqual}, {">", Operator::greater},   {">=", Operator::greaterEqual}};
  const int line = current().line;
  ExpressionPtr first = sum();
  std::vector<std::pair<Operator, ExpressionPtr>> rest;
  for (;;) {
    const auto* found = std::find_if(std::begin(operators), std::end(operators),
                                     [this](const auto& item) { return isSymbol(item.first); });
    if (found != std::end(operators)) {
      take();
      rest.emplace_back(found->second, sum());
    } else if (skipName("in")) {
      rest.emplace_back(Operator::in, sum());
    } else if (isName("not") && ahead().type == Token::Type::name && ahead().text == "in") {
      take();
      take();
      rest.emplace_back(Operator::notIn, sum());
    } else {
      break;
    }
  }
  if (rest.empty()) return first;
  auto node = std::make_unique<Comparison>(std::move(first), line);
  node->rest = std::move(rest);
  return checked(std::move(node));
}

ExpressionPtr ExpressionParser::sum() {
  int line = current().line;
  ExpressionPtr left = concatenation();
  while (isSymbol("+") || isSymbol("-")) {
    const Operator op = take().text == "+" ? Operator::add : Operator::subtract;
    ExpressionPtr right = concatenation();
    left = make<Binary>(Expression::Kind::arithmetic, op, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  const int line = current().line;
  std::vector<ExpressionPtr> items;
  items.push_back(product());
  while (skipSymbol("~")) items.push_back(product());
  if (items.size() == 1) return std::move(items.front());
  return make<Items>(Expression::Kind::concatenation, std::move(items), line);
}

ExpressionPtr ExpressionParser::product() {
  int line = current().line;
  ExpressionPtr left = power();
  while (isSymbol("*") || isSymbol("/") || isSymbol("//") || isSymbol("%")) {
    const std::string text = take().text;
    const Operator op = text == "*"   ? Operator::multiply
                        : text == "/" ? Operator::divide
                        : text == "%" ? Operator::modulo
                                      : Operator::floorDivide;
    ExpressionPtr right = power();
    left = make<Binary>(Expression::Kind::arithmetic, op, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  int line = current().line;
  ExpressionPtr left = unary();
  while (skipSymbol("**")) {
    ExpressionPtr right = unary();
    left =
        make<Binary>(Expression::Kind::arithmetic, Operator::power, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool withFilters) {
  const DepthGuard guard;
  const int line = current().line;
  ExpressionPtr node;
  if (skipSymbol("-"))
    node = make<Unary>(Operator::negative, unary(false), line);
  else if (skipSymbol("+"))
    node = make<Unary>(Operator::positive, unary(false), line);
  else
    node = primary();
  node = postfix(std::move(node));
  return withFilters ? filterExpression(std::move(node)) : std::move(node);
}

ExpressionPtr ExpressionParser::primary(bool withNameSpace) {
  const DepthGuard guard;
  const Token& token = current();
  const int line = token.line;
  switch (token.type) {
    case Token::Type::name: {
      const std::string name = take().text;
      if (name == "true" || name == "True") return make<Literal>(Value(true), line);
      if (name == "false" || name == "False") return make<Literal>(Value(false), line);
      if (name == "none" || name == "None") return make<Literal>(Value(nullptr), line);
      if (withNameSpace && skipSymbol("."))
        return make<NameSpaceTarget>(name, expect(Token::Type::name, "name").text, line);
      return make<Name>(name, line);
    }
    case Token::Type::string: {
      std::string text;
      while (current().type == Token::Type::string) text += take().text;
      return make<Literal>(Value(std::move(text)), line);
    }
    case Token::Type::integer:
      return make<Literal>(Value(take().integer), line);
    case Token::Type::real:
      return make<Literal>(Value(take().real), line);
    case Token::Type::symbol:
      if (token.text == "(") {
        take();
        ExpressionPtr node = tuple(true, {}, true);
        expectSymbol(")");
        return node;
      }
      if (token.text == "[") return listDisplay();
      if (token.text == "{") return dictDisplay();
      [[fallthrough]];
    default:
      fail("unexpected " + quoted(describe(token)));
  }
}

ExpressionPtr ExpressionParser::listDisplay() {
  const int line = take().line;
  std::vector<ExpressionPtr> items;
  while (!isSymbol("]")) {
    if (!items.empty()) expectSymbol(",");
    if (isSymbol("]")) break;
    items.push_back(expression());
  }
  expectSymbol("]");
  return make<Items>(Expression::Kind::list, std::move(items), line);
}

ExpressionPtr ExpressionParser::dictDisplay() {
  auto node = std::make_unique<DictDisplay>(take().line);
  while (!isSymbol("}")) {
    if (!node->items.empty()) expectSymbol(",");
    if (isSymbol("}")) break;
    ExpressionPtr key = expression();
    expectSymbol(":");
    ExpressionPtr value = expression();
    node->items.emplace_back(std::move(key), std::move(value));
  }
  expectSymbol("}");
  return checked(std::move(node));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr node) {
  for (;;) {
    if (isSymbol(".") || isSymbol("["))
      node = subscript(std::move(node));
    else if (const int line = current().line; isSymbol("("))
      node = make<CallExpression>(std::move(node), arguments(), line);
    else
      return node;
  }
}

ExpressionPtr ExpressionParser::filterExpression(ExpressionPtr node) {
  for (;;) {
    if (isSymbol("|"))
      node = filters(std::move(node));
    else if (isName("is"))
      node = test(std::move(node));
    else if (const int line = current().line; isSymbol("("))
      node = make<CallExpression>(std::move(node), arguments(), line);
    else
      return node;
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr node) {
  const Token token = take();
  if (token.text == ".") {
    const Token name = take();
    if (name.type == Token::Type::name) return make<Attribute>(std::move(node), name.text, token.line);
    if (name.type != Token::Type::integer) fail("expected name or number", name.line);
    return make<Subscript>(std::move(node), make<Literal>(Value(name.integer), name.line), token.line);
  }
  std::vector<ExpressionPtr> items;
  ExpressionPtr sliced;
  while (!isSymbol("]")) {
    if (sliced) throwFailure("slices in several dimensions", FailureKind::unsupported, current().line);
    if (!items.empty()) expectSymbol(",");
    ExpressionPtr item = subscripted(node);
    if (item->kind == Expression::Kind::slice && !node)
      sliced = std::move(item);
    else
      items.push_back(std::move(item));
  }
  expectSymbol("]");
  if (sliced) {
    if (!items.empty()) throwFailure("slices in several dimensions", FailureKind::unsupported, token.line);
    return sliced;
  }
  ExpressionPtr index = items.size() == 1
                            ? std::move(items.front())
                            : make<Items>(Expression::Kind::tuple, std::move(items), token.line);
  return make<Subscript>(std::move(node), std::move(index), token.line);
}

// One item between brackets. A slice takes `object` into itself.
ExpressionPtr ExpressionParser::subscripted(ExpressionPtr& object) {
  const int line = current().line;
  ExpressionPtr start;
  if (!isSymbol(":")) {
    start = expression();
    if (!isSymbol(":")) return start;
  }
  take();
  auto node = std::make_unique<SliceExpression>(line);
  node->start = std::move(start);
  const auto ends = [this] { return isSymbol("]") || isSymbol(","); };
  if (!isSymbol(":") && !ends()) node->stop = expression();
  if (skipSymbol(":") && !ends()) node->step = expression();
  node->object = std::move(object);
  return checked(std::move(node));
}

ArgumentList ExpressionParser::arguments() {
  const DepthGuard guard;
  const int line = current().line;
  expectSymbol("(");
  ArgumentList list;
  bool needComma = false;
  const auto ensure = [&](bool holds) {
    if (!holds) fail("invalid syntax for function call expression", line);
  };
  while (!isSymbol(")")) {
    if (needComma) {
      expectSymbol(",");
      if (isSymbol(")")) break;
    }
    if (isSymbol("*")) {
      ensure(!list.positionalFrom && !list.keywordFrom);
      take();
      list.positionalFrom = expression();
    } else if (isSymbol("**")) {
      ensure(!list.keywordFrom);
      take();
      list.keywordFrom = expression();
    } else if (current().type == Token::Type::name && ahead().type == Token::Type::symbol &&
               ahead().text == "=") {
      ensure(!list.keywordFrom);
      const std::string name = take().text;
      take();
      for (const auto& [known, value] : list.keyword)
        if (known == name) fail("keyword argument repeated: " + name, line);
      list.keyword.emplace_back(name, expression());
    } else {
      ensure(!list.positionalFrom && !list.keywordFrom && list.keyword.empty());
      list.positional.push_back(expression());
    }
    needComma = true;
  }
  expectSymbol(")");
  return list;
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr input, bool inlineStart) {
  while (isSymbol("|") || inlineStart) {
    if (!inlineStart) take();
    const Token token = expect(Token::Type::name, "name");
    std::string name = token.text;
    while (skipSymbol(".")) name += "." + expect(Token::Type::name, "name").text;
    ArgumentList list;
    if (isSymbol("(")) list = arguments();
    input =
        make<NamedOperation>(Expression::Kind::filter, std::move(input), name, std::move(list), token.line);
    inlineStart = false;
  }
  return input;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr node) {
  const int line = take().line;
  const bool negated = skipName("not");
  std::string name = expect(Token::Type::name, "name").text;
  while (skipSymbol(".")) name += "." + expect(Token::Type::name, "name").text;
  ArgumentList list;
  const Token::Type type = current().type;
  if (isSymbol("(")) {
    list = arguments();
  } else if ((type == Token::Type::name || type == Token::Type::string || type == Token::Type::integer ||
              type == Token::Type::real || isSymbol("[") || isSymbol("{")) &&
             !isName("else") && !isName("or") && !isName("and")) {
    if (isName("is")) fail("You cannot chain multiple tests with is");
    list.positional.push_back(postfix(primary()));
  }
  node = make<NamedOperation>(Expression::Kind::test, std::move(node), name, std::move(list), line);
  return negated ? make<Unary>(Operator::logicalNot, std::move(node), line) : std::move(node);
}

}  // namespace decoscope::jinja
