#include "core/tokenizer/jinja/Print.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Interpreter.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

std::string reprOfReal(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);
  const std::size_t mark = text.find('e');
  const int exponent = std::atoi(text.c_str() + mark + 1);
  std::string sign, digits;
  for (const char c : text.substr(0, mark)) {
    if (c == '-')
      sign = "-";
    else if (c != '.')
      digits += c;
  }
  const int point = exponent + 1;  // digits before the decimal point
  const int count = static_cast<int>(digits.size());
  if (point > 16 || point < -3) {
    std::string out = sign + digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    const std::string power = std::to_string(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" + power : power);
  }
  if (point <= 0) return sign + "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  if (count <= point) return sign + digits + std::string(static_cast<std::size_t>(point - count), '0') + ".0";
  return sign + digits.substr(0, static_cast<std::size_t>(point)) + "." +
         digits.substr(static_cast<std::size_t>(point));
}

std::string reprOfText(std::string_view text) {
  const bool useDouble =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = useDouble ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(text, at);
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (isPrintable(c)) {
      out += text.substr(from, at - from);
    } else {
      out += '\\' + asciiEscape(c);
    }
  }
  return out + quote;
}

namespace {

std::string reprOfDict(const Dict& dict) {
  std::string out = "{";
  for (std::size_t i = 0; i < dict.items.size(); ++i) {
    if (i) out += ", ";
    out += repr(dict.items[i].first);
    out += ": ";
    out += repr(dict.items[i].second);
    checkSize(out.size());
  }
  return out + "}";
}

std::string reprOfItems(const std::vector<Value>& items, const char* open, const char* close) {
  std::string out = open;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i) out += ", ";
    out += repr(items[i]);
    checkSize(out.size());
  }
  return out + close;
}

std::string reprOfTuple(const std::vector<Value>& items) {
  return reprOfItems(items, "(", items.size() == 1 ? ",)" : ")");
}

}  // namespace

std::string repr(const Value& value) {
  const DepthGuard guard;
  chargeSteps(1);
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.boolean() ? "True" : "False";
    case Kind::integer:
      return std::to_string(value.whole());
    case Kind::real:
      return reprOfReal(value.real());
    case Kind::string:
      chargeBytes(value.bytes().size() * 8);
      return value.text().markup ? "Markup(" + reprOfText(value.bytes()) + ")" : reprOfText(value.bytes());
    case Kind::list:
      return reprOfItems(value.items(), "[", "]");
    case Kind::tuple:
      return reprOfTuple(value.items());
    case Kind::dict:
      return reprOfDict(value.entries());
    case Kind::range: {
      const Range& range = value.as<Range>();
      return "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop) +
             (range.step == 1 ? "" : ", " + std::to_string(range.step)) + ")";
    }
    case Kind::view:
      return typeName(value) + "(" + reprOfItems(itemsOf(value), "[", "])");
    case Kind::nameSpace:
      return "<Namespace " + reprOfDict(*value.as<NameSpace>().attributes) + ">";
    case Kind::loop: {
      Loop& loop = value.as<Loop>();
      const std::int64_t length = loop.length();
      return "<LoopContext " + std::to_string(loop.index0 + 1) + "/" + std::to_string(length) + ">";
    }
    case Kind::macro: {
      const std::string& name = value.as<Macro>().code->name;
      return name.empty() ? "<Macro anonymous>" : "<Macro " + reprOfText(name) + ">";
    }
    case Kind::iterator:
    case Kind::function:
    case Kind::object:
      // Python prints an address here; a text that changes from run to run helps nobody.
      return "<" + typeName(value) + ">";
  }
  return {};
}

std::string str(const Value& value) {
  if (value.is(Kind::string)) return value.bytes();
  if (value.is(Kind::undefined)) return {};
  return repr(value);
}

namespace {

constexpr int kPrettyWidth = 80;

// Python's pprint with its defaults: width 80, one space of indent, dictionaries sorted by key.
class PrettyPrinter {
 public:
  std::string run(const Value& value) {
    format(value, 0, 0);
    return std::move(out_);
  }

 private:
  std::string flat(const Value& value) const {
    const DepthGuard guard;
    chargeSteps(1);
    if (value.is(Kind::dict)) {
      std::string out = "{";
      for (const auto& [key, item] : sortedItems(value.entries())) {
        if (out.size() > 1) out += ", ";
        out += flat(key) + ": " + flat(item);
        checkSize(out.size());
      }
      return out + "}";
    }
    if (value.is(Kind::list) || value.is(Kind::tuple)) {
      std::string out = value.is(Kind::list) ? "[" : "(";
      for (const Value& item : value.items()) {
        if (out.size() > 1) out += ", ";
        out += flat(item);
        checkSize(out.size());
      }
      if (value.is(Kind::tuple)) return out + (value.items().size() == 1 ? ",)" : ")");
      return out + "]";
    }
    return repr(value);
  }

