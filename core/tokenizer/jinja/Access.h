// Attribute and item access as the immutable sandbox of Jinja2 gives it: `a.b` looks for the attribute, then
// for the item; `a["b"]` the other way round; what is not there is undefined; names with an underscore and
// methods that change a list or dict are refused when they are used.
#pragma once

#include <optional>
#include <string_view>

#include "core/tokenizer/jinja/Interpreter.h"

namespace decoscope::jinja {

Value getAttribute(const Value& object, const std::string& name);
Value getItem(const Value& object, const Value& key);
// The attribute alone, without falling back to items; nothing if there is none.
std::optional<Value> attributeOf(const Value& object, const std::string& name);

using Method = Value (*)(Interpreter&, const Value& self, Arguments&);
// Null if text, a list … has no such method.
Method findTextMethod(std::string_view name);
Method findContainerMethod(Kind kind, std::string_view name);
Value bindMethod(const Value& self, std::string_view name, Method method);

}  // namespace decoscope::jinja
