// Any bytes as a chat template, rendered over a chat that has everything: it ends, within its bounds, and
// neither crashes nor leaks. A template that renders does so twice with the same text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/tokenizer/jinja/Json.h"
#include "core/tokenizer/jinja/Template.h"

using namespace decoscope;
using namespace decoscope::jinja;

namespace {

const Variables& context() {
  static const Variables variables = [] {
    const auto parsed = parseJson(
        R"({"a":1,"b":2.5,"s":"Hello World","u":"élan ǅ ß 😀","l":[3,1,2],"d":{"x":1,"y":[1,2],"items":"I"},"n":null,
            "t":true,"f":false,"e":[],"m":[1,"x",null,2.5,[1]],"h":"<a href='x'>&\"</a>",
            "messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},
              {"role":"assistant","content":"","tool_calls":[{"id":"abc123XYZ","function":{"name":"f","arguments":{"q":1}}}]},
              {"role":"tool","content":"42"},{"role":"user","content":[{"type":"text","text":"And?"}]}],
            "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":
              {"q":{"type":"integer"}},"required":["q"]}}}],
            "documents":[{"title":"T","text":"One."}],"add_generation_prompt":true,"bos_token":"<s>","eos_token":"</s>"})",
        "context");
    Variables result;
    for (const auto& [name, value] : parsed->entries().items) result.emplace_back(name.bytes(), value);
    // What every render shares is made by the first one.
    (void)Template::compile("")->render(result);
    return result;
  }();
  return variables;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto compiled = Template::compile({reinterpret_cast<const char*>(data), size});
  if (!compiled) return 0;
  RenderOptions options;
  options.now.emplace();
  options.limits = {.steps = 200'000, .memoryBytes = 20'000'000, .outputBytes = 1'000'000};
  const Variables& variables = context();
  const std::int64_t before = Object::liveBytes();
  const auto first = compiled->render(variables, options), second = compiled->render(variables, options);
  if (Object::liveBytes() != before) std::abort();
  if (first.has_value() != second.has_value() || (first && *first != *second)) std::abort();
  return 0;
}
