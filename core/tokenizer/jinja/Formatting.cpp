#include "core/tokenizer/jinja/Formatting.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

constexpr std::int64_t kMaximumPrecision = 4000;

// A number's digits without its sign.
struct NumberText {
  bool negative = false;
  std::string digits;
};

std::string printed(const char* form, int precision, double value) {
  const int length = std::snprintf(nullptr, 0, form, precision, value);
  std::string text(static_cast<std::size_t>(length) + 1, '\0');
  std::snprintf(text.data(), text.size(), form, precision, value);
  text.pop_back();
  return text;
}

NumberText realText(double value, char type, std::int64_t precision, bool alternate) {
  NumberText text;
  text.negative = std::signbit(value) && !std::isnan(value);
  value = std::abs(value);
  const bool upper = type == 'E' || type == 'F' || type == 'G';
  if (!std::isfinite(value)) {
    text.digits = std::isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    return text;
  }
  if (precision > kMaximumPrecision) throwFailure("precision too big");
  const int digits = static_cast<int>(precision < 0 ? 6 : precision);
  switch (type) {
    case 'e':
      text.digits = printed(alternate ? "%#.*e" : "%.*e", digits, value);
      break;
    case 'E':
      text.digits = printed(alternate ? "%#.*E" : "%.*E", digits, value);
      break;
    case 'f':
    case 'F':
      text.digits = printed(alternate ? "%#.*f" : "%.*f", digits, value);
      break;
    case 'G':
      text.digits = printed(alternate ? "%#.*G" : "%.*G", digits, value);
      break;
    case 'g':
    case 'n':
      text.digits = printed(alternate ? "%#.*g" : "%.*g", digits, value);
      break;
    default:
      if (precision < 0) {
        text.digits = reprOfReal(value);
      } else {
        text.digits = printed("%.*g", digits, value);
        if (text.digits.find_first_of(".e") == std::string::npos) text.digits += ".0";
      }
  }
  return text;
}

