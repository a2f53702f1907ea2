#include "core/tokenizer/jinja/Json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Interpreter.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

constexpr std::size_t kMaximumJsonDepth = 200;

// Builds values as the parser goes along.
class ValueBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Value result;
  std::string problem;

  bool null() override { return add(Value(nullptr)); }
  bool boolean(bool value) override { return add(Value(value)); }
  bool number_integer(number_integer_t value) override {
    return add(Value(static_cast<std::int64_t>(value)));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(INT64_MAX))
      return refuse("an integer does not fit in 64 bits");
    return add(Value(static_cast<std::int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if (text.find_first_of(".eE") == std::string::npos) return refuse("an integer does not fit in 64 bits");
    return add(Value(static_cast<double>(value)));
  }
  bool string(string_t& value) override { return add(Value(value)); }
  bool binary(binary_t&) override { return refuse("binary data"); }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool key(string_t& value) override {
    levels_.back().key = Value(value);
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return refuse("it is not JSON (byte " + std::to_string(position) + ")");
  }

 private:
  struct Level {
    bool isObject = false;
    std::shared_ptr<Dict> dict;
    std::vector<Value> items;
    Value key;
  };

  bool refuse(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return false;
  }
  bool open(bool isObject) {
    if (levels_.size() >= kMaximumJsonDepth) return refuse("it is nested too deeply");
    levels_.push_back({isObject, isObject ? std::make_shared<Dict>() : nullptr, {}, {}});
    return true;
  }
  bool close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    return add(level.isObject ? Value::dict(std::move(level.dict)) : Value::list(std::move(level.items)));
  }
  bool add(Value value) {
    if (levels_.empty())
      result = std::move(value);
    else if (levels_.back().isObject)
      levels_.back().dict->set(std::move(levels_.back().key), std::move(value));
    else
      levels_.back().items.push_back(std::move(value));
    return true;
  }

  std::vector<Level> levels_;
};

void writeText(std::string& out, std::string_view text, bool escapeNonAscii) {
  chargeBytes(text.size());
  out += '"';
  const auto unit = [&](char32_t c) {
    std::string hex = asciiEscape(0x10000 + c).substr(5);
    out += "\\u" + hex;
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t from = at;
    const char32_t c = nextCodePoint(text, at);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (c < 0x20 || (escapeNonAscii && c >= 0x7F && c < 0x10000)) {
          unit(c);
        } else if (escapeNonAscii && c >= 0x10000) {
          unit(0xD800 + ((c - 0x10000) >> 10));
          unit(0xDC00 + ((c - 0x10000) & 0x3FF));
        } else {
          out += text.substr(from, at - from);
        }
    }
  }
  out += '"';
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  std::string run(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  void newline(std::size_t level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (std::size_t i = 0; i < level; ++i) out_ += *style_.indent;
    checkSize(out_.size());
  }

  static std::string number(const Value& value) {
    if (value.is(Kind::boolean)) return value.boolean() ? "true" : "false";
    if (value.is(Kind::integer)) return std::to_string(value.whole());
    if (std::isnan(value.real())) return "NaN";
    if (std::isinf(value.real())) return value.real() < 0 ? "-Infinity" : "Infinity";
    return reprOfReal(value.real());
  }

  static std::string keyText(const Value& key) {
    if (key.is(Kind::string)) return key.bytes();
    if (key.isNumber()) return number(key);
    if (key.is(Kind::none)) return "null";
    throwFailure("keys must be str, int, float, bool or None, not " + typeName(key));
  }

  void write(const Value& value, std::size_t level) {
    const DepthGuard guard;
    chargeSteps(1);
    checkSize(out_.size());
    switch (value.kind()) {
      case Kind::none:
        out_ += "null";
        break;
      case Kind::boolean:
      case Kind::integer:
      case Kind::real:
        out_ += number(value);
        break;
      case Kind::string:
        writeText(out_, value.bytes(), style_.escapeNonAscii);
        break;
      case Kind::list:
      case Kind::tuple:
        writeItems(value.items(), level);
        break;
      case Kind::dict:
        writeDict(value.entries(), level);
        break;
      default:
        throwFailure("Object of type " + typeName(value) + " is not JSON serializable");
    }
  }

  void writeItems(const std::vector<Value>& items, std::size_t level) {
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i) out_ += style_.itemSeparator;
      newline(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) newline(level);
    out_ += ']';
  }

  void writeDict(const Dict& dict, std::size_t level) {
    auto items = dict.items;
    if (style_.sortKeys) {
      std::vector<Value> values, keys;
      for (auto& [key, value] : items) {
        keys.push_back(key);
        values.push_back(Value::tuple({key, value}));
      }
      items.clear();
      for (const Value& pair : sortedBy(std::move(values), keys, false))
        items.emplace_back(pair.items()[0], pair.items()[1]);
    }
    out_ += '{';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i) out_ += style_.itemSeparator;
      newline(level + 1);
      writeText(out_, keyText(items[i].first), style_.escapeNonAscii);
      out_ += style_.keySeparator;
      write(items[i].second, level + 1);
    }
    if (!items.empty()) newline(level);
    out_ += '}';
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

Result<Value> parseJson(std::string_view text, const std::string& where) {
  ValueBuilder builder;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder))
    return fail(ErrorCode::badInput, "the JSON cannot be used: " + builder.problem, where);
  return std::move(builder.result);
}

std::string toJson(const Value& value, const JsonStyle& style) {
  return JsonWriter(style).run(value);
}

}  // namespace decoscope::jinja
