// A chat template: Jinja2 as Hugging Face's transformers compiles it (ImmutableSandboxedEnvironment with
// trim_blocks, lstrip_blocks, loop controls and generation blocks). Checked against Jinja2 3.1.6.
//
// Not offered, and refused by name: include, import, extends, autoescape; the filters random and urlize; the
// global lipsum; integers beyond 64 bits; slices in several dimensions; lone surrogates.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/jinja/Value.h"

namespace decoscope::jinja {

// A template comes from whoever made the model, so it is bounded in everything.
struct RenderLimits {
  std::uint64_t steps = 200'000'000;           // evaluated nodes, items gone through, 128 bytes copied each
  std::int64_t memoryBytes = 1'000'000'000;    // held in values at a time
  std::size_t outputBytes = 64 * 1024 * 1024;  // of the rendered text, and of any single text or list
};

struct RenderOptions {
  std::optional<std::tm> now;  // what strftime_now formats; the local time if absent
  RenderLimits limits;
};

using Variables = std::vector<std::pair<std::string, Value>>;

struct Program;

// Immutable once made; may be rendered by any number of threads at a time.
class Template {
 public:
  // Errors: badInput for what Jinja2 would not compile either, unsupported for what is refused; `where` is
  // "chat template, line N".
  static Result<Template> compile(std::string_view source);

  // Errors as above, found while rendering. Where the template calls raise_exception, the message is its
  // words.
  Result<std::string> render(const Variables& variables, const RenderOptions& options = {}) const;

 private:
  std::shared_ptr<const Program> program_;
};

}  // namespace decoscope::jinja
