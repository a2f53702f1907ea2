// The built-in methods: one line here and one in Methods.cpp for each.
#pragma once

#include "core/decode/Decoder.h"

namespace decoscope {

void addSampling(MethodRegistry& registry);
void addChain(MethodRegistry& registry);
void addPromptLookup(MethodRegistry& registry);
void addSelfDraft(MethodRegistry& registry);
void addTokenRecycling(MethodRegistry& registry);
void addSpecInfer(MethodRegistry& registry);
void addEagle(MethodRegistry& registry);
void addSpecDecPlusPlus(MethodRegistry& registry);
void addLlada(MethodRegistry& registry);
void addDream(MethodRegistry& registry);

}  // namespace decoscope
