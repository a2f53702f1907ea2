// Error values. Nothing in Decoscope throws across a module or a thread: a function that can fail returns
// `Status` or `Result<T>`, and an adapter that calls a throwing library catches at the call.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace decoscope {

// What kind of failure it is; the command line maps each to its exit code.
enum class ErrorCode {
  usage,        // an unknown method, parameter or option, a value out of range        (exit 2)
  badInput,     // a file, model, prompt or session that cannot be used               (exit 3)
  notFound,     // the named thing does not exist                                     (exit 3)
  unsupported,  // well-formed, but not something this build can do                   (exit 3)
  failed,       // the run itself failed: non-finite logits, disk full, device lost   (exit 4)
  cancelled,    // the user asked to stop                                             (exit 130)
  checkFailed,  // a verification did not hold                                        (exit 1)
};

// The stable lower-case name of a code, as it stands in the error object of `--json`.
const char* errorCodeName(ErrorCode code);

// One failure, for people: what went wrong, where (file, field, byte offset), and what would help.
struct Error {
  ErrorCode code = ErrorCode::failed;
  std::string message;
  std::string where;  // empty when there is no place to name
  std::string hint;   // empty when nothing is known to help

  // The one-line form: "message (where). hint".
  std::string text() const;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = tl::expected<void, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message, std::string where = {},
                                  std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(where), std::move(hint)});
}

}  // namespace decoscope

// Leaves the enclosing function with the error of `expression` (a Status or Result) if it has one.
#define DECOSCOPE_TRY(expression)                                                     \
  do {                                                                                \
    if (auto decoscopeStatus_ = (expression); !decoscopeStatus_)                      \
      return tl::unexpected<::decoscope::Error>(std::move(decoscopeStatus_.error())); \
  } while (false)

#define DECOSCOPE_CONCAT_(a, b) a##b
#define DECOSCOPE_CONCAT(a, b) DECOSCOPE_CONCAT_(a, b)
#define DECOSCOPE_ASSIGN_(name, target, expression)                              \
  auto name = (expression);                                                      \
  if (!name) return tl::unexpected<::decoscope::Error>(std::move(name.error())); \
  target = std::move(*name)
// Evaluates a Result; assigns its value to `target` (a declaration will do) or leaves with its error.
#define DECOSCOPE_ASSIGN(target, expression) \
  DECOSCOPE_ASSIGN_(DECOSCOPE_CONCAT(decoscopeResult_, __LINE__), target, expression)
