// Decides where every name of a template lives, by the rules of Jinja2's compiler: which names a scope
// stores, which it takes over from outside when it is entered, and which it looks up in the context. The
// order in which a template loads and stores a name, and whether it does so under an `if`, make a difference;
// this follows jinja2/idtracking.py of Jinja2 3.1 in its results.
#pragma once

#include "core/tokenizer/jinja/Ast.h"

namespace decoscope::jinja {

// Throws Failure: filters and tests that do not exist, assignments to `loop`, `break` outside of a loop.
void bind(Program& program);

}  // namespace decoscope::jinja