std::string inBase(std::uint64_t value, unsigned base, bool upper) {
  std::string out;
  do {
    out += (upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
    value /= base;
  } while (value);
  std::reverse(out.begin(), out.end());
  return out;
}

NumberText wholeText(std::int64_t value, char type) {
  NumberText text;
  text.negative = value < 0;
  const std::uint64_t magnitude =
      value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  text.digits = inBase(magnitude, base, type == 'X');
  return text;
}

std::string repeatedText(const std::string& text, std::int64_t count) {
  if (count <= 0) return {};
  checkSize(static_cast<std::uint64_t>(count) * text.size());
  chargeBytes(static_cast<std::uint64_t>(count) * text.size());
  std::string out;
  for (std::int64_t i = 0; i < count; ++i) out += text;
  return out;
}

// `align` is one of < > ^ =; with = the fill goes between `prefix` (sign, 0x) and the digits.
std::string padded(const std::string& prefix, const std::string& text, std::int64_t width, char align,
                   const std::string& fill) {
  const std::int64_t missing =
      width - static_cast<std::int64_t>(countCodePoints(prefix) + countCodePoints(text));
  if (missing <= 0) return prefix + text;
  if (align == '=') return prefix + repeatedText(fill, missing) + text;
  if (align == '<') return prefix + text + repeatedText(fill, missing);
  if (align == '>') return repeatedText(fill, missing) + prefix + text;
  return repeatedText(fill, missing / 2) + prefix + text + repeatedText(fill, missing - missing / 2);
}

std::string grouped(const std::string& digits, char separator, std::size_t size) {
  std::size_t end = 0;
  while (end < digits.size() && digits[end] != '.' && digits[end] != 'e' && digits[end] != 'E') ++end;
  std::string out;
  for (std::size_t i = 0; i < end; ++i) {
    if (i && (end - i) % size == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(end);
}

std::int64_t readNumber(const std::u32string& text, std::size_t& at) {
  std::int64_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    value = value * 10 + (text[at] - '0');
    if (value > 1'000'000'000) throwFailure("Too many decimal digits in format string");
  }
  return value;
}

struct Specification {
  std::string fill = " ";
  char align = 0, sign = '-', grouping = 0, type = 0;
  bool alternate = false, zero = false;
  std::int64_t width = 0, precision = -1;
};

Specification parseSpecification(const std::string& source, const Value& value) {
  const std::u32string text = codePoints(source);
  const auto isAlign = [](char32_t c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
  Specification result;
  std::size_t at = 0;
  if (text.size() >= 2 && isAlign(text[1])) {
    result.fill = utf8(text.substr(0, 1));
    result.align = static_cast<char>(text[1]);
    at = 2;
  } else if (!text.empty() && isAlign(text[0])) {
    result.align = static_cast<char>(text[0]);
    at = 1;
  }
  const auto is = [&](char32_t c) { return at < text.size() && text[at] == c; };
  if (is('+') || is('-') || is(' ')) result.sign = static_cast<char>(text[at++]);
  if (is('z')) throwFailure("the format option z", FailureKind::unsupported);
  if (is('#')) result.alternate = true, ++at;
  if (is('0')) {
    result.zero = true;
    if (!result.align) result.align = value.is(Kind::string) ? '<' : '=';
    if (result.fill == " " && !(text.size() >= 2 && isAlign(text[1]))) result.fill = "0";
    ++at;
  }
  result.width = readNumber(text, at);
  if (is(',') || is('_')) result.grouping = static_cast<char>(text[at++]);
  if (is('.')) {
    ++at;
    const std::size_t before = at;
    result.precision = readNumber(text, at);
    if (at == before) throwFailure("Format specifier missing precision");
  }
  if (at < text.size() && text[at] < 128) result.type = static_cast<char>(text[at++]);
  if (at < text.size()) throwFailure("Invalid format specifier");
  return result;
}

[[noreturn]] void throwUnknownCode(char type, const Value& value) {
  throwFailure(std::string("Unknown format code '") + type + "' for object of type '" + typeName(value) +
               "'");
}

std::string formattedText(const Value& value, const Specification& spec) {
  if (spec.type && spec.type != 's') throwUnknownCode(spec.type, value);
  if (spec.sign != '-' || spec.alternate || spec.grouping)
    throwFailure("this format option is not for strings");
  if (spec.align == '=') throwFailure("'=' alignment not allowed in string format specifier");
  std::string text = value.bytes();
  if (spec.precision >= 0)
    text.resize(byteOffset(text, static_cast<std::size_t>(spec.precision), value.text().ascii()));
  return padded({}, text, spec.width, spec.align ? spec.align : '<', spec.fill);
}

std::string formattedNumber(const Value& value, const Specification& spec) {
  static constexpr std::string_view realTypes = "eEfFgG%";
  NumberText text;
  std::string prefix;
  std::size_t groupSize = 3;
  const bool asReal = value.is(Kind::real) || realTypes.find(spec.type) != std::string_view::npos;
  if (asReal && spec.type != 0 && spec.type != 'n' && realTypes.find(spec.type) == std::string_view::npos)
    throwUnknownCode(spec.type, value);
  if (spec.type == 'n' && spec.grouping) throwFailure("Cannot specify ',' with 'n'.");
  if (asReal) {
    if (spec.type == '%') {
      text = realText(value.real() * 100, 'f', spec.precision, spec.alternate);
      text.digits += '%';
    } else {
      text = realText(value.real(), spec.type, spec.precision, spec.alternate);
    }
  } else {
    if (std::string_view("bcdoxXn").find(spec.type) == std::string_view::npos && spec.type)
      throwUnknownCode(spec.type, value);
    if (spec.precision >= 0) throwFailure("Precision not allowed in integer format specifier");
    if (spec.type == 'c') {
      if (value.whole() < 0 || value.whole() > 0x10FFFF) throwFailure("%c arg not in range(0x110000)");
      if (spec.sign != '-') throwFailure("Sign not allowed with integer format specifier 'c'");
      std::string out;
      appendCodePoint(out, static_cast<char32_t>(value.whole()));
      return padded({}, out, spec.width, spec.align ? spec.align : '<', spec.fill);
    }
    text = wholeText(value.whole(), spec.type);
    const bool otherBase = spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b';
    if (spec.alternate && otherBase) prefix = std::string("0") + spec.type;
    if (otherBase && spec.grouping == ',')
      throwFailure(std::string("Cannot specify ',' with '") + spec.type + "'.");
    if (otherBase) groupSize = 4;
  }
  if (text.negative)
    prefix = "-" + prefix;
  else if (spec.sign != '-')
    prefix = spec.sign + prefix;
  if (spec.grouping) {
    // Zeros that fill the width are grouped too.
    if (spec.align == '=' && spec.fill == "0") {
      std::size_t whole = text.digits.find_first_of(".eE%");
      if (whole == std::string::npos) whole = text.digits.size();
      const auto lengthWith = [&](std::size_t digits) { return digits + (digits - 1) / groupSize; };
      const std::size_t tail = text.digits.size() - whole + prefix.size();
      std::size_t wanted = whole;
      checkSize(static_cast<std::uint64_t>(spec.width));
      while (lengthWith(wanted) + tail < static_cast<std::size_t>(spec.width)) ++wanted;
      text.digits.insert(0, wanted - whole, '0');
    }
    text.digits = grouped(text.digits, spec.grouping, groupSize);
  }
  return padded(prefix, text.digits, spec.width, spec.align ? spec.align : '>', spec.fill);
}

}  // namespace

std::string fixed(double value, int digits) {
  return printed("%.*f", digits, value);
}

std::string formatted(const Value& value, const std::string& specification) {
  if (specification.empty()) return str(value);
  if (!value.isNumber() && !value.is(Kind::string))
    throwFailure("unsupported format string passed to " + typeName(value) + ".__format__");
  const Specification spec = parseSpecification(specification, value);
  return value.is(Kind::string) ? formattedText(value, spec) : formattedNumber(value, spec);
}

// ---- %

namespace {

class PercentFormatter {
 public:
  PercentFormatter(const Value& format, const Value& values)
      : text_(codePoints(format.bytes())), values_(values), markup_(format.text().markup) {
    named_ = values.is(Kind::dict) || values.is(Kind::list) || values.is(Kind::range) ||
             values.is(Kind::undefined);
  }

  Value run() {
    while (at_ < text_.size()) {
      if (text_[at_] == '%') {
        ++at_;
        mark();
      } else {
        appendCodePoint(out_, text_[at_++]);
      }
      checkSize(out_.size());
    }
    const std::size_t available = values_.is(Kind::tuple) ? values_.items().size() : 1;
    if (used_ < available && !named_) throwFailure("not all arguments converted during string formatting");
    return Value(std::move(out_), markup_);
  }

 private:
  char32_t peek() const {
    if (at_ >= text_.size()) throwFailure("incomplete format");
    return text_[at_];
  }

  Value next() {
    if (!values_.is(Kind::tuple)) {
      if (used_++ > 0) throwFailure("not enough arguments for format string");
      return values_;
    }
    if (used_ >= values_.items().size()) throwFailure("not enough arguments for format string");
    return values_.items()[used_++];
  }

  std::int64_t starOrNumber() {
    if (peek() != '*') return readNumber(text_, at_);
    ++at_;
    const Value value = next();
    if (!value.isWhole()) throwFailure("* wants int");
    if (std::abs(value.real()) > 1e9) throwFailure("width too big");
    return value.whole();
  }

  void mark() {
    std::optional<Value> chosen;
    if (peek() == '(') {
      if (!values_.is(Kind::dict)) throwFailure("format requires a mapping");
      std::string key;
      int open = 1;
      for (++at_; peek(); ++at_) {
        if (text_[at_] == '(') ++open;
        if (text_[at_] == ')' && --open == 0) break;
        appendCodePoint(key, text_[at_]);
      }
      ++at_;
      const Value* found = values_.entries().find(Value(key));
      if (!found) throwFailure("the key " + reprOfText(key) + " is not there");
      chosen = *found;
    }
    bool left = false, plus = false, space = false, alternate = false, zero = false;
    for (;; ++at_) {
      const char32_t c = peek();
      if (c == '-')
        left = true;
      else if (c == '+')
        plus = true;
      else if (c == ' ')
        space = true;
      else if (c == '#')
        alternate = true;
      else if (c == '0')
        zero = true;
      else
        break;
    }
    std::int64_t width = starOrNumber();
    if (width < 0) left = true, width = -width;
    std::int64_t precision = -1;
    if (peek() == '.') {
      ++at_;
      precision = std::max<std::int64_t>(starOrNumber(), 0);
    }
    if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
    const char32_t type = peek();
    ++at_;
    if (type == '%') {
      out_ += '%';
      return;
    }
    const Value value = chosen ? *chosen : next();
    std::string prefix, text;
    bool numeric = true;
    switch (type) {
      case 's':
      case 'r':
      case 'a':
        text = type == 's' ? str(value) : repr(value);
        if (type == 'a') {
          std::string plain;
          for (const char32_t c : codePoints(text))
            if (c < 128)
              plain += static_cast<char>(c);
            else
              plain += '\\' + asciiEscape(c);
          text = plain;
        }
        if (markup_) text = escaped(type == 's' ? value : Value(text)).bytes();
        if (precision >= 0) text.resize(byteOffset(text, static_cast<std::size_t>(precision), false));
        numeric = false;
        break;
      case 'c':
        if (value.isWhole()) {
          if (value.whole() < 0 || value.whole() > 0x10FFFF) throwFailure("%c arg not in range(0x110000)");
          appendCodePoint(text, static_cast<char32_t>(value.whole()));
        } else {
          if (!value.is(Kind::string) || value.text().length != 1) throwFailure("%c requires int or char");
          text = value.bytes();
        }
        numeric = false;
        break;
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        const bool decimal = type == 'd' || type == 'i' || type == 'u';
        if (value.is(Kind::undefined)) throwUndefined(value);
        if (!value.isNumber() || (!decimal && value.is(Kind::real)))
          throwFailure(std::string("%") + static_cast<char>(type) + " format: a" +
                       (decimal ? " real number" : "n integer") + " is required, not " + typeName(value));
        if (value.is(Kind::real) && !(std::abs(value.real()) < 9.2e18))
          throwFailure("the number does not fit in 64 bits", FailureKind::unsupported);
        const NumberText digits =
            wholeText(value.isWhole() ? value.whole() : static_cast<std::int64_t>(value.real()),
                      static_cast<char>(type));
        text = digits.digits;
        if (precision > kMaximumPrecision) throwFailure("precision too big");
        if (precision > static_cast<std::int64_t>(text.size()))
          text.insert(0, static_cast<std::size_t>(precision) - text.size(), '0');
        prefix = digits.negative ? "-" : plus ? "+" : space ? " " : "";
        if (alternate && !decimal) prefix += std::string("0") + static_cast<char>(type);
        break;
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        if (value.is(Kind::undefined)) throwUndefined(value);
        if (!value.isNumber()) throwFailure("must be real number, not " + typeName(value));
        const NumberText digits = realText(value.real(), static_cast<char>(type), precision, alternate);
        text = digits.digits;
        prefix = digits.negative ? "-" : plus ? "+" : space ? " " : "";
        break;
      }
      default: {
        std::string shown;
        appendCodePoint(shown, type);
        throwFailure("unsupported format character '" + shown + "'");
      }
    }
    out_ += padded(prefix, text, width,
                   left              ? '<'
                   : zero && numeric ? '='
                                     : '>',
                   zero && numeric && !left ? "0" : " ");
  }

  std::u32string text_;
  const Value& values_;
  bool markup_ = false, named_ = false;
  std::size_t at_ = 0, used_ = 0;
  std::string out_;
};

// ---- {}

class BraceFormatter {
 public:
  BraceFormatter(const Value& format, const Arguments& arguments)
      : arguments_(arguments), markup_(format.text().markup) {}

  std::string run(const std::u32string& text, int level) {
    if (level > 2) throwFailure("Max string recursion exceeded");
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const char32_t c = text[at];
      if (c != '{' && c != '}') {
        appendCodePoint(out, c);
        ++at;
      } else if (at + 1 < text.size() && text[at + 1] == c) {
        out += static_cast<char>(c);
        at += 2;
      } else if (c == '}') {
        throwFailure("Single '}' encountered in format string");
      } else {
        if (at + 1 >= text.size()) throwFailure("Single '{' encountered in format string");
        out += field(text, at, level);
      }
      checkSize(out.size());
    }
    return out;
  }

 private:
  std::string field(const std::u32string& text, std::size_t& at, int level) {
    std::size_t end = ++at;
    int open = 1;
    bool inBrackets = false;
    std::size_t nameEnd = std::u32string::npos;
    for (; end < text.size(); ++end) {
      const char32_t c = text[end];
      if (nameEnd == std::u32string::npos) {
        if (c == '[') inBrackets = true;
        if (c == ']') inBrackets = false;
        if ((c == '!' || c == ':') && !inBrackets) nameEnd = end;
      }
      if (c == '{') ++open;
      if (c == '}' && --open == 0) break;
    }
    if (open) throwFailure("expected '}' before end of string");
    const std::u32string inside = text.substr(at, end - at);
    nameEnd = nameEnd == std::u32string::npos ? inside.size() : nameEnd - at;
    at = end + 1;
    const std::u32string name = inside.substr(0, nameEnd);
    std::u32string rest = inside.substr(nameEnd);
    char32_t conversion = 0;
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2) throwFailure("end of string while looking for conversion specifier");
      conversion = rest[1];
      if (rest.size() > 2 && rest[2] != ':') throwFailure("expected ':' after conversion specifier");
      rest = rest.substr(2);
    }
    const std::string specification = rest.empty() ? std::string() : run(rest.substr(1), level + 1);
    Value value = find(name);
    if (conversion == 's')
      value = Value(str(value));
    else if (conversion == 'r' || conversion == 'a')
      value = Value(repr(value));
    else if (conversion)
      throwFailure("Unknown conversion specifier");
    const std::string result = formatted(value, specification);
    if (!markup_) return result;
    return value.is(Kind::string) && value.text().markup ? result : escaped(Value(result)).bytes();
  }

  Value find(const std::u32string& name) {
    std::size_t end = name.find_first_of(U".[");
    if (end == std::u32string::npos) end = name.size();
    const std::u32string first = name.substr(0, end);
    Value value = root(first);
    while (end < name.size()) {
      if (name[end] == '.') {
        std::size_t next = name.find_first_of(U".[", end + 1);
        if (next == std::u32string::npos) next = name.size();
        if (next == end + 1) throwFailure("Empty attribute in format string");
        value = getAttribute(value, utf8(name.substr(end + 1, next - end - 1)));
        end = next;
      } else if (name[end] == '[') {
        const std::size_t close = name.find(U']', end);
        if (close == std::u32string::npos) throwFailure("Missing ']' in format string");
        const std::u32string key = name.substr(end + 1, close - end - 1);
        if (key.empty()) throwFailure("Empty attribute in format string");
        value = getItem(value, isNumber(key) ? Value(number(key)) : Value(utf8(key)));
        end = close + 1;
      } else {
        throwFailure("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  static bool isNumber(const std::u32string& text) {
    return !text.empty() && text.size() < 10 &&
           std::all_of(text.begin(), text.end(), [](char32_t c) { return c >= '0' && c <= '9'; });
  }
  static std::int64_t number(const std::u32string& text) {
    std::size_t at = 0;
    return readNumber(text, at);
  }

  Value root(const std::u32string& first) {
    if (first.empty() || isNumber(first)) {
      const bool automatic = first.empty();
      if (automatic ? explicit_ : nextIndex_ > 0)
        throwFailure("cannot switch between manual field specification and automatic field numbering");
      const std::int64_t index = automatic ? nextIndex_++ : number(first);
      if (!automatic) explicit_ = true;
      if (index >= static_cast<std::int64_t>(arguments_.positional.size()))
        throwFailure("Replacement index " + std::to_string(index) +
                     " out of range for positional args tuple");
      return arguments_.positional[static_cast<std::size_t>(index)];
    }
    const std::string name = utf8(first);
    for (const auto& [key, value] : arguments_.keyword)
      if (key == name) return value;
    throwFailure("the key " + reprOfText(name) + " is not there");
  }

  const Arguments& arguments_;
  bool markup_ = false, explicit_ = false;
  std::int64_t nextIndex_ = 0;
};

}  // namespace

Value percentFormat(const Value& format, const Value& values) {
  chargeBytes(format.bytes().size());
  return PercentFormatter(format, values).run();
}

Value braceFormat(const Value& format, const Arguments& arguments) {
  chargeBytes(format.bytes().size());
  return Value(BraceFormatter(format, arguments).run(codePoints(format.bytes()), 1), format.text().markup);
}

}  // namespace decoscope::jinja
