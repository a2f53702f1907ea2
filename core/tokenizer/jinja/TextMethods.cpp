// The methods of str.
#include <algorithm>
#include <array>

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Formatting.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

Value made(const Value& self, std::string text) {
  checkSize(text.size());
  chargeBytes(text.size());
  return Value(std::move(text), self.text().markup);
}

template <std::string (*mapping)(std::string_view)>
Value mappedText(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters none("str method", arguments, {});
  chargeBytes(self.bytes().size());
  return made(self, mapping(self.bytes()));
}

enum class Side { left, right, both };

template <Side side>
Value strippedText(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("strip", arguments, {"chars"});
  std::string_view text = self.bytes();
  chargeBytes(text.size());
  if (parameters.some(0)) {
    const std::string characters = parameters.text(0);
    if (side != Side::right) text = stripLeft(text, characters);
    if (side != Side::left) text = stripRight(text, characters);
  } else {
    if (side != Side::right) text = stripLeft(text);
    if (side != Side::left) text = stripRight(text);
  }
  return made(self, std::string(text));
}

std::string separatorOf(const Parameters& parameters, std::size_t index) {
  std::string separator = parameters.text(index);
  if (separator.empty()) throwFailure("empty separator");
  return separator;
}

void addPart(std::vector<Value>& parts, const Value& self, std::string_view text) {
  chargeBytes(text.size());
  checkSize((parts.size() + 1) * sizeof(Value));
  parts.emplace_back(std::string(text), self.text().markup);
}

Value split(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("split", arguments, {"sep", "maxsplit"});
  std::int64_t left = parameters.whole(1, -1);
  std::string_view rest = self.bytes();
  std::vector<Value> parts;
  if (parameters.some(0)) {
    const std::string separator = separatorOf(parameters, 0);
    chargeSearch(rest.size(), separator.size());
    for (std::size_t found; left != 0 && (found = rest.find(separator)) != std::string_view::npos; --left) {
      addPart(parts, self, rest.substr(0, found));
      rest.remove_prefix(found + separator.size());
    }
    addPart(parts, self, rest);
    return Value::list(std::move(parts));
  }
  for (rest = stripLeft(rest); !rest.empty(); rest = stripLeft(rest)) {
    if (left-- == 0) {
      addPart(parts, self, rest);
      break;
    }
    std::size_t end = 0;
    while (end < rest.size()) {
      std::size_t next = end;
      if (isSpace(nextCodePoint(rest, next))) break;
      end = next;
    }
    addPart(parts, self, rest.substr(0, end));
    rest.remove_prefix(end);
  }
  return Value::list(std::move(parts));
}

Value splitFromRight(Interpreter& interpreter, const Value& self, Arguments& arguments) {
  const Parameters parameters("rsplit", arguments, {"sep", "maxsplit"});
  std::int64_t left = parameters.whole(1, -1);
  if (left < 0) return split(interpreter, self, arguments);
  std::string_view rest = self.bytes();
  std::vector<Value> parts;
  if (parameters.some(0)) {
    const std::string separator = separatorOf(parameters, 0);
    chargeSearch(rest.size(), separator.size());
    for (std::size_t found; left != 0 && (found = rest.rfind(separator)) != std::string_view::npos; --left) {
      addPart(parts, self, rest.substr(found + separator.size()));
      rest = rest.substr(0, found);
    }
    addPart(parts, self, rest);
  } else {
    for (rest = stripRight(rest); !rest.empty(); rest = stripRight(rest)) {
      if (left-- == 0) {
        addPart(parts, self, rest);
        break;
      }
      std::size_t start = rest.size();
      while (start > 0) {
        std::size_t from = start - 1;
        while (from > 0 && (rest[from] & 0xC0) == 0x80) --from;
        std::size_t at = from;
        if (isSpace(nextCodePoint(rest, at))) break;
        start = from;
      }
      addPart(parts, self, rest.substr(start));
      rest = rest.substr(0, start);
    }
  }
  std::reverse(parts.begin(), parts.end());
  return Value::list(std::move(parts));
}

// The part of the text between the code points `start` and `end`, as slices give it; and where it starts.
struct Window {
  std::string_view text;
  std::int64_t start = 0;
  bool valid = true;  // the start is not behind the end of the text
};

Window windowOf(const Value& self, const Parameters& parameters, std::size_t first) {
  const Text& text = self.text();
  const auto length = static_cast<std::int64_t>(text.length);
  const auto bound = [&](std::size_t index, std::int64_t otherwise) {
    if (!parameters.some(index)) return otherwise;
    std::int64_t at = parameters.whole(index, 0);
    if (at < 0) at = at < -length ? 0 : at + length;
    return at;
  };
  Window window;
  window.start = bound(first, 0);
  const std::int64_t end = std::min(bound(first + 1, length), length);
  window.valid = window.start <= end;
  chargeBytes(text.bytes.size());
  if (!window.valid) return window;
  const std::size_t from = byteOffset(text.bytes, static_cast<std::size_t>(window.start), text.ascii());
  const std::string_view rest = std::string_view(text.bytes).substr(from);
  window.text = rest.substr(0, byteOffset(rest, static_cast<std::size_t>(end - window.start), text.ascii()));
  return window;
}

