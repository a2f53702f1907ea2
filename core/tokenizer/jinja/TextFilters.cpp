// Filters that make text.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/tokenizer/jinja/Formatting.h"
#include "core/tokenizer/jinja/Json.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

template <std::string (*mapping)(std::string_view)>
Value mappedText(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("filter", arguments, {});
  const Value text = softText(input);
  chargeBytes(text.bytes().size());
  return Value(mapping(text.bytes()), text.text().markup);
}

// Words as Jinja2's title filter finds them: after white space, - ( { [ and <.
Value title(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("title", arguments, {});
  const Value text = softText(input);
  chargeBytes(text.bytes().size());
  std::string out, word;
  const auto finish = [&] {
    std::size_t first = 0;
    if (!word.empty()) nextCodePoint(word, first);
    out += toUpper(word.substr(0, first)) + toLower(word.substr(first));
    word.clear();
  };
  for (std::size_t at = 0; at < text.bytes().size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(text.bytes(), at);
    const std::string one = text.bytes().substr(from, at - from);
    if (c == '-' || isSpace(c) || c == '(' || c == '{' || c == '[' || c == '<') {
      finish();
      out += one;
    } else {
      word += one;
    }
  }
  finish();
  return Value(std::move(out));
}

Value trim(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("trim", arguments, {"chars"});
  const Value text = softText(input);
  chargeBytes(text.bytes().size());
  std::string_view view = text.bytes();
  if (parameters.some(0)) {
    const std::string characters = parameters.text(0);
    view = stripLeft(stripRight(view, characters), characters);
  } else {
    view = strip(view);
  }
  return Value(std::string(view), text.text().markup);
}

Value replace(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("replace", arguments, {"old", "new", "count"}, 2);
  return Value(replaced(str(input), str(*parameters[0]), str(*parameters[1]),
                        parameters.some(2) ? parameters.whole(2, -1) : -1));
}

Value center(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("center", arguments, {"width"});
  const Value text = softText(input);
  const std::int64_t width = parameters.whole(0, 80);
  const std::int64_t missing = width - static_cast<std::int64_t>(text.text().length);
  if (missing <= 0) return text;
  checkSize(static_cast<std::uint64_t>(missing));
  const auto before = static_cast<std::size_t>(missing / 2 + (missing & width & 1));
  return Value(
      std::string(before, ' ') + text.bytes() + std::string(static_cast<std::size_t>(missing) - before, ' '),
      text.text().markup);
}

Value indent(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("indent", arguments, {"width", "first", "blank"});
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (!input.is(Kind::string)) throwFailure("indent needs a str, not " + typeName(input));
  std::string indention(4, ' ');
  if (parameters[0] && parameters[0]->is(Kind::string)) {
    indention = parameters[0]->bytes();
  } else if (parameters[0]) {
    const std::int64_t width = std::max<std::int64_t>(parameters.whole(0, 4), 0);
    checkSize(static_cast<std::uint64_t>(width));
    indention.assign(static_cast<std::size_t>(width), ' ');
  }
  const bool blank = parameters.truth(2);
  std::string out;
  if (parameters.truth(1)) out = indention;
  bool first = true;
  for (const std::string& line : splitLines(input.bytes() + "\n", false)) {
    if (!first) out += "\n";
    if (!first && (blank || !line.empty())) out += indention;
    out += line;
    checkSize(out.size());
    chargeBytes(line.size() + indention.size());
    first = false;
  }
  return Value(std::move(out), input.text().markup);
}

Value format(Interpreter&, const Value& input, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keyword.empty())
    throwFailure("can't handle positional and keyword arguments at the same time");
  return percentFormat(softText(input), arguments.keyword.empty() ? Value::tuple(arguments.positional)
                                                                  : Value::dict(arguments.keyword));
}

Value join(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("join", arguments, {"d", "attribute"});
  const AttributePath path = parameters.some(1) ? AttributePath(*parameters[1]) : AttributePath();
  const std::string separator = parameters[0] ? str(*parameters[0]) : std::string();
  std::string out;
  bool first = true;
  Cursor cursor(input);
  for (Value item; cursor.next(item); first = false) {
    const std::string text = str(path(item));
    checkSize(out.size() + separator.size() + text.size());
    chargeBytes(separator.size() + text.size());
    if (!first) out += separator;
    out += text;
  }
  return Value(std::move(out));
}

std::string textOf(const Value& input, const char* filter) {
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (!input.is(Kind::string)) throwFailure(std::string(filter) + " needs a str, not " + typeName(input));
  return input.bytes();
}

