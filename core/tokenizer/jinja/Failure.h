// How the interpreter's own functions fail: by a C++ exception that never leaves core/tokenizer/jinja;
// Template turns it into an Error. And the two budgets that every loop over template data draws on.
#pragma once

#include <cstdint>
#include <string>

namespace decoscope::jinja {

enum class FailureKind {
  error,        // what Python or Jinja2 would raise
  raised,       // raise_exception: the words are the template's own
  unsupported,  // valid Jinja2 that is deliberately not offered
  limit,        // a bound of RenderLimits was reached
};

struct Failure {
  FailureKind kind = FailureKind::error;
  std::string message;
  int line = 0;  // 0: not known yet; whoever knows fills it in
};

[[noreturn]] void throwFailure(std::string message, FailureKind kind = FailureKind::error, int line = 0);

// Counts work against the limit of the render that runs on this thread (nothing outside of one), and looks at
// the memory it holds.
void chargeSteps(std::uint64_t steps);
// The same for work that is proportional to a number of bytes.
inline void chargeBytes(std::uint64_t bytes) {
  chargeSteps(1 + bytes / 128);
}
// The same for a search, which at worst compares the text wanted at every place.
inline void chargeSearch(std::uint64_t text, std::uint64_t wanted) {
  chargeSteps(1 + (text / 128 + 1) * (1 + wanted / 64));
}
// Fails if a text or list of that many bytes must not be made.
void checkSize(std::uint64_t bytes);

// Counts levels of recursion on this thread while it lives.
class DepthGuard {
 public:
  DepthGuard();
  ~DepthGuard();
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
};

}  // namespace decoscope::jinja