bool matchesAny(const Value& affixes, const char* name,
                const std::function<bool(std::string_view)>& matches) {
  const auto check = [&](const Value& affix) {
    if (affix.is(Kind::undefined)) throwUndefined(affix);
    if (!affix.is(Kind::string))
      throwFailure(std::string(name) + " needs a str or a tuple of str, not " + typeName(affix));
    return matches(affix.bytes());
  };
  if (!affixes.is(Kind::tuple)) return check(affixes);
  return std::any_of(affixes.items().begin(), affixes.items().end(), check);
}

Value startsWith(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("startswith", arguments, {"prefix", "start", "end"}, 1);
  const Window window = windowOf(self, parameters, 1);
  return matchesAny(*parameters[0], "startswith",
                    [&](std::string_view affix) { return window.valid && window.text.starts_with(affix); });
}

Value endsWith(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("endswith", arguments, {"suffix", "start", "end"}, 1);
  const Window window = windowOf(self, parameters, 1);
  return matchesAny(*parameters[0], "endswith",
                    [&](std::string_view affix) { return window.valid && window.text.ends_with(affix); });
}

template <bool fromRight>
std::optional<std::int64_t> found(const Value& self, const Parameters& parameters) {
  const std::string wanted = parameters.text(0);
  const Window window = windowOf(self, parameters, 1);
  if (!window.valid) return std::nullopt;
  chargeSearch(window.text.size(), wanted.size());
  const std::size_t at = fromRight ? window.text.rfind(wanted) : window.text.find(wanted);
  if (at == std::string_view::npos) return std::nullopt;
  return window.start + static_cast<std::int64_t>(countCodePoints(window.text.substr(0, at)));
}

template <bool fromRight>
Value findText(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("find", arguments, {"sub", "start", "end"}, 1);
  return found<fromRight>(self, parameters).value_or(-1);
}

template <bool fromRight>
Value indexOfText(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("index", arguments, {"sub", "start", "end"}, 1);
  const auto at = found<fromRight>(self, parameters);
  if (!at) throwFailure("substring not found");
  return *at;
}

Value countText(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("count", arguments, {"sub", "start", "end"}, 1);
  const std::string wanted = parameters.text(0);
  const Window window = windowOf(self, parameters, 1);
  if (!window.valid) return 0;
  chargeSearch(window.text.size(), wanted.size());
  if (wanted.empty()) return static_cast<std::int64_t>(countCodePoints(window.text)) + 1;
  std::int64_t count = 0;
  for (std::size_t at = window.text.find(wanted); at != std::string_view::npos;
       at = window.text.find(wanted, at + wanted.size()))
    ++count;
  return count;
}

Value replaceText(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("replace", arguments, {"old", "new", "count"}, 2);
  const bool markup = self.text().markup;
  const std::string from = parameters.text(0);
  const std::string to = markup ? escaped(*parameters[1]).bytes() : parameters.text(1);
  return made(self, replaced(self.bytes(), from, to, parameters.whole(2, -1)));
}

Value joinTexts(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("join", arguments, {"iterable"}, 1);
  if (!isIterable(*parameters[0])) throwFailure("can only join an iterable");
  const bool markup = self.text().markup;
  std::string out;
  Cursor cursor(*parameters[0]);
  bool first = true;
  std::int64_t index = 0;
  for (Value item; cursor.next(item); first = false, ++index) {
    if (!item.is(Kind::string) && !markup)
      throwFailure("sequence item " + std::to_string(index) + ": expected str instance, " + typeName(item) +
                   " found");
    if (!first) out += self.bytes();
    out += markup ? escaped(item).bytes() : item.bytes();
    checkSize(out.size());
    chargeBytes(self.bytes().size() + 16);
  }
  return made(self, std::move(out));
}

Value formatText(Interpreter&, const Value& self, Arguments& arguments) {
  return braceFormat(self, arguments);
}

Value formatMap(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("format_map", arguments, {"mapping"}, 1);
  Arguments named;
  if (!parameters[0]->is(Kind::dict)) throwFailure("format_map() needs a dict");
  for (const auto& [key, value] : parameters[0]->entries().items)
    if (key.is(Kind::string)) named.keyword.emplace_back(key.bytes(), value);
  return braceFormat(self, named);
}

