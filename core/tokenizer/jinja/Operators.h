// Python's operators over values. They throw Failure as Python raises.
#pragma once

#include "core/tokenizer/jinja/Ast.h"
#include "core/tokenizer/jinja/Value.h"

namespace decoscope::jinja {

Value arithmetic(Operator op, const Value& left, const Value& right);
Value negated(const Value& value);
Value positive(const Value& value);
// `a < b`; fails for what Python cannot order. `symbol` names the operator in the error.
bool less(const Value& a, const Value& b, const char* symbol = "<");
bool lessEqual(const Value& a, const Value& b, const char* symbol = "<=");
bool contains(const Value& container, const Value& item);
// `value[start:stop:step]`; each bound none or whole.
Value sliced(const Value& value, const Value& start, const Value& stop, const Value& step);
// Python's int(value) for what is a number; fails otherwise.
std::int64_t requireWhole(const Value& value, const char* what);

}  // namespace decoscope::jinja
