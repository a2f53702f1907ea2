// Prompts from a seeded grammar: templates, word lists and small numbers, all of it data. No words of any
// language stand in code.
//
// In templates (prompts, list items, required texts) braces stand for a choice:
//   {animal}        an item of the list "animal", the same wherever it stands in one prompt
//   {animal 2}      another item of it
//   {fact.answer}   a field of an item that has several
//   {a animal}      with its article; {A animal} and {Animal} begin with a capital
//   {this|that}     one of the alternatives, which may hold braces themselves
//   {n}             a number of the kind; {=2*n+1} a sum of them (Expression.h)
//   {<} and {>}     a brace
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

// By field; an item that is a plain text has the field "text" only, and that is what {list} means.
using ListItem = std::map<std::string, std::string, std::less<>>;

struct NumberRange {
  std::string name;
  std::string low, high;  // expressions over the numbers before it, both included
};

// One way to put a prompt.
struct PromptForm {
  std::string text;  // template
  // Templates of what the answer's parts begin with. The model goes on from each to the end of the sentence
  // (or line: GenerationSettings); then the next one follows. Empty: the answer is the model's alone.
  std::vector<std::string> outline;
  std::vector<std::string> required;  // templates; what the answer must contain, "|" between equivalents
};

struct PromptKind {
  std::string name;  // "story"
  double weight = 1;
  std::vector<PromptForm> prompts;  // one is chosen, all alike
  std::vector<NumberRange> numbers;
  std::string answer;                 // expression: what the text must come to; empty: nothing to check
  std::vector<std::string> required;  // as in PromptForm, for all prompts of the kind
  std::string eachLine;  // template; every line of an answer must contain one of these; empty: any
  int variants = 1;      // what Prompt::variant is drawn from
};

struct GrammarData {
  std::map<std::string, std::vector<ListItem>, std::less<>> lists;
  std::vector<PromptKind> kinds;
};

struct Prompt {
  std::size_t kind = 0;  // index into the grammar's kinds
  std::string text;
  std::vector<std::string> outline, required;
  std::string eachLine;
  std::optional<std::int64_t> answer;
  int variant = 0;   // uniform in [0, the kind's variants)
  double share = 0;  // one more draw of this prompt, uniform in [0, 1), for whoever divides prompts further
};

// Immutable; any number of threads may expand.
class PromptGrammar {
 public:
  // Errors: badInput, naming the template, for a reference to what does not exist, lists that refer to each
  // other in a circle, braces that do not match, kinds without weight or prompts. `where` names the source.
  static Result<PromptGrammar> create(GrammarData data, const std::string& where);

  // The prompt of an index: a function of (grammar, seed, index) alone. Error: badInput where the numbers of
  // a kind cannot be evaluated.
  Result<Prompt> expand(std::uint64_t seed, std::int64_t index) const;
  const std::vector<PromptKind>& kinds() const;

 private:
  struct Compiled;
  explicit PromptGrammar(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace decoscope
