#include "core/tokenizer/jinja/Template.h"

#include <new>

#include "core/base/Utf8.h"
#include "core/tokenizer/jinja/Binder.h"
#include "core/tokenizer/jinja/Budget.h"
#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Interpreter.h"
#include "core/tokenizer/jinja/Parser.h"

namespace decoscope::jinja {

namespace {

// Real templates have a few thousand bytes; the largest known ones some tens of thousands.
constexpr std::size_t kLargestTemplate = 1024 * 1024;

tl::unexpected<Error> errorOf(const Failure& failure, int line) {
  const int at = failure.line ? failure.line : line;
  const std::string where = at > 0 ? "chat template, line " + std::to_string(at) : "chat template";
  switch (failure.kind) {
    case FailureKind::unsupported:
      return fail(ErrorCode::unsupported, failure.message + " (not supported in chat templates)", where);
    case FailureKind::limit:
      return fail(ErrorCode::badInput, failure.message, where,
                  "The limits guard against templates that never end.");
    default:
      return fail(ErrorCode::badInput, failure.message, where);
  }
}

bool isWellFormed(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8Step(text);
    if (!step.valid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

}  // namespace

Result<Template> Template::compile(std::string_view source) {
  if (source.size() > kLargestTemplate)
    return fail(ErrorCode::badInput, "the template has more than 1 MiB", "chat template");
  if (!isWellFormed(source)) return fail(ErrorCode::badInput, "the template is not UTF-8", "chat template");
  try {
    auto program = std::make_shared<Program>(parse(source));
    bind(*program);
    Template result;
    result.program_ = std::move(program);
    return result;
  } catch (const Failure& failure) {
    return errorOf(failure, 0);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::failed, "there is not enough memory for the template", "chat template");
  }
}

Result<std::string> Template::render(const Variables& variables, const RenderOptions& options) const {
  const Budget budget(options.limits);
  Interpreter interpreter(*program_, options);
  try {
    return interpreter.render(variables);
  } catch (const Failure& failure) {
    return errorOf(failure, interpreter.line());
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::failed, "there is not enough memory to render the chat", "chat template");
  }
}

}  // namespace decoscope::jinja