Value truncate(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::int64_t length = parameters.whole(0, 255);
  const std::int64_t leeway = parameters.some(3) ? parameters.whole(3, 5) : 5;
  const std::string end = parameters.text(2, "...");
  const auto endLength = static_cast<std::int64_t>(countCodePoints(end));
  if (length < endLength)
    throwFailure("expected length >= " + std::to_string(endLength) + ", got " + std::to_string(length));
  if (leeway < 0) throwFailure("expected leeway >= 0, got " + std::to_string(leeway));
  if (requireLength(input) <= length + leeway) return input;
  const std::string text = textOf(input, "truncate");
  std::string kept =
      text.substr(0, byteOffset(text, static_cast<std::size_t>(length - endLength), input.text().ascii()));
  if (!parameters.truth(1))
    if (const std::size_t space = kept.rfind(' '); space != std::string::npos) kept.resize(space);
  return Value(kept + end, input.text().markup);
}

Value wordCount(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("wordcount", arguments, {});
  const Value text = softText(input);
  chargeBytes(text.bytes().size() * 4);
  std::int64_t count = 0;
  bool inWord = false;
  for (std::size_t at = 0; at < text.bytes().size();) {
    const bool word = isWordCharacter(nextCodePoint(text.bytes(), at));
    count += word && !inWord;
    inWord = word;
  }
  return count;
}

// Where a line may be broken: the rules of Python's textwrap.
std::vector<std::string_view> wrapChunks(std::string_view text, bool onHyphens) {
  static const auto compiled = [](const char* pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                         &error, &offset, nullptr);
  };
  static pcre2_code* const hyphens = compiled(
      R"([\t\n\x0b\x0c\r ]+|(?<=[\w!"'&.,?])-{2,}(?=\w)|[^\t\n\x0b\x0c\r ]+?(?:-(?:(?<=[^\d\W]{2}-)|(?<=[^\d\W]-[\w!"'&.,?]-))(?=[^\d\W]-?[^\d\W])|(?=[\t\n\x0b\x0c\r ]|\z)|(?<=[\w!"'&.,?])(?=-{2,}\w)))");
  static pcre2_code* const simple = compiled(R"([\t\n\x0b\x0c\r ]+)");
  const pcre2_code* code = onHyphens ? hyphens : simple;
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(code, nullptr);
  std::vector<std::string_view> chunks;
  std::size_t at = 0;
  while (at < text.size()) {
    const int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NO_UTF_CHECK, match, nullptr);
    if (count <= 0) break;
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match);
    if (bounds[0] > at) chunks.push_back(text.substr(at, bounds[0] - at));
    if (bounds[1] > bounds[0]) chunks.push_back(text.substr(bounds[0], bounds[1] - bounds[0]));
    if (bounds[1] <= at) break;
    at = bounds[1];
  }
  if (at < text.size()) chunks.push_back(text.substr(at));
  pcre2_match_data_free(match);
  return chunks;
}

bool isBlank(std::string_view text) {
  return strip(text).empty();
}

std::vector<std::string> wrappedLines(std::string_view text, std::int64_t width, bool breakLong,
                                      bool onHyphens) {
  if (width <= 0) throwFailure("invalid width " + std::to_string(width) + " (must be > 0)");
  std::vector<std::string_view> chunks = wrapChunks(text, onHyphens);
  std::vector<std::string> result;
  std::reverse(chunks.begin(), chunks.end());
  // Where a chunk has to end to have at most so many characters.
  const auto endWithin = [](std::string_view chunk, std::int64_t room) {
    return byteOffset(chunk, static_cast<std::size_t>(room), false);
  };
  while (!chunks.empty()) {
    chargeSteps(1);
    std::vector<std::string_view> line;
    std::int64_t length = 0;
    if (isBlank(chunks.back()) && !result.empty()) chunks.pop_back();
    while (!chunks.empty() && endWithin(chunks.back(), width - length) == chunks.back().size()) {
      line.push_back(chunks.back());
      chunks.pop_back();
      length += static_cast<std::int64_t>(countCodePoints(line.back()));
    }
    if (!chunks.empty() && endWithin(chunks.back(), width) < chunks.back().size()) {
      if (breakLong) {
        std::string_view& chunk = chunks.back();
        std::size_t end = endWithin(chunk, width - length);
        if (onHyphens) {
          const std::size_t hyphen = chunk.substr(0, end).rfind('-');
          if (hyphen != std::string_view::npos && hyphen > 0 &&
              chunk.substr(0, hyphen).find_first_not_of('-') != std::string_view::npos)
            end = hyphen + 1;
        }
        line.push_back(chunk.substr(0, end));
        chunk.remove_prefix(end);
      } else if (line.empty()) {
        line.push_back(chunks.back());
        chunks.pop_back();
      }
    }
    if (!line.empty() && isBlank(line.back())) line.pop_back();
    if (line.empty()) continue;
    std::string joined;
    for (const std::string_view chunk : line) joined += chunk;
    chargeBytes(joined.size());
    result.push_back(std::move(joined));
  }
  return result;
}

