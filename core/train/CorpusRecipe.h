// What a corpus is made from: a JSON file of templates, word lists, sampling and filters (docs/corpora.md has
// the format).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/Status.h"
#include "core/train/CorpusFilter.h"
#include "core/train/PromptGrammar.h"

namespace decoscope {

// How the tokens of a text are chosen. Order: temperature, top-k, softmax, top-p.
struct GenerationSettings {
  double temperature = 0.7;  // 0: greedy
  double topP = 1;           // 1: off
  int topK = 40;             // 1 … 1000
  int maxTokens = 200;       // that are generated, the end token included
  int partTokens = 0;        // that are generated in a part of an outlined answer; 0: no bound of its own
  bool byLine = false;       // the parts of an outlined answer are lines, not sentences
};

// Turns that stand before a prompt and show the model what an answer looks like; no part of the corpus.
struct ExampleTurn {
  std::string user, assistant;
};

struct CorpusKind {
  GenerationSettings generation;
  FilterSettings filter;
  std::string system;  // the system turn; empty: what the chat template puts there itself
  std::vector<std::vector<ExampleTurn>> examples;  // one set is chosen (Prompt::variant); empty: none
};

struct CorpusRecipe {
  std::string name;
  std::uint64_t seed = 0;
  double greedyShare = 0;     // of the texts, at temperature 0
  double resemblance = 0;     // near-duplicates: Jaccard index from which a text is left out; 0: off
  int resemblanceWords = 20;  // texts shorter than that are compared exactly only
  std::vector<std::pair<std::string, std::string>> replacements;  // in the answers, before the filter
  std::vector<CorpusKind> kinds;                                  // as in the grammar
  PromptGrammar grammar;
  std::string fingerprint;  // of the file's bytes
};

// Errors: badInput, with the field, for what is malformed, unknown or out of range. `where` names the file.
Result<CorpusRecipe> parseCorpusRecipe(std::string_view json, const std::string& where);
// Reads a file of at most 8 MiB. Error notFound where there is none.
Result<CorpusRecipe> readCorpusRecipe(const std::string& path);

}  // namespace decoscope
