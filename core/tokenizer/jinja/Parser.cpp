#include "core/tokenizer/jinja/Parser.h"

#include <algorithm>

#include "core/tokenizer/jinja/ExpressionParser.h"
#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

class Parser final : private ExpressionParser {
 public:
  explicit Parser(std::string_view source) : ExpressionParser(tokenize(source)) {}

  Program run() {
    Program program;
    program.body = statements({});
    program.blocks = std::move(blocks_);
    return program;
  }

 private:
  using EndNames = std::vector<std::string_view>;

  [[noreturn]] void failOnTag(const std::string& start) const {
    std::string message = start;
    if (!ends_.empty()) {
      message += " Jinja was looking for the following tags: ";
      for (std::size_t i = 0; i < ends_.back().size(); ++i)
        message += (i ? " or '" : "'") + std::string(ends_.back()[i]) + "'";
      message += ".";
    }
    if (!open_.empty())
      message += " The innermost block that needs to be closed is '" + open_.back().first + "' (line " +
                 std::to_string(open_.back().second) + ").";
    fail(message);
  }

  // Statements up to a tag of `ends`, which is left as the current token.
  Body statements(const EndNames& ends) {
    const DepthGuard guard;
    Body body;
    if (!ends.empty()) ends_.push_back(ends);
    for (;;) {
      const Token& token = current();
      if (token.type == Token::Type::end) {
        if (!ends.empty()) failOnTag("Unexpected end of template.");
        break;
      }
      if (token.type == Token::Type::data) {
        body.push_back(std::make_unique<TextOutput>(token.text, token.line));
        take();
      } else if (token.type == Token::Type::variableBegin) {
        auto output = std::make_unique<Output>(take().line);
        output->expressions.push_back(tuple());
        expect(Token::Type::variableEnd, "end of print statement");
        body.push_back(std::move(output));
      } else {
        expect(Token::Type::blockBegin, "begin of statement block");
        if (std::any_of(ends.begin(), ends.end(), [this](std::string_view name) { return isName(name); }))
          break;
        body.push_back(statement());
        expect(Token::Type::blockEnd, "end of statement block");
      }
    }
    if (!ends.empty()) ends_.pop_back();
    return body;
  }

  // The body of a tag: from the end of the tag to one of `ends`.
  Body bodyUntil(const EndNames& ends, bool dropEnd) {
    skipSymbol(":");
    expect(Token::Type::blockEnd, "end of statement block");
    Body body = statements(ends);
    if (dropEnd) take();
    return body;
  }

  StatementPtr statement() {
    const Token& token = current();
    if (token.type != Token::Type::name) fail("tag name expected");
    const std::string name = token.text;
    const int line = token.line;
    open_.emplace_back(name, line);
    StatementPtr node = parseTag(name, line);
    open_.pop_back();
    return node;
  }

  StatementPtr parseTag(const std::string& name, int line) {
    if (name == "for") return forLoop();
    if (name == "if") return branch();
    if (name == "set") return assignment();
    if (name == "macro") return macro();
    if (name == "call") return callBlock();
    if (name == "filter") return filterBlock();
    if (name == "with") return with();
    if (name == "block") return block();
    if (name == "print") return print();
    if (name == "generation") return generation();
    if (name == "autoescape") return autoescape();
    if (name == "break" || name == "continue") {
      take();
      return std::make_unique<LoopControl>(
          name == "break" ? Statement::Kind::breakLoop : Statement::Kind::continueLoop, line);
    }
    for (const char* other : {"include", "import", "from", "extends"})
      if (name == other)
        throwFailure("'" + name + "' needs other templates, which a chat template does not have",
                     FailureKind::unsupported, line);
    open_.pop_back();
    failOnTag("Encountered unknown tag '" + name + "'.");
  }

  StatementPtr forLoop() {
    auto node = std::make_unique<ForLoop>(take().line);
    node->target = target("in");
    expectName("in");
    node->iterable = tuple(false, "recursive");
    if (skipName("if")) node->test = expression();
    node->recursive = skipName("recursive");
    node->body = bodyUntil({"endfor", "else"}, false);
    if (take().text == "else") node->otherwise = bodyUntil({"endfor"}, true);
    return node;
  }

  StatementPtr branch() {
    auto node = std::make_unique<Branch>(take().line);
    for (;;) {
      ExpressionPtr test = tuple(false);
      Body body = bodyUntil({"elif", "else", "endif"}, false);
      node->cases.emplace_back(std::move(test), std::move(body));
      const std::string end = take().text;
      if (end == "elif") continue;
      if (end == "else") node->otherwise = bodyUntil({"endif"}, true);
      return node;
    }
  }