Value wordWrap(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("wordwrap", arguments,
                              {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  const std::string text = textOf(input, "wordwrap");
  const std::string wrap = parameters.some(2) ? parameters.text(2) : "\n";
  std::string out;
  bool firstLine = true;
  for (const std::string& line : splitLines(text, false)) {
    chargeBytes(line.size() * 4);
    std::string wrapped;
    for (const std::string& part :
         wrappedLines(line, parameters.whole(0, 79), parameters.truth(1, true), parameters.truth(3, true)))
      wrapped += (wrapped.empty() ? "" : wrap) + part;
    if (!firstLine) out += wrap;
    out += wrapped;
    checkSize(out.size());
    firstLine = false;
  }
  return Value(std::move(out));
}

Value escape(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("escape", arguments, {});
  return escaped(input);
}

Value forceEscape(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("forceescape", arguments, {});
  return escaped(Value(str(input)));
}

Value safe(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("safe", arguments, {});
  return Value(str(input), true);
}

Value string(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("string", arguments, {});
  return softText(input);
}

Value stripTags(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("striptags", arguments, {});
  const std::string text = str(input);
  chargeBytes(text.size());
  std::string kept;
  std::size_t at = 0;
  for (std::size_t open = text.find('<'); open != std::string::npos; open = text.find('<', at)) {
    const bool comment = text.compare(open, 4, "<!--") == 0;
    const std::size_t close = text.find(comment ? "-->" : ">", comment ? open + 4 : open);
    if (close == std::string::npos) break;
    kept += text.substr(at, open - at);
    at = close + (comment ? 3 : 1);
  }
  kept += text.substr(at);
  std::string collapsed;
  for (std::string_view rest = strip(kept); !rest.empty(); rest = stripLeft(rest)) {
    std::size_t end = 0;
    while (end < rest.size()) {
      std::size_t next = end;
      if (isSpace(nextCodePoint(rest, next))) break;
      end = next;
    }
    if (!collapsed.empty()) collapsed += ' ';
    collapsed += rest.substr(0, end);
    rest.remove_prefix(end);
  }
  static const std::map<std::string, std::string> entities = {
      {"amp", "&"},  {"lt", "<"},        {"gt", ">"},  {"quot", "\""},
      {"apos", "'"}, {"nbsp", "\u00A0"}, {"#39", "'"}, {"#34", "\""}};
  std::string out;
  for (std::size_t i = 0; i < collapsed.size();) {
    const std::size_t end = collapsed[i] == '&' ? collapsed.find(';', i) : std::string::npos;
    if (end == std::string::npos || end - i > 33 || end == i + 1) {
      out += collapsed[i++];
      continue;
    }
    const std::string name = collapsed.substr(i + 1, end - i - 1);
    if (name.find_first_not_of("#abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") !=
        std::string::npos) {
      out += collapsed[i++];
      continue;
    }
    const auto known = entities.find(name);
    if (known == entities.end())
      throwFailure("striptags: the HTML entity &" + name + ";", FailureKind::unsupported);
    out += known->second;
    i = end + 1;
  }
  return Value(std::move(out));
}

void appendUrlQuoted(std::string& out, const std::string& text, bool forQuery) {
  static constexpr char hex[] = "0123456789ABCDEF";
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !forQuery);
    if (plain) {
      out += c;
    } else if (c == ' ' && forQuery) {
      out += '+';
    } else {
      out += '%';
      out += hex[static_cast<unsigned char>(c) >> 4];
      out += hex[c & 15];
    }
  }
}

