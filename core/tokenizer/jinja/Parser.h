// Template text to syntax tree; the grammar is that of Jinja2 3.1 with loopcontrols and Hugging Face's
// generation blocks. Templates that need other templates (include, import, extends) are refused by name.
#pragma once

#include <string_view>

#include "core/tokenizer/jinja/Ast.h"

namespace decoscope::jinja {

// `source` is well-formed UTF-8. Throws Failure. Names are not bound yet (Binder.h).
Program parse(std::string_view source);

}  // namespace decoscope::jinja