std::string filling(std::int64_t count, std::string_view fill) {
  if (count <= 0) return {};
  checkSize(static_cast<std::uint64_t>(count) * fill.size());
  std::string out;
  for (std::int64_t i = 0; i < count; ++i) out += fill;
  return out;
}

Value filledWithZeros(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("zfill", arguments, {"width"}, 1);
  const std::string& text = self.bytes();
  const std::string zeros =
      filling(parameters.whole(0, 0) - static_cast<std::int64_t>(self.text().length), "0");
  const bool hasSign = !text.empty() && (text[0] == '+' || text[0] == '-');
  return made(self, hasSign ? text[0] + zeros + text.substr(1) : zeros + text);
}

template <Side side>
Value justified(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("center", arguments, {"width", "fillchar"}, 1);
  const std::string fill = parameters.text(1, " ");
  if (countCodePoints(fill) != 1) throwFailure("The fill character must be exactly one character long");
  const std::int64_t width = parameters.whole(0, 0);
  const std::int64_t missing = width - static_cast<std::int64_t>(self.text().length);
  if (missing <= 0) return made(self, self.bytes());
  if (side == Side::left) return made(self, self.bytes() + filling(missing, fill));
  if (side == Side::right) return made(self, filling(missing, fill) + self.bytes());
  const std::int64_t before = missing / 2 + (missing & width & 1);
  return made(self, filling(before, fill) + self.bytes() + filling(missing - before, fill));
}

template <bool (*holds)(char32_t)>
Value allCharacters(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters none("str method", arguments, {});
  const std::string& text = self.bytes();
  chargeBytes(text.size() * 4);
  for (std::size_t at = 0; at < text.size();)
    if (!holds(nextCodePoint(text, at))) return false;
  return !text.empty();
}

bool isAlphanumeric(char32_t c) {
  return isAlphabetic(c) || isDecimal(c) || isDigitCharacter(c) || isNumericCharacter(c);
}

Value isAscii(Interpreter&, const Value& self, Arguments&) {
  return std::all_of(self.bytes().begin(), self.bytes().end(), [](char c) { return (c & 0x80) == 0; });
}

Value isPrintableText(Interpreter&, const Value& self, Arguments&) {
  const std::string& text = self.bytes();
  chargeBytes(text.size() * 4);
  for (std::size_t at = 0; at < text.size();)
    if (!isPrintable(nextCodePoint(text, at))) return false;
  return true;
}

Value isIdentifier(Interpreter&, const Value& self, Arguments&) {
  const std::string& text = self.bytes();
  chargeBytes(text.size() * 4);
  for (std::size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const char32_t c = nextCodePoint(text, at);
    if (!(first ? isIdentifierStart(c) : isIdentifierPart(c))) return false;
  }
  return !text.empty();
}

Value isTitle(Interpreter&, const Value& self, Arguments&) {
  bool inWord = false, any = false;
  for (std::size_t at = 0; at < self.bytes().size();) {
    const char32_t c = nextCodePoint(self.bytes(), at);
    if (isUpperCase(c) || isTitleCase(c)) {
      if (inWord) return false;
      inWord = any = true;
    } else if (isLowerCase(c)) {
      if (!inWord) return false;
      any = true;
    } else {
      inWord = false;
    }
  }
  return any;
}

template <bool upper>
Value isCase(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters none("str method", arguments, {});
  return isOneCase(self.bytes(), upper);
}

Value lines(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("splitlines", arguments, {"keepends"});
  chargeBytes(self.bytes().size());
  std::vector<Value> parts;
  for (const std::string& line : splitLines(self.bytes(), parameters.truth(0))) addPart(parts, self, line);
  return Value::list(std::move(parts));
}

template <bool fromRight>
Value partition(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("partition", arguments, {"sep"}, 1);
  const std::string separator = separatorOf(parameters, 0);
  const std::string& text = self.bytes();
  chargeSearch(text.size(), separator.size());
  const std::size_t at = fromRight ? text.rfind(separator) : text.find(separator);
  const bool markup = self.text().markup;
  const auto part = [&](std::string piece) { return Value(std::move(piece), markup); };
  if (at == std::string::npos)
    return fromRight ? Value::tuple({part(""), part(""), part(text)})
                     : Value::tuple({part(text), part(""), part("")});
  return Value::tuple({part(text.substr(0, at)), part(separator), part(text.substr(at + separator.size()))});
}

Value removePrefix(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("removeprefix", arguments, {"prefix"}, 1);
  const std::string prefix = parameters.text(0);
  return made(self, self.bytes().starts_with(prefix) ? self.bytes().substr(prefix.size()) : self.bytes());
}

Value removeSuffix(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("removesuffix", arguments, {"suffix"}, 1);
  const std::string suffix = parameters.text(0);
  return made(self, !suffix.empty() && self.bytes().ends_with(suffix)
                        ? self.bytes().substr(0, self.bytes().size() - suffix.size())
                        : self.bytes());
}

