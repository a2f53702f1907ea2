// The filters and tests that a template can name, and what they share.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tokenizer/jinja/Ast.h"
#include "core/tokenizer/jinja/Interpreter.h"

namespace decoscope::jinja {

// Null if there is none of that name.
Operation findFilter(std::string_view name);
Operation findTest(std::string_view name);

using OperationTable = std::vector<std::pair<std::string_view, Operation>>;
OperationTable textFilters();
OperationTable sequenceFilters();
OperationTable valueFilters();

// The global functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now, lipsum.
const Variables& globals();

// "a.b.0" and the like of map(attribute=…), sort(attribute=…): the value reached from an item.
class AttributePath {
 public:
  AttributePath() = default;
  explicit AttributePath(const Value& attribute, const Value* otherwise = nullptr);
  Value operator()(Value item) const;
  int nesting() const { return otherwise_.nesting(); }

 private:
  std::vector<Value> parts_;
  Value otherwise_;
  bool hasOtherwise_ = false;
};

// Text is lower-cased, anything else is left.
Value ignoringCase(const Value& value);
// Sorted by keys as Python's sorted() does: stable, by `<` alone.
std::vector<Value> sortedBy(std::vector<Value> items, const std::vector<Value>& keys, bool reverse);
// Whether all cased characters are upper (or lower) case and there is one.
bool isOneCase(std::string_view text, bool upper);
// str.replace(); a negative count replaces all.
std::string replaced(std::string_view text, std::string_view from, std::string_view to, std::int64_t count);
// Python's float(value) of a number or a text; fails otherwise.
double requireReal(const Value& value);
// HTML-escaped, as markup.
Value escaped(const Value& value);
// A text as it is, anything else as str() gives it. Keeps markup.
Value softText(const Value& value);

}  // namespace decoscope::jinja
