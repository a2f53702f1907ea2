// Makes a corpus: prompts from a recipe's grammar, answers from a model, filter, de-duplication, file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/base/Status.h"
#include "core/model/Model.h"
#include "core/tokenizer/Tokenizer.h"
#include "core/train/BatchedGenerator.h"
#include "core/train/CorpusRecipe.h"
#include "core/train/CorpusWriter.h"

namespace decoscope {

struct CorpusOptions {
  std::string out;         // FILE.jsonl
  std::string rejects;     // a file for what is left out, with its "reason"; empty: none. Appended to
  std::int64_t first = 0;  // index of the first prompt
  std::int64_t texts = 1;  // how many prompts; those whose answers are left out count
  int batch = 64;          // texts side by side
  bool features = false, resume = false;
};

struct CorpusReport {
  std::int64_t asked = 0;                        // prompts in the range
  std::int64_t present = 0;                      // texts that the file held already
  std::int64_t done = 0;                         // prompts answered and judged in this call
  std::int64_t kept = 0;                         // of those
  std::int64_t nextIndex = 0;                    // of the first prompt that is not judged yet
  std::int64_t endIndex = 0;                     // behind the last prompt
  std::map<std::string, std::int64_t> rejected;  // by reason
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> kinds;  // by kind: kept, done
  GeneratorCounts counts;
  double seconds = 0;
};

// Texts are written in the order of their indices, so that de-duplication, and with it the file, does not
// depend on the number of lanes. `progress` is called between forwards, on the calling thread. What was
// written stays when the function fails or is stopped; `report` is filled in any case.
// Errors: those of CorpusWriter::open and BatchedGenerator::run; badInput for a model without chat template.
Status makeCorpus(Model& model, const Tokenizer& tokenizer, const CorpusRecipe& recipe,
                  const CorpusOptions& options, const StopToken& stop, CorpusReport& report,
                  const std::function<void(const CorpusReport&)>& progress);

}  // namespace decoscope
