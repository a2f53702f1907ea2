// A tokenizer.json from anywhere: reading it, encoding and decoding must end in results or errors.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/tokenizer/Tokenizer.h"

namespace {

constexpr std::string_view kTexts[] = {"",
                                       " ",
                                       "Hello  world",
                                       "<s>a</s> [MASK]\n\tx's 12",
                                       "e\u0301ﬁ½日本\u200d😀",
                                       std::string_view("\0\xFF\xC3(", 4),
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = decoscope::readTokenizer(json, "fuzz");
  if (!tokenizer) return 0;
  for (const std::string_view text : kTexts) {
    const auto ids = (*tokenizer)->encode(text, {.addSpecial = true, .parseSpecial = true});
    if (!ids) continue;
    for (const auto id : *ids)
      if (id < 0 || id >= (*tokenizer)->size()) std::abort();
    const std::string whole = (*tokenizer)->decode(*ids);
    if (decoscope::validUtf8(whole) != whole) std::abort();
    (void)(*tokenizer)->decodeContinuation(*ids, true);
  }
  return 0;
}