  StatementPtr assignment() {
    const int line = take().line;
    ExpressionPtr to = target({}, true);
    if (skipSymbol("=")) {
      auto node = std::make_unique<Assign>(line);
      node->target = std::move(to);
      node->value = tuple();
      return node;
    }
    auto node = std::make_unique<AssignBlock>(line);
    node->target = std::move(to);
    node->filter = filters(nullptr);
    node->body = bodyUntil({"endset"}, true);
    return node;
  }

  void signature(MacroCode& code) {
    expectSymbol("(");
    while (!isSymbol(")")) {
      if (!code.parameters.empty()) expectSymbol(",");
      const ExpressionPtr parameter = targetName();
      const std::string& name = static_cast<const Name&>(*parameter).name;
      if (std::find(code.parameters.begin(), code.parameters.end(), name) != code.parameters.end())
        fail("duplicate argument '" + name + "' in macro definition");
      code.parameters.push_back(name);
      if (skipSymbol("="))
        code.defaults.push_back(expression());
      else if (!code.defaults.empty())
        fail("non-default argument follows default argument");
    }
    expectSymbol(")");
  }

  StatementPtr macro() {
    auto node = std::make_unique<MacroDefinition>(take().line);
    node->code.line = node->line;
    const ExpressionPtr name = targetName();
    node->code.name = static_cast<const Name&>(*name).name;
    signature(node->code);
    node->code.body = bodyUntil({"endmacro"}, true);
    return node;
  }

  StatementPtr callBlock() {
    auto node = std::make_unique<CallBlock>(take().line);
    node->code.line = node->line;
    if (isSymbol("(")) signature(node->code);
    node->call = expression();
    if (node->call->kind != Expression::Kind::call) fail("expected call", node->line);
    node->code.body = bodyUntil({"endcall"}, true);
    return node;
  }

  StatementPtr generation() {
    auto node = std::make_unique<CallBlock>(take().line);
    node->code.line = node->line;
    node->code.body = bodyUntil({"endgeneration"}, true);
    return node;
  }

  StatementPtr filterBlock() {
    auto node = std::make_unique<FilterBlock>(take().line);
    node->filter = filters(nullptr, true);
    node->body = bodyUntil({"endfilter"}, true);
    return node;
  }

  StatementPtr with() {
    auto node = std::make_unique<With>(take().line);
    while (current().type != Token::Type::blockEnd) {
      if (!node->bindings.empty()) expectSymbol(",");
      ExpressionPtr to = target();
      expectSymbol("=");
      node->bindings.emplace_back(std::move(to), expression());
    }
    node->body = bodyUntil({"endwith"}, true);
    return node;
  }

  StatementPtr autoescape() {
    auto node = std::make_unique<Scope>(take().line);
    const ExpressionPtr enabled = expression();
    if (enabled->kind != Expression::Kind::literal || static_cast<const Literal&>(*enabled).value.truth())
      throwFailure("autoescape other than false", FailureKind::unsupported, node->line);
    node->body = bodyUntil({"endautoescape"}, true);
    return node;
  }

  StatementPtr block() {
    auto node = std::make_unique<Block>(take().line);
    node->name = expect(Token::Type::name, "name").text;
    node->scoped = skipName("scoped");
    node->required = skipName("required");
    node->body = bodyUntil({"endblock"}, true);
    if (node->required)
      for (const StatementPtr& part : node->body)
        if (part->kind != Statement::Kind::text || !strip(static_cast<const TextOutput&>(*part).text).empty())
          fail("Required blocks can only contain comments or whitespace", node->line);
    skipName(node->name);
    for (const Block* other : blocks_)
      if (other->name == node->name) fail("block '" + node->name + "' defined twice", node->line);
    blocks_.push_back(node.get());
    return node;
  }

  StatementPtr print() {
    auto node = std::make_unique<Output>(take().line);
    while (current().type != Token::Type::blockEnd) {
      if (!node->expressions.empty()) expectSymbol(",");
      node->expressions.push_back(expression());
    }
    return node;
  }

  std::vector<EndNames> ends_;
  std::vector<std::pair<std::string, int>> open_;
  std::vector<Block*> blocks_;
};

}  // namespace

Program parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace decoscope::jinja
