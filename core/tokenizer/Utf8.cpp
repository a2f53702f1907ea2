#include "core/base/Utf8.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

namespace {
constexpr const char* kReplacement = "\xEF\xBF\xBD";
}

std::string validUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = utf8Step(bytes);
    if (step.valid)
      out += bytes.substr(0, step.length);
    else
      out += kReplacement;
    bytes.remove_prefix(step.length);
  }
  return out;
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = utf8Step(rest);
    if (step.incomplete) break;
    if (step.valid)
      out += rest.substr(0, step.length);
    else
      out += kReplacement;
    rest.remove_prefix(step.length);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Stream::finish() {
  std::string out = validUtf8(pending_);
  pending_.clear();
  return out;
}

const std::string& Tokenizer::toolChatTemplate() const {
  static const std::string none;
  return none;
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, bool skipSpecial) const {
  return decodeContinuation(tokens, skipSpecial);
}

std::string Tokenizer::decodeContinuation(std::span<const TokenId> tokens, bool skipSpecial) const {
  std::string bytes;
  for (const TokenId token : tokens)
    if (!skipSpecial || !isSpecial(token)) bytes += bytesOf(token);
  return validUtf8(bytes);
}

}  // namespace decoscope
