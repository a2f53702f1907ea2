// What kind of tokenizer a folder has, without building it: for lists of models.
#pragma once

#include <string>

namespace decoscope {

// The kind that loadTokenizer(folder)->description() begins with: "BPE (byte-level)". Reads no further than
// it has to, and never more than the first few megabytes; "" where that does not tell, or there is none.
// Thread-safe.
std::string tokenizerKind(const std::string& folder);

}  // namespace decoscope
