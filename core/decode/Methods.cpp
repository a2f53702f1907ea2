#include "core/decode/Methods.h"

namespace decoscope {

const MethodRegistry& MethodRegistry::instance() {
  static const MethodRegistry registry = [] {
    MethodRegistry methods;
    addSampling(methods);
    addChain(methods);
    addPromptLookup(methods);
    addSelfDraft(methods);
    addTokenRecycling(methods);
    addSpecInfer(methods);
    addEagle(methods);
    addSpecDecPlusPlus(methods);
    addLlada(methods);
    addDream(methods);
    return methods;
  }();
  return registry;
}

}  // namespace decoscope
