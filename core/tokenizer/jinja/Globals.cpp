// The functions that every chat template can call.
#include <clocale>
#include <ctime>

#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"

namespace decoscope::jinja {

namespace {

constexpr std::int64_t kMaximumRange = 100'000;  // the sandbox's MAX_RANGE

Value range(Interpreter&, Arguments& arguments) {
  if (!arguments.keyword.empty()) throwFailure("range() takes no keyword arguments");
  const std::size_t count = arguments.positional.size();
  if (count < 1 || count > 3) throwFailure("range expected 1 to 3 arguments, got " + std::to_string(count));
  const auto at = [&](std::size_t i) { return requireWhole(arguments.positional[i], "range"); };
  auto result = std::make_shared<Range>();
  if (count == 1) {
    result->stop = at(0);
  } else {
    result->start = at(0);
    result->stop = at(1);
    if (count == 3) result->step = at(2);
  }
  if (result->step == 0) throwFailure("range() arg 3 must not be zero");
  // Bounds that far apart are too big for any step that an honest template takes.
  constexpr std::int64_t far = std::int64_t{1} << 62;
  for (const std::int64_t bound : {result->start, result->stop, result->step})
    if (bound > far || bound < -far) throwFailure("a bound of range is too large", FailureKind::unsupported);
  if (result->length() > kMaximumRange)
    throwFailure("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  return {Kind::range, std::move(result)};
}

// dict(…) and namespace(…): pairs or a dict, then keywords.
std::shared_ptr<Dict> dictFrom(const char* function, Arguments& arguments) {
  auto dict = std::make_shared<Dict>();
  if (arguments.positional.size() > 1)
    throwFailure(std::string(function) + " expected at most 1 argument, got " +
                 std::to_string(arguments.positional.size()));
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::undefined)) throwUndefined(source);
    if (source.is(Kind::dict)) {
      for (const auto& [key, value] : source.entries().items) dict->set(key, value);
    } else {
      if (!isIterable(source)) throwFailure("'" + typeName(source) + "' object is not iterable");
      Cursor cursor(source);
      for (Value item; cursor.next(item);) {
        if (!isIterable(item))
          throwFailure("cannot convert dictionary update sequence element to a sequence");
        std::vector<Value> pair = itemsOf(item);
        if (pair.size() != 2) throwFailure("dictionary update sequence element has not length 2");
        if (!isHashable(pair[0])) throwFailure("unhashable type: '" + typeName(pair[0]) + "'");
        dict->set(std::move(pair[0]), std::move(pair[1]));
      }
    }
  }
  for (auto& [name, value] : arguments.keyword) dict->set(Value(name), std::move(value));
  return dict;
}

Value makeDict(Interpreter&, Arguments& arguments) {
  return Value::dict(dictFrom("dict", arguments));
}

Value makeNameSpace(Interpreter& interpreter, Arguments& arguments) {
  auto result = std::make_shared<NameSpace>();
  result->attributes = dictFrom("namespace", arguments);
  for (const auto& [key, value] : result->attributes->items)
    if (key.is(Kind::string) && key.bytes().starts_with('_'))
      throwFailure("a namespace cannot hold the attribute " + repr(key) + ": it begins with an underscore");
  return interpreter.keep(std::move(result));
}