Value urlEncode(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("urlencode", arguments, {});
  std::string out;
  if (input.is(Kind::string) || !isIterable(input)) {
    const std::string text = str(input);
    chargeBytes(text.size());
    checkSize(text.size() * 3);
    appendUrlQuoted(out, text, false);
    return Value(std::move(out));
  }
  const auto add = [&](const Value& key, const Value& value) {
    if (!out.empty()) out += '&';
    appendUrlQuoted(out, str(key), true);
    out += '=';
    appendUrlQuoted(out, str(value), true);
    checkSize(out.size());
  };
  if (input.is(Kind::dict)) {
    for (const auto& [key, value] : input.entries().items) add(key, value);
    return Value(std::move(out));
  }
  Cursor cursor(input);
  for (Value item; cursor.next(item);) {
    const std::vector<Value> pair = itemsOf(item);
    if (pair.size() != 2) throwFailure("urlencode needs pairs");
    add(pair[0], pair[1]);
  }
  return Value(std::move(out));
}

Value xmlAttributes(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("xmlattr", arguments, {"autospace"});
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (!input.is(Kind::dict)) throwFailure("xmlattr needs a dict, not " + typeName(input));
  std::string out;
  for (const auto& [key, value] : input.entries().items) {
    if (value.is(Kind::none) || value.is(Kind::undefined)) continue;
    if (!key.is(Kind::string)) throwFailure("an attribute name must be a str");
    if (key.bytes().find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      throwFailure("Invalid character in attribute name: " + repr(key));
    if (!out.empty()) out += ' ';
    out += escaped(key).bytes() + "=\"" + escaped(value).bytes() + "\"";
    checkSize(out.size());
  }
  if (!out.empty() && parameters.truth(0, true)) out = " " + out;
  return Value(std::move(out));
}

Value fileSize(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("filesizeformat", arguments, {"binary"});
  const bool binary = parameters.truth(0);
  const double bytes = requireReal(input);
  const double base = binary ? 1024 : 1000;
  static constexpr char prefixes[] = "kMGTPEZY";
  if (bytes == 1) return Value("1 Byte");
  if (bytes < base) {
    if (!(std::abs(bytes) < 9e18)) throwFailure("the size is not a number");
    return Value(std::to_string(static_cast<std::int64_t>(bytes)) + " Bytes");
  }
  double unit = base * base;
  int i = 0;
  while (i < 7 && bytes >= unit) unit *= base, ++i;
  std::string prefix(1, binary && i == 0 ? 'K' : prefixes[i]);
  return Value(fixed(base * bytes / unit, 1) + " " + prefix + (binary ? "iB" : "B"));
}

Value pretty(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("pprint", arguments, {});
  return Value(prettyPrinted(input));
}

Value json(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.escapeNonAscii = parameters.truth(0);
  style.sortKeys = parameters.truth(3);
  if (const Value* indention = parameters.some(1)) {
    style.itemSeparator = ",";
    if (indention->is(Kind::string)) {
      style.indent = indention->bytes();
    } else {
      const std::int64_t width = std::max<std::int64_t>(parameters.whole(1, 0), 0);
      checkSize(static_cast<std::uint64_t>(width));
      style.indent = std::string(static_cast<std::size_t>(width), ' ');
    }
  }
  if (const Value* separators = parameters.some(2)) {
    const std::vector<Value> pair = itemsOf(*separators);
    if (pair.size() != 2 || !pair[0].is(Kind::string) || !pair[1].is(Kind::string))
      throwFailure("separators must be two strings");
    style.itemSeparator = pair[0].bytes();
    style.keySeparator = pair[1].bytes();
  }
  return Value(toJson(input, style));
}

Value urlize(Interpreter&, const Value&, Arguments&) {
  throwFailure("the filter urlize", FailureKind::unsupported);
}

}  // namespace

OperationTable textFilters() {
  return {{"capitalize", mappedText<toCapitalized>},
          {"center", center},
          {"e", escape},
          {"escape", escape},
          {"filesizeformat", fileSize},
          {"forceescape", forceEscape},
          {"format", format},
          {"indent", indent},
          {"join", join},
          {"lower", mappedText<toLower>},
          {"pprint", pretty},
          {"replace", replace},
          {"safe", safe},
          {"string", string},
          {"striptags", stripTags},
          {"title", title},
          {"tojson", json},
          {"trim", trim},
          {"truncate", truncate},
          {"upper", mappedText<toUpper>},
          {"urlencode", urlEncode},
          {"urlize", urlize},
          {"wordcount", wordCount},
          {"wordwrap", wordWrap},
          {"xmlattr", xmlAttributes}};
}

Value softText(const Value& value) {
  return value.is(Kind::string) ? value : Value(str(value));
}

Value escaped(const Value& value) {
  if (value.is(Kind::string) && value.text().markup) return value;
  const std::string text = str(value);
  chargeBytes(text.size());
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  checkSize(out.size());
  return Value(std::move(out), true);
}

}  // namespace decoscope::jinja
