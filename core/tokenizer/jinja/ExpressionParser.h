// The expression half of the parser.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer/jinja/Ast.h"
#include "core/tokenizer/jinja/Lexer.h"

namespace decoscope::jinja {

class ExpressionParser {
 protected:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  [[noreturn]] void fail(const std::string& message, int line = 0) const;
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool isSymbol(std::string_view text) const {
    return current().type == Token::Type::symbol && current().text == text;
  }
  bool isName(std::string_view text) const {
    return current().type == Token::Type::name && current().text == text;
  }
  bool skipSymbol(std::string_view text);
  bool skipName(std::string_view text);
  void expectSymbol(std::string_view text);
  void expectName(std::string_view text);
  Token expect(Token::Type type, const char* what);

  ExpressionPtr expression(bool withConditional = true);
  // One expression, or several with commas as a tuple. `endName` is a name that ends the tuple.
  ExpressionPtr tuple(bool withConditional = true, std::string_view endName = {}, bool parentheses = false);
  // What may stand on the left of `set`, `for` and `with`.
  ExpressionPtr target(std::string_view endName = {}, bool withNameSpace = false);
  ExpressionPtr targetName();
  // `|a|b(…)` after `input`; with `inlineStart` the first name stands without its bar.
  ExpressionPtr filters(ExpressionPtr input, bool inlineStart = false);

 private:
  ExpressionPtr conditional();
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool withFilters = true);
  ExpressionPtr primary(bool withNameSpace = false);
  ExpressionPtr listDisplay();
  ExpressionPtr dictDisplay();
  ExpressionPtr postfix(ExpressionPtr node);
  ExpressionPtr filterExpression(ExpressionPtr node);
  ExpressionPtr subscript(ExpressionPtr node);
  ExpressionPtr subscripted(ExpressionPtr& object);
  ExpressionPtr test(ExpressionPtr node);
  ArgumentList arguments();
  bool endsTuple(std::string_view endName) const;
  template <typename T, typename... Parts>
  ExpressionPtr make(Parts&&... parts);
  ExpressionPtr checked(ExpressionPtr node) const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace decoscope::jinja