Value makeCycler(Interpreter&, Arguments& arguments) {
  if (!arguments.keyword.empty()) throwFailure("cycler() takes no keyword arguments");
  if (arguments.positional.empty()) throwFailure("at least one item has to be provided");
  struct State {
    std::vector<Value> items;
    std::size_t position = 0;
  };
  auto state = std::make_shared<State>();
  state->items = arguments.positional;
  auto cycler = std::make_shared<HelperObject>();
  const Value items = Value::tuple(arguments.positional);
  cycler->nesting = items.nesting() + 2;
  cycler->lazy = items.lazy();
  cycler->type = "Cycler";
  cycler->refresh = [state](HelperObject& self) {
    self.attributes.insert_or_assign("current", state->items[state->position]);
    self.attributes.insert_or_assign("pos", Value(static_cast<std::int64_t>(state->position)));
  };
  cycler->attributes.emplace("items", items);
  cycler->attributes.emplace("next", makeFunction("next", [state](Interpreter&, Arguments& none) {
                               const Parameters check("next", none, {});
                               Value value = state->items[state->position];
                               state->position = (state->position + 1) % state->items.size();
                               return value;
                             }));
  cycler->attributes.emplace("reset", makeFunction("reset", [state](Interpreter&, Arguments& none) {
                               const Parameters check("reset", none, {});
                               state->position = 0;
                               return Value(nullptr);
                             }));
  if (cycler->nesting > kMaximumNesting) throwFailure("values are nested too deeply");
  return {Kind::object, std::move(cycler)};
}

Value makeJoiner(Interpreter&, Arguments& arguments) {
  const Parameters parameters("joiner", arguments, {"sep"});
  auto joiner = std::make_shared<HelperObject>();
  joiner->type = "Joiner";
  const Value separator = parameters[0] ? *parameters[0] : Value(", ");
  joiner->nesting = separator.nesting() + 1;
  joiner->lazy = separator.lazy();
  if (joiner->nesting > kMaximumNesting) throwFailure("values are nested too deeply");
  joiner->attributes.emplace("sep", separator);
  auto used = std::make_shared<bool>(false);
  joiner->refresh = [used](HelperObject& self) { self.attributes.insert_or_assign("used", Value(*used)); };
  joiner->call = [separator, used](Interpreter&, Arguments& none) {
    const Parameters check("joiner", none, {});
    return std::exchange(*used, true) ? separator : Value("");
  };
  return {Kind::object, std::move(joiner)};
}

Value raiseException(Interpreter&, Arguments& arguments) {
  const Parameters parameters("raise_exception", arguments, {"message"}, 1);
  throw Failure{FailureKind::raised, str(*parameters[0]), 0};
}

std::string replacedDirectives(const std::string& format) {
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    // A date without a time zone, as Python's: %z and %Z are empty, %f has six digits.
    const char directive = format[++i];
    if (directive == 'f')
      out += "000000";
    else if (directive != 'z' && directive != 'Z')
      out += std::string("%") + directive;
  }
  return out;
}

Value strftimeNow(Interpreter& interpreter, Arguments& arguments) {
  const Parameters parameters("strftime_now", arguments, {"format"}, 1);
  // The mark at the end tells an empty result from one that does not fit.
  const std::string format = replacedDirectives(parameters.text(0)) + "|";
  if (format.find('\0') != std::string::npos) throwFailure("embedded null character");
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  const std::tm time = interpreter.now();
  std::string out(format.size() * 64 + 256, '\0');
  checkSize(out.size());
  const std::size_t length = strftime_l(out.data(), out.size(), format.c_str(), &time, plain);
  if (length == 0) throwFailure("the date is too long");
  out.resize(length - 1);
  return Value(std::move(out));
}

Value lipsum(Interpreter&, Arguments&) {
  throwFailure("lipsum, whose result cannot be repeated,", FailureKind::unsupported);
}

}  // namespace

const Variables& globals() {
  static const Variables all = {{"range", makeFunction("range", range)},
                                {"dict", makeFunction("dict", makeDict)},
                                {"namespace", makeFunction("namespace", makeNameSpace)},
                                {"cycler", makeFunction("cycler", makeCycler)},
                                {"joiner", makeFunction("joiner", makeJoiner)},
                                {"lipsum", makeFunction("lipsum", lipsum)},
                                {"raise_exception", makeFunction("raise_exception", raiseException)},
                                {"strftime_now", makeFunction("strftime_now", strftimeNow)}};
  return all;
}

}  // namespace decoscope::jinja
