#include "core/tokenizer/jinja/Lexer.h"

#include <charconv>
#include <cstdlib>

#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

std::string normalizeNewlines(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      out += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalizeNewlines(source)) {
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (position_ < source_.size()) root();
    push(Token::Type::end, {});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throwFailure(message, FailureKind::error, line_);
  }

  void push(Token::Type type, std::string text) {
    Token token;
    token.type = type;
    token.text = std::move(text);
    token.line = line_;
    tokens_.push_back(std::move(token));
  }

  // Moves to `position`; keeps the line number.
  void moveTo(std::size_t position) {
    for (; position_ < position; ++position_) line_ += source_[position_] == '\n';
  }

  bool startsWith(std::string_view text, std::size_t at) const {
    return source_.compare(at, text.size(), text) == 0;
  }

  std::size_t skipSpace(std::size_t at) const {
    while (at < source_.size()) {
      std::size_t next = at;
      if (!isSpace(nextCodePoint(source_, next))) break;
      at = next;
    }
    return at;
  }

  // Where `{% raw %}` ends if it begins at `at`; 0 otherwise.
  std::size_t rawBegin(std::size_t at) const {
    std::size_t end = at + 2;
    if (end < source_.size() && (source_[end] == '-' || source_[end] == '+')) ++end;
    end = skipSpace(end);
    if (!startsWith("raw", end)) return 0;
    end = skipSpace(end + 3);
    if (startsWith("-%}", end)) return skipSpace(end + 3);
    return startsWith("%}", end) ? end + 2 : 0;
  }

  // Where `-%}`, `+%}` or `%}` and what it swallows ends if it stands at `at`; 0 otherwise.
  std::size_t tagEnd(std::size_t at, char mark) const {
    const char close[] = {mark, '}'};
    const std::string_view closing(close, 2);
    if (at >= source_.size()) return 0;
    if (source_[at] == '-' && startsWith(closing, at + 1)) return skipSpace(at + 3);
    if (mark == '}') return startsWith(closing, at) ? at + 2 : 0;
    if (source_[at] == '+' && startsWith(closing, at + 1)) return at + 3;
    if (!startsWith(closing, at)) return 0;
    return at + 2 < source_.size() && source_[at + 2] == '\n' ? at + 3 : at + 2;
  }

  // The text before a tag, stripped as the tag's sign asks.
  void data(std::size_t end, char sign, bool isVariable) {
    std::string_view text = std::string_view(source_).substr(position_, end - position_);
    if (sign == '-') {
      text = stripRight(text);
    } else if (sign != '+' && !isVariable) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t lineStart = newline == std::string_view::npos ? 0 : newline + 1;
      if ((lineStart > 0 || lineStarting_) && strip(text.substr(lineStart)).empty())
        text = text.substr(0, lineStart);
    }
    if (!text.empty()) push(Token::Type::data, std::string(text));
    moveTo(end);
  }

  char signAt(std::size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : 0;
  }

  void root() {
    std::size_t open = position_;
    for (;; ++open) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        push(Token::Type::data, source_.substr(position_));
        moveTo(source_.size());
        return;
      }
      const char mark = source_[open + 1];
      if (mark == '%' || mark == '{' || mark == '#') break;
    }
    const char mark = source_[open + 1];
    const char sign = signAt(open + 2);
    data(open, sign, mark == '{');
    if (const std::size_t end = mark == '%' ? rawBegin(open) : 0; end != 0) {
      lineStarting_ = source_[end - 1] == '\n';
      moveTo(end);
      raw();
      return;
    }
    lineStarting_ = false;
    if (mark == '#') {
      moveTo(open + (sign ? 3 : 2));
      comment();
    } else {
      push(mark == '%' ? Token::Type::blockBegin : Token::Type::variableBegin, {});
      moveTo(open + (sign ? 3 : 2));
      tag(mark == '%' ? '%' : '}');
    }
  }

  void comment() {
    for (std::size_t at = position_; at < source_.size(); ++at)
      if (const std::size_t end = tagEnd(at, '#'); end != 0) {
        moveTo(end);
        lineStarting_ = source_[end - 1] == '\n';
        return;
      }
    fail("Missing end of comment tag");
  }

  void raw() {
    for (std::size_t at = source_.find("{%", position_); at != std::string::npos;
         at = source_.find("{%", at + 1)) {
      const char sign = signAt(at + 2);
      std::size_t end = skipSpace(at + (sign ? 3 : 2));
      if (!startsWith("endraw", end)) continue;
      end = tagEnd(skipSpace(end + 6), '%');
      if (end == 0) continue;
      data(at, sign, false);
      moveTo(end);
      lineStarting_ = source_[end - 1] == '\n';
      return;
    }
    fail("Missing end of raw directive");
  }

  void tag(char mark) {
    std::string open;
    while (position_ < source_.size()) {
      if (open.empty()) {
        if (const std::size_t end = tagEnd(position_, mark); end != 0) {
          push(mark == '%' ? Token::Type::blockEnd : Token::Type::variableEnd, {});
          moveTo(end);
          lineStarting_ = source_[end - 1] == '\n';
          return;
        }
      }
      if (const std::size_t end = skipSpace(position_); end != position_) {
        moveTo(end);
      } else if (!number() && !name() && !string()) {
        symbol(open);
      }
    }
  }

  // Digits with single underscores between them, from `at`; the end of them.
  std::size_t digits(std::size_t at) const {
    if (at >= source_.size() || !isDigit(source_[at])) return at;
    ++at;
    for (;;) {
      if (at < source_.size() && isDigit(source_[at]))
        ++at;
      else if (at + 1 < source_.size() && source_[at] == '_' && isDigit(source_[at + 1]))
        at += 2;
      else
        return at;
    }
  }

  static std::string withoutUnderscores(std::string_view text) {
    std::string out;
    for (const char c : text)
      if (c != '_') out += c;
    return out;
  }

  bool real() {
    const std::size_t whole = digits(position_);
    if (whole == position_ || (position_ > 0 && source_[position_ - 1] == '.')) return false;
    std::size_t end = whole;
    if (end < source_.size() && source_[end] == '.') {
      const std::size_t fraction = digits(end + 1);
      if (fraction > end + 1) end = fraction;
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (const std::size_t last = digits(exponent); last > exponent) end = last;
    }
    if (end == whole) return false;
    const std::string text = withoutUnderscores(std::string_view(source_).substr(position_, end - position_));
    push(Token::Type::real, text);
    tokens_.back().real = std::strtod(text.c_str(), nullptr);
    moveTo(end);
    return true;
  }

  bool number() {
    if (!isDigit(source_[position_])) return false;
    if (real()) return true;
    int base = 10;
    std::size_t end = position_, from = position_;
    const char kind = position_ + 1 < source_.size() ? static_cast<char>(source_[position_ + 1] | 0x20) : ' ';
    if (source_[position_] == '0' && (kind == 'b' || kind == 'o' || kind == 'x')) {
      const int wanted = kind == 'b' ? 2 : kind == 'o' ? 8 : 16;
      const auto isOf = [&](std::size_t at) {
        return at < source_.size() && digitValue(source_[at]) < wanted;
      };
      std::size_t at = position_ + 2;
      while (isOf(at) || (at < source_.size() && source_[at] == '_' && isOf(at + 1)))
        at += source_[at] == '_' ? 2 : 1;
      if (at > position_ + 2) base = wanted, end = at, from = position_ + 2;
    }
    if (base == 10) {
      if (source_[position_] == '0') {
        end = position_ + 1;
        while (end < source_.size() &&
               (source_[end] == '0' ||
                (source_[end] == '_' && end + 1 < source_.size() && source_[end + 1] == '0')))
          end += source_[end] == '_' ? 2 : 1;
      } else {
        end = digits(position_);
      }
    }
    const std::string text = withoutUnderscores(std::string_view(source_).substr(from, end - from));
    push(Token::Type::integer, text);
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), tokens_.back().integer, base);
    if (parsed.ec != std::errc())
      throwFailure("the number " + text.substr(0, 40) + " does not fit in 64 bits", FailureKind::unsupported,
                   line_);
    moveTo(end);
    return true;
  }

  static int digitValue(char c) {
    if (isDigit(c)) return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
  }

  bool name() {
    std::size_t end = position_;
    while (end < source_.size()) {
      std::size_t next = end;
      const char32_t c = nextCodePoint(source_, next);
      if (!(end == position_ ? isIdentifierStart(c) : isIdentifierPart(c))) break;
      end = next;
    }
    if (end == position_) return false;
    push(Token::Type::name, source_.substr(position_, end - position_));
    moveTo(end);
    return true;
  }

  bool string() {
    const char quote = source_[position_];
    if (quote != '"' && quote != '\'') return false;
    std::size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string is not closed");
    push(Token::Type::string, unescape(std::string_view(source_).substr(position_ + 1, end - position_ - 1)));
    moveTo(end + 1);
    return true;
  }

  // Python's unicode-escape codec, with Jinja2's quirk that a backslash before a character outside ASCII
  // gives that character's own escape sequence as text.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      if (text[i] != '\\') {
        out += text[i++];
        continue;
      }
      ++i;
      std::size_t next = i;
      const char32_t c = nextCodePoint(text, next);
      i = next;
      switch (c) {
        case '\n':
          break;
        case '\\':
        case '\'':
        case '"':
          out += static_cast<char>(c);
          break;
        case 'a':
          out += '\a';
          break;
        case 'b':
          out += '\b';
          break;
        case 'f':
          out += '\f';
          break;
        case 'n':
          out += '\n';
          break;
        case 'r':
          out += '\r';
          break;
        case 't':
          out += '\t';
          break;
        case 'v':
          out += '\v';
          break;
        case 'x':
        case 'u':
        case 'U':
          i = hexEscape(text, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
          break;
        case 'N':
          i = namedEscape(text, i, out);
          break;
        default:
          if (c >= '0' && c <= '7') {
            char32_t value = c - '0';
            for (int n = 0; n < 2 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++n)
              value = value * 8 + static_cast<char32_t>(text[i++] - '0');
            appendCodePoint(out, value);
          } else if (c < 128) {
            out += '\\';
            out += static_cast<char>(c);
          } else {
            out += '\\' + asciiEscape(c);
          }
      }
    }
    return out;
  }

  std::size_t hexEscape(std::string_view text, std::size_t at, int count, std::string& out) const {
    char32_t value = 0;
    for (int n = 0; n < count; ++n, ++at) {
      const int digit = at < text.size() ? digitValue(text[at]) : 99;
      if (digit > 15)
        fail(count == 2   ? "truncated \\xXX escape"
             : count == 4 ? "truncated \\uXXXX escape"
                          : "truncated \\UXXXXXXXX escape");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    if (value > 0x10FFFF) fail("illegal Unicode character");
    if (value >= 0xD800 && value < 0xE000)
      throwFailure("a lone surrogate cannot be written as UTF-8", FailureKind::unsupported, line_);
    appendCodePoint(out, value);
    return at;
  }

  std::size_t namedEscape(std::string_view text, std::size_t at, std::string& out) const {
    const std::size_t close = text.find('}', at);
    if (at >= text.size() || text[at] != '{' || close == std::string_view::npos)
      fail("malformed \\N character escape");
    const auto c = characterNamed(std::string(text.substr(at + 1, close - at - 1)));
    if (!c) fail("unknown Unicode character name");
    appendCodePoint(out, *c);
    return close + 1;
  }

  void symbol(std::string& open) {
    static constexpr std::string_view pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string text;
    for (const std::string_view pair : pairs)
      if (startsWith(pair, position_)) text = pair;
    const char c = source_[position_];
    if (text.empty() && std::string_view("+-/*%~[](){}><=.:|,;").find(c) != std::string_view::npos) text = c;
    if (text.empty()) {
      std::size_t next = position_;
      nextCodePoint(source_, next);
      fail("unexpected char '" + source_.substr(position_, next - position_) + "'");
    }
    if (c == '{' || c == '(' || c == '[') {
      open += c == '{' ? '}' : c == '(' ? ')' : ']';
    } else if (c == '}' || c == ')' || c == ']') {
      if (open.empty()) fail(std::string("unexpected '") + c + "'");
      if (open.back() != c) fail(std::string("unexpected '") + c + "', expected '" + open.back() + "'");
      open.pop_back();
    }
    const std::size_t length = text.size();
    push(Token::Type::symbol, std::move(text));
    moveTo(position_ + length);
  }

  std::string source_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool lineStarting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

std::string describe(const Token& token) {
  switch (token.type) {
    case Token::Type::data:
      return "template data / text";
    case Token::Type::blockBegin:
      return "begin of statement block";
    case Token::Type::blockEnd:
      return "end of statement block";
    case Token::Type::variableBegin:
      return "begin of print statement";
    case Token::Type::variableEnd:
      return "end of print statement";
    case Token::Type::string:
      return "string";
    case Token::Type::integer:
      return "integer";
    case Token::Type::real:
      return "float";
    case Token::Type::end:
      return "end of template";
    default:
      return token.text;
  }
}

}  // namespace decoscope::jinja
