// Filters over lists and other iterables.
#include <algorithm>
#include <unordered_set>

#include "core/tokenizer/jinja/Access.h"
#include "core/tokenizer/jinja/Operations.h"
#include "core/tokenizer/jinja/Operators.h"
#include "core/tokenizer/jinja/Print.h"
#include "core/tokenizer/jinja/Unicode.h"

namespace decoscope::jinja {

namespace {

int nestingOf(const Value& input, const Arguments& arguments) {
  int deepest = input.nesting();
  for (const Value& value : arguments.positional) deepest = std::max(deepest, value.nesting());
  for (const auto& [name, value] : arguments.keyword) deepest = std::max(deepest, value.nesting());
  return deepest;
}

// A cursor that is opened when the first item is asked for, as a Python generator does.
class LateCursor {
 public:
  explicit LateCursor(Value iterable) : iterable_(std::move(iterable)) {}
  bool next(Value& item) {
    if (!std::exchange(opened_, true)) cursor_ = Cursor(iterable_);
    return cursor_.next(item);
  }

 private:
  Value iterable_;
  Cursor cursor_;
  bool opened_ = false;
};

Value first(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("first", arguments, {});
  Cursor cursor(input);
  Value item;
  return cursor.next(item) ? item : undefinedBecause("No first item, sequence was empty.");
}

Value last(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("last", arguments, {});
  if (!isReversible(input)) throwFailure("'" + typeName(input) + "' object is not reversible");
  if (input.is(Kind::undefined)) return undefinedBecause("No last item, sequence was empty.");
  if (input.is(Kind::string) || input.is(Kind::list) || input.is(Kind::tuple) || input.is(Kind::range))
    return input.truth() ? getItem(input, Value(-1)) : undefinedBecause("No last item, sequence was empty.");
  const std::vector<Value> items = itemsOf(input);
  return items.empty() ? undefinedBecause("No last item, sequence was empty.") : items.back();
}

Value length(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("len", arguments, {});
  return requireLength(input);
}

Value list(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("list", arguments, {});
  return Value::list(itemsOf(input));
}

Value reverse(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("reverse", arguments, {});
  if (input.is(Kind::string)) {
    std::u32string characters = codePoints(input.bytes());
    chargeBytes(input.bytes().size());
    std::reverse(characters.begin(), characters.end());
    return Value(utf8(characters), input.text().markup);
  }
  if (!isIterable(input)) throwFailure("argument must be iterable");
  std::vector<Value> items = itemsOf(input);
  if (!isReversible(input)) {
    std::reverse(items.begin(), items.end());
    return Value::list(std::move(items));
  }
  const char* type = input.is(Kind::list) ? "list_reverseiterator" : "reversed";
  return makeIterator(
      input.nesting(),
      [items = std::move(items)](Value& item) mutable {
        if (items.empty()) return false;
        item = std::move(items.back());
        items.pop_back();
        return true;
      },
      type);
}

Value sort(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool keepCase = parameters.truth(1);
  std::vector<AttributePath> paths;
  if (parameters.some(2) && parameters[2]->is(Kind::string)) {
    std::string_view rest = parameters[2]->bytes();
    for (;;) {
      const std::size_t comma = rest.find(',');
      paths.emplace_back(Value(rest.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  } else {
    paths.push_back(parameters.some(2) ? AttributePath(*parameters[2]) : AttributePath());
  }
  std::vector<Value> items = itemsOf(input), keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const AttributePath& path : paths) key.push_back(keepCase ? path(item) : ignoringCase(path(item)));
    keys.push_back(Value::list(std::move(key)));
  }
  return Value::list(sortedBy(std::move(items), keys, parameters.truth(0)));
}

Value dictSort(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const Value by = parameters[1] ? *parameters[1] : Value("key");
  const bool byKey = equal(by, Value("key"));
  if (!byKey && !equal(by, Value("value"))) throwFailure("You can only sort by either \"key\" or \"value\"");
  if (input.is(Kind::undefined)) throwUndefined(input);
  if (!input.is(Kind::dict)) throwFailure("dictsort needs a dict, not " + typeName(input));
  std::vector<Value> items, keys;
  for (const auto& [key, value] : input.entries().items) {
    items.push_back(Value::tuple({key, value}));
    const Value& sortKey = byKey ? key : value;
    keys.push_back(parameters.truth(0) ? sortKey : ignoringCase(sortKey));
  }
  return Value::list(sortedBy(std::move(items), keys, parameters.truth(2)));
}

Value unique(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("unique", arguments, {"case_sensitive", "attribute"});
  const AttributePath path = parameters.some(1) ? AttributePath(*parameters[1]) : AttributePath();
  auto seen = std::make_shared<std::unordered_set<Value, ValueHash, ValueEqual>>();
  auto cursor = std::make_shared<LateCursor>(input);
  return makeIterator(nestingOf(input, arguments),
                      [path, seen, cursor, keepCase = parameters.truth(0)](Value& item) {
                        while (cursor->next(item)) {
                          const Value key = keepCase ? path(item) : ignoringCase(path(item));
                          if (!isHashable(key)) throwFailure("unhashable type: '" + typeName(key) + "'");
                          if (seen->insert(key).second) return true;
                        }
                        return false;
                      });
}

template <bool largest>
Value extreme(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("min", arguments, {"case_sensitive", "attribute"});
  const AttributePath path = parameters.some(1) ? AttributePath(*parameters[1]) : AttributePath();
  const bool keepCase = parameters.truth(0);
  const auto keyOf = [&](const Value& item) { return keepCase ? path(item) : ignoringCase(path(item)); };
  Cursor cursor(input);
  Value best;
  if (!cursor.next(best)) return undefinedBecause("No aggregated item, sequence was empty.");
  Value bestKey = keyOf(best);
  for (Value item; cursor.next(item);) {
    Value key = keyOf(item);
    if (largest ? less(bestKey, key, ">") : less(key, bestKey)) {
      best = std::move(item);
      bestKey = std::move(key);
    }
  }
  return best;
}

Value sum(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("sum", arguments, {"attribute", "start"});
  const AttributePath path = parameters.some(0) ? AttributePath(*parameters[0]) : AttributePath();
  Value total = parameters[1] ? *parameters[1] : Value(0);
  if (total.is(Kind::string)) throwFailure("sum() can't sum strings [use ''.join(seq) instead]");
  Cursor cursor(input);
  for (Value item; cursor.next(item);) total = arithmetic(Operator::add, total, path(item));
  return total;
}

Value batch(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("batch", arguments, {"linecount", "fill_with"}, 1);
  const Value count = *parameters[0];
  const Value fill = parameters[1] ? *parameters[1] : Value(nullptr);
  auto cursor = std::make_shared<LateCursor>(input);
  return makeIterator(nestingOf(input, arguments), [cursor, count, fill, held = std::vector<Value>(),
                                                    ended = false](Value& line) mutable {
    Value item;
    while (!ended) {
      if (!cursor->next(item)) {
        ended = true;
        if (held.empty()) return false;
        if (!fill.is(Kind::none) && less(Value(static_cast<std::int64_t>(held.size())), count)) {
          const std::int64_t wanted = requireWhole(count, "batch");
          checkSize(static_cast<std::uint64_t>(wanted) * sizeof(Value));
          held.resize(static_cast<std::size_t>(wanted), fill);
        }
        line = Value::list(std::move(held));
        return true;
      }
      const bool full = equal(Value(static_cast<std::int64_t>(held.size())), count);
      if (full) line = Value::list(std::exchange(held, {}));
      held.push_back(item);
      if (full) return true;
    }
    return false;
  });
}

Value slice(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("slice", arguments, {"slices", "fill_with"}, 1);
  const Value slices = *parameters[0];
  const Value fill = parameters[1] ? *parameters[1] : Value(nullptr);
  return makeIterator(nestingOf(input, arguments),
                      [input, slices, fill, items = std::vector<Value>(), number = std::int64_t{-1},
                       offset = std::int64_t{0}](Value& part) mutable {
                        if (number < 0) {
                          number = 0;
                          items = itemsOf(input);
                        }
                        const std::int64_t count = requireWhole(slices, "slice");
                        if (count == 0) throwFailure("integer division or modulo by zero");
                        if (number >= count) return false;
                        const auto size = static_cast<std::int64_t>(items.size());
                        const std::int64_t each = size / count, extra = size % count;
                        const std::int64_t start = offset + number * each;
                        if (number < extra) ++offset;
                        const std::int64_t end = offset + (number + 1) * each;
                        std::vector<Value> held(items.begin() + start, items.begin() + end);
                        if (!fill.is(Kind::none) && number >= extra) held.push_back(fill);
                        ++number;
                        part = Value::list(std::move(held));
                        return true;
                      });
}

Value groupBy(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters parameters("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(*parameters[0], parameters.some(1));
  const bool keepCase = parameters.truth(2);
  const auto keyOf = [&](const Value& item) { return keepCase ? path(item) : ignoringCase(path(item)); };
  std::vector<Value> items = itemsOf(input), keys;
  for (const Value& item : items) keys.push_back(keyOf(item));
  items = sortedBy(std::move(items), keys, false);
  std::vector<Value> groups;
  for (std::size_t i = 0; i < items.size();) {
    const Value key = keyOf(items[i]);
    const Value shown = path(items[i]);
    std::vector<Value> members;
    for (; i < items.size() && equal(keyOf(items[i]), key); ++i) members.push_back(items[i]);
    // A key that is not equal to itself (NaN) makes a group of its own.
    if (members.empty()) members.push_back(items[i++]);
    auto group = std::make_shared<Sequence>(std::vector<Value>{shown, Value::list(std::move(members))});
    group->group = true;
    groups.emplace_back(Kind::tuple, std::move(group));
  }
  return Value::list(std::move(groups));
}

Value map(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  const int nesting = nestingOf(input, arguments);
  auto cursor = std::make_shared<LateCursor>(input);
  const auto attribute = std::find_if(arguments.keyword.begin(), arguments.keyword.end(),
                                      [](const auto& item) { return item.first == "attribute"; });
  if (!input.truth()) return makeIterator(nesting, [](Value&) { return false; });
  if (arguments.positional.empty() && attribute != arguments.keyword.end()) {
    // The arguments are looked at when the first item is asked for.
    return makeIterator(nesting, [cursor, keyword = arguments.keyword,
                                  path = std::optional<AttributePath>()](Value& item) mutable {
      if (!path) {
        const Value* wanted = nullptr;
        const Value* otherwise = nullptr;
        for (const auto& [name, value] : keyword) {
          if (name == "attribute")
            wanted = &value;
          else if (name == "default")
            otherwise = value.is(Kind::none) ? nullptr : &value;
          else
            throwFailure("Unexpected keyword argument '" + name + "'");
        }
        path = wanted->is(Kind::none) ? AttributePath() : AttributePath(*wanted, otherwise);
      }
      Value next;
      if (!cursor->next(next)) return false;
      item = (*path)(next);
      return true;
    });
  }
  return makeIterator(nesting, [&interpreter, cursor, arguments](Value& item) {
    if (arguments.positional.empty()) throwFailure("map requires a filter argument");
    Value next;
    if (!cursor->next(next)) return false;
    Arguments rest = arguments;
    rest.positional.erase(rest.positional.begin());
    item = interpreter.filter(arguments.positional.front(), next, rest);
    return true;
  });
}

template <bool keepTrue, bool byAttribute>
Value select(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  const int nesting = nestingOf(input, arguments);
  if (!input.truth()) return makeIterator(nesting, [](Value&) { return false; });
  auto cursor = std::make_shared<LateCursor>(input);
  return makeIterator(nesting, [&interpreter, cursor, arguments,
                                path = std::optional<AttributePath>()](Value& item) mutable {
    constexpr std::size_t testAt = byAttribute ? 1 : 0;
    if (!path) {
      if (byAttribute && arguments.positional.empty()) throwFailure("Missing parameter for attribute name");
      path = byAttribute && !arguments.positional[0].is(Kind::none) ? AttributePath(arguments.positional[0])
                                                                    : AttributePath();
    }
    while (cursor->next(item)) {
      const Value tested = (*path)(item);
      bool holds = false;
      if (arguments.positional.size() > testAt) {
        Arguments rest;
        rest.positional.assign(arguments.positional.begin() + testAt + 1, arguments.positional.end());
        rest.keyword = arguments.keyword;
        holds = interpreter.test(arguments.positional[testAt], tested, rest);
      } else {
        holds = tested.truth();
      }
      if (holds == keepTrue) return true;
    }
    return false;
  });
}

Value items(Interpreter&, const Value& input, Arguments& arguments) {
  const Parameters none("items", arguments, {});
  return makeIterator(input.nesting(), [input, at = std::size_t{0}](Value& item) mutable {
    if (input.is(Kind::undefined)) return false;
    if (!input.is(Kind::dict)) throwFailure("Can only get item pairs from a mapping.");
    const auto& entries = input.entries().items;
    if (at >= entries.size()) return false;
    item = Value::tuple({entries[at].first, entries[at].second});
    ++at;
    return true;
  });
}

Value random(Interpreter&, const Value&, Arguments&) {
  throwFailure("the filter random, whose result cannot be repeated,", FailureKind::unsupported);
}

}  // namespace

OperationTable sequenceFilters() {
  return {{"batch", batch},
          {"count", length},
          {"dictsort", dictSort},
          {"first", first},
          {"groupby", groupBy},
          {"items", items},
          {"last", last},
          {"length", length},
          {"list", list},
          {"map", map},
          {"max", extreme<true>},
          {"min", extreme<false>},
          {"random", random},
          {"reject", select<false, false>},
          {"rejectattr", select<false, true>},
          {"reverse", reverse},
          {"select", select<true, false>},
          {"selectattr", select<true, true>},
          {"slice", slice},
          {"sort", sort},
          {"sum", sum},
          {"unique", unique}};
}

AttributePath::AttributePath(const Value& attribute, const Value* otherwise) {
  if (otherwise) otherwise_ = *otherwise, hasOtherwise_ = true;
  if (!attribute.is(Kind::string)) {
    parts_.push_back(attribute);
    return;
  }
  std::string_view rest = attribute.bytes();
  for (;;) {
    const std::size_t dot = rest.find('.');
    const std::string part(rest.substr(0, dot));
    const bool isNumber = !part.empty() && part.size() < 18 &&
                          std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    parts_.push_back(isNumber ? Value(static_cast<std::int64_t>(std::stoll(part))) : Value(part));
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
}

Value AttributePath::operator()(Value item) const {
  for (const Value& part : parts_) {
    item = getItem(item, part);
    if (hasOtherwise_ && item.is(Kind::undefined)) item = otherwise_;
  }
  return item;
}

Value ignoringCase(const Value& value) {
  if (!value.is(Kind::string)) return value;
  chargeBytes(value.bytes().size());
  return Value(toLower(value.bytes()), value.text().markup);
}

std::vector<Value> sortedBy(std::vector<Value> items, const std::vector<Value>& keys, bool reverse) {
  std::vector<std::size_t> order(items.size()), merged(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  // A merge sort of our own: comparisons may fail, and may not be an order at all (NaN).
  const auto before = [&](std::size_t a, std::size_t b) {
    chargeSteps(1);
    return reverse ? less(keys[b], keys[a]) : less(keys[a], keys[b]);
  };
  for (std::size_t width = 1; width < order.size(); width *= 2) {
    for (std::size_t start = 0; start < order.size(); start += 2 * width) {
      const std::size_t middle = std::min(start + width, order.size());
      const std::size_t end = std::min(start + 2 * width, order.size());
      std::size_t left = start, right = middle;
      for (std::size_t at = start; at < end; ++at) {
        const bool takeRight = left >= middle || (right < end && before(order[right], order[left]));
        merged[at] = order[takeRight ? right++ : left++];
      }
    }
    std::swap(order, merged);
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const std::size_t at : order) sorted.push_back(std::move(items[at]));
  return sorted;
}

}  // namespace decoscope::jinja