Value expandTabs(Interpreter&, const Value& self, Arguments& arguments) {
  const Parameters parameters("expandtabs", arguments, {"tabsize"});
  const std::int64_t size = parameters.whole(0, 8);
  std::string out;
  std::int64_t column = 0;
  for (std::size_t at = 0; at < self.bytes().size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(self.bytes(), at);
    if (c == '\t') {
      if (size <= 0) continue;
      out += filling(size - column % size, " ");
      column += size - column % size;
      checkSize(out.size());
      continue;
    }
    out += self.bytes().substr(from, at - from);
    column = c == '\n' || c == '\r' ? 0 : column + 1;
  }
  return made(self, std::move(out));
}

Value notOffered(Interpreter&, const Value&, Arguments&) {
  throwFailure("this method of str", FailureKind::unsupported);
}

struct Entry {
  std::string_view name;
  Method method;
};

constexpr std::array kMethods = {
    Entry{"upper", mappedText<toUpper>},
    Entry{"lower", mappedText<toLower>},
    Entry{"title", mappedText<toTitle>},
    Entry{"capitalize", mappedText<toCapitalized>},
    Entry{"swapcase", mappedText<swapCase>},
    Entry{"casefold", mappedText<foldCase>},
    Entry{"strip", strippedText<Side::both>},
    Entry{"lstrip", strippedText<Side::left>},
    Entry{"rstrip", strippedText<Side::right>},
    Entry{"split", split},
    Entry{"rsplit", splitFromRight},
    Entry{"splitlines", lines},
    Entry{"startswith", startsWith},
    Entry{"endswith", endsWith},
    Entry{"find", findText<false>},
    Entry{"rfind", findText<true>},
    Entry{"index", indexOfText<false>},
    Entry{"rindex", indexOfText<true>},
    Entry{"count", countText},
    Entry{"replace", replaceText},
    Entry{"join", joinTexts},
    Entry{"format", formatText},
    Entry{"format_map", formatMap},
    Entry{"zfill", filledWithZeros},
    Entry{"center", justified<Side::both>},
    Entry{"ljust", justified<Side::left>},
    Entry{"rjust", justified<Side::right>},
    Entry{"isdigit", allCharacters<isDigitCharacter>},
    Entry{"isdecimal", allCharacters<isDecimal>},
    Entry{"isnumeric", allCharacters<isNumericCharacter>},
    Entry{"isalpha", allCharacters<isAlphabetic>},
    Entry{"isalnum", allCharacters<isAlphanumeric>},
    Entry{"isspace", allCharacters<isSpace>},
    Entry{"isupper", isCase<true>},
    Entry{"islower", isCase<false>},
    Entry{"istitle", isTitle},
    Entry{"isascii", isAscii},
    Entry{"isprintable", isPrintableText},
    Entry{"isidentifier", isIdentifier},
    Entry{"partition", partition<false>},
    Entry{"rpartition", partition<true>},
    Entry{"removeprefix", removePrefix},
    Entry{"removesuffix", removeSuffix},
    Entry{"expandtabs", expandTabs},
    Entry{"encode", notOffered},
    Entry{"translate", notOffered},
    Entry{"maketrans", notOffered},
};

}  // namespace

std::string replaced(std::string_view text, std::string_view from, std::string_view to, std::int64_t count) {
  std::string out;
  chargeSearch(text.size(), from.size());
  if (count < 0) count = INT64_MAX;
  if (from.empty()) {
    std::size_t at = 0;
    for (; count > 0; --count) {
      out += to;
      checkSize(out.size());
      if (at >= text.size()) return out;
      const std::size_t begin = at;
      nextCodePoint(text, at);
      out += text.substr(begin, at - begin);
    }
    return out += text.substr(at);
  }
  std::size_t at = 0;
  for (; count > 0; --count) {
    const std::size_t next = text.find(from, at);
    if (next == std::string_view::npos) break;
    out += text.substr(at, next - at);
    out += to;
    checkSize(out.size());
    chargeBytes(to.size());
    at = next + from.size();
  }
  return out += text.substr(at);
}

bool isOneCase(std::string_view text, bool upper) {
  chargeBytes(text.size() * 4);
  bool any = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = nextCodePoint(text, at);
    if (isTitleCase(c) || (upper ? isLowerCase(c) : isUpperCase(c))) return false;
    any = any || (upper ? isUpperCase(c) : isLowerCase(c));
  }
  return any;
}

Method findTextMethod(std::string_view name) {
  const auto* entry =
      std::find_if(kMethods.begin(), kMethods.end(), [&](const Entry& known) { return known.name == name; });
  return entry == kMethods.end() ? nullptr : entry->method;
}

}  // namespace decoscope::jinja
