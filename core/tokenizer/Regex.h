// Regular expressions of tokenizer files. The engine is Oniguruma with its default (Ruby) syntax, which is
// what Hugging Face's tokenizers uses, so every construct in a file means here what it meant to its author.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

// A stretch [begin, end) of a text, and whether it belongs to a match. Bytes.
struct Stretch {
  std::size_t begin = 0, end = 0;
  bool match = false;
};

// Immutable; safe to share between threads.
class Regex {
 public:
  // `where` names the file in errors. Errors: a pattern that does not compile, or of more than 64 KiB.
  static Result<std::shared_ptr<const Regex>> compile(std::string_view pattern, const std::string& where);
  // A pattern that matches exactly this text.
  static Result<std::shared_ptr<const Regex>> literal(std::string_view text, const std::string& where);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Cuts well-formed UTF-8 into matches and what lies between them, in order, empty matches included (but
  // none that directly follows a match). Errors: a pattern that needs more work than is allowed.
  Status stretches(std::string_view text, std::vector<Stretch>& out) const;

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace decoscope
