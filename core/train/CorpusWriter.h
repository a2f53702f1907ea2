// Writes corpora: a JSON object a line, as CorpusLines.h reads them,
//   {"index":N,"kind":"story","user":"…","assistant":"…"}
// with `"finished":false` where the answer was cut at its length, and, where features were kept,
//   "ids":[every token of the chat], "start":index of the first answer token, "row":its first row in
//   FILE.features
// FILE.features holds rows of little-endian bfloat16, one for each id: the model's final state after the
// norm. FILE.origin.json says what the corpus was made from.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/train/CorpusLines.h"

namespace decoscope {

// One line, without its end; with why the text was left out, where it was.
std::string corpusLine(const CorpusLine& text, const std::string& reason = {});

// What a corpus was made from. Two parts of one corpus agree in all of it.
struct CorpusOrigin {
  std::string recipe, recipeFingerprint;
  std::string model, modelFingerprint, dtype;
  std::uint64_t seed = 0;
  int width = 0;  // of a row of features; 0: none are kept
};

std::string featuresPath(const std::string& corpusPath);

// Appends whole lines. Not for two writers of one file.
class CorpusWriter {
 public:
  // Opens `path`, which must not exist unless `resume` is set: then the file, if there is one, is cut behind
  // its last whole line, its features behind the last row of that, `seen` is called for each text in it, and
  // the new texts follow. Errors: usage where the file exists (without resume) or has another origin;
  // badInput for damaged lines and for features that end too early; failed where nothing can be written.
  static Result<CorpusWriter> open(const std::string& path, const CorpusOrigin& origin, bool resume,
                                   const std::function<void(const CorpusLine&)>& seen);

  // Sets the row of `text` and writes it, its features first: [ids, width]. Error failed (disk full).
  Status append(CorpusLine& text, const std::vector<std::uint16_t>& features);
  // The index of the last text, or −1.
  std::int64_t lastIndex() const { return lastIndex_; }

 private:
  std::string path_;
  CorpusOrigin origin_;
  std::ofstream lines_, features_;
  std::int64_t lastIndex_ = -1, rows_ = 0;
};

// Where a text falls in [0, 1), by a hash of what it says alone: those below a fraction are held out,
// whatever the size of the corpus.
double splitPosition(const CorpusLine& text);

}  // namespace decoscope