  static std::vector<std::pair<Value, Value>> sortedItems(const Dict& dict) {
    auto items = dict.items;
    // Keys that cannot be ordered stand by the names of their types, as pprint has it.
    std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
      const bool numbers = a.first.isNumber() && b.first.isNumber();
      if (numbers) return a.first.real() < b.first.real();
      if (a.first.kind() == b.first.kind() && a.first.is(Kind::string))
        return a.first.bytes() < b.first.bytes();
      return typeName(a.first) < typeName(b.first);
    });
    return items;
  }

  void format(const Value& value, int indent, int allowance) {
    const DepthGuard guard;
    const std::string text = flat(value);
    chargeBytes(text.size());
    checkSize(out_.size() + text.size());
    if (static_cast<int>(countCodePoints(text)) <= kPrettyWidth - indent - allowance) {
      out_ += text;
      return;
    }
    if (value.is(Kind::dict) && !value.entries().items.empty())
      formatDict(value.entries(), indent, allowance);
    else if ((value.is(Kind::list) || value.is(Kind::tuple)) && !value.items().empty())
      formatItems(value, indent, allowance);
    else if (value.is(Kind::string) && !value.bytes().empty())
      formatText(value.bytes(), indent, allowance);
    else
      out_ += text;
  }

  void formatDict(const Dict& dict, int indent, int allowance) {
    out_ += "{";
    const auto items = sortedItems(dict);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const bool last = i + 1 == items.size();
      const std::string key = flat(items[i].first);
      out_ += key + ": ";
      format(items[i].second, indent + 1 + static_cast<int>(countCodePoints(key)) + 2,
             last ? allowance + 1 : 1);
      if (!last) out_ += ",\n" + std::string(static_cast<std::size_t>(indent + 1), ' ');
    }
    out_ += "}";
  }

  void formatItems(const Value& value, int indent, int allowance) {
    const bool isList = value.is(Kind::list);
    const std::string close = isList ? "]" : value.items().size() == 1 ? ",)" : ")";
    out_ += isList ? "[" : "(";
    for (std::size_t i = 0; i < value.items().size(); ++i) {
      const bool last = i + 1 == value.items().size();
      format(value.items()[i], indent + 1, last ? allowance + static_cast<int>(close.size()) : 1);
      if (!last) out_ += ",\n" + std::string(static_cast<std::size_t>(indent + 1), ' ');
    }
    out_ += close;
  }

  // A long text becomes several literals, one below the other.
  void formatText(const std::string& text, int indent, int allowance) {
    const std::vector<std::string> lines = splitLines(text, true);
    const bool outermost = indent == 0;
    if (outermost) ++indent, ++allowance;
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const bool last = i + 1 == lines.size();
      const int room = kPrettyWidth - indent;
      const std::string whole = reprOfText(lines[i]);
      if (static_cast<int>(countCodePoints(whole)) <= (last ? room - allowance : room)) {
        parts.push_back(whole);
        continue;
      }
      const std::vector<std::string> words = wordsWithSpace(lines[i]);
      std::string current;
      for (std::size_t j = 0; j < words.size(); ++j) {
        const std::string candidate = current + words[j];
        const bool lastWord = last && j + 1 == words.size();
        if (static_cast<int>(countCodePoints(reprOfText(candidate))) > (lastWord ? room - allowance : room)) {
          if (!current.empty()) parts.push_back(reprOfText(current));
          current = words[j];
        } else {
          current = candidate;
        }
        chargeBytes(current.size());
      }
      if (!current.empty()) parts.push_back(reprOfText(current));
    }
    if (parts.size() == 1) {
      out_ += parts.front();
      return;
    }
    if (outermost) out_ += "(";
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i) out_ += "\n" + std::string(static_cast<std::size_t>(indent), ' ');
      out_ += parts[i];
    }
    if (outermost) out_ += ")";
  }

  static std::vector<std::string> wordsWithSpace(std::string_view text) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t from = at;
      const auto skip = [&](bool space) {
        while (at < text.size()) {
          std::size_t next = at;
          if (isSpace(nextCodePoint(text, next)) != space) break;
          at = next;
        }
      };
      skip(false);
      skip(true);
      words.emplace_back(text.substr(from, at - from));
    }
    return words;
  }

  std::string out_;
};

}  // namespace

std::string prettyPrinted(const Value& value) {
  return PrettyPrinter().run(value);
}

}  // namespace decoscope::jinja
