// `bench --suite methods`: how much faster than plain decoding methods are, on the same model in one process.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/cli/Command.h"
#include "core/session/Engine.h"

namespace decoscope::cli {

// Prompts that belong together, each the only turn of a user.
struct PromptSet {
  std::string name;
  std::vector<std::string> prompts;
};
// From a JSON list of texts, or an object whose lists are the sets (a text beside them is a remark). Error
// badInput for anything else, an empty list and an empty text.
Result<std::vector<PromptSet>> readPromptSets(const std::string& path);
// What is measured where no prompts are given.
std::vector<PromptSet> builtInPrompts();

struct MethodsSuite {
  std::vector<PromptSet> sets;
  std::vector<std::string> methods, set;  // `set`: NAME=VALUE, for the methods that have such a parameter
  std::int64_t tokens = 0, repetitions = 0;

  // The assignments that a method takes of `set`; `adaptive=true` besides, unless `set` says otherwise.
  std::vector<std::string> assignmentsOf(const MethodInfo& method) const;
  // What can be checked before a model is loaded. Error usage: an unknown or repeated method, a value out of
  // range, a parameter that none of the methods has.
  Status check() const;
};

// Runs plain sampling and each method in turn, plain once more at the end, so that every run of a method
// stands between two plain ones. Texts end where the model ends them. A ratio is a method's decode tokens a
// second by the mean of those of the plain runs around it. Document:
//   {"suite", "model", "dtype", "tokens", "sets": [{"name", "prompts": [P], "mean": M}], "mean": M}
//   P: {"prompt", "new_tokens", "plain": {"tokens_per_second", "noise"}, "methods": {NAME: {"ratio",
//       "tokens_per_second", "block_efficiency", "same_ids"}}}; each figure but the last a median with its
//       spread over the repetitions, "noise" of the ratios of one plain run to the one before it
//   M: {"noise", "methods": {NAME: {"ratio", "block_efficiency", "same_ids"}}}: means of the prompts'
//   medians;
//       "noise" is the spread of all of theirs
Result<json> benchMethods(const Context& context, const MethodsSuite& suite, Engine& engine);
void printMethods(const json& document);

}  // namespace decoscope::cli
