// The texts of a corpus, one after another: JSONL, one line a text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"

namespace decoscope {

// {"index":N,"kind":"story","user":"…","assistant":"…"}; other members are not read.
struct CorpusLine {
  std::int64_t index = 0;
  std::string kind, user, assistant;  // well-formed UTF-8
  bool finished = true;               // false: the answer was cut at its length
  // Where the generating model's states were kept: its tokens, where its answer begins, and its first row in
  // the file of features; otherwise empty and −1.
  std::vector<TokenId> tokens;
  std::int32_t answer = 0;
  std::int64_t featureRow = -1;
};

// `where` names file and line in errors. Errors: badInput for what is no JSON object of at most 16 levels, or
// lacks "user" or "assistant".
Result<CorpusLine> readCorpusLine(std::string_view line, const std::string& where);

// Calls visit for every line in order, holding one at a time; empty lines are passed over. Ends with the
// first error, that of visit included. Errors: notFound, badInput (also for a line beyond 16 MiB).
Status readCorpusLines(const std::string& file, const std::function<Status(const CorpusLine&)>& visit);

}  // namespace decoscope
