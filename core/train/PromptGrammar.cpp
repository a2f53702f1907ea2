#include "core/train/PromptGrammar.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "core/base/Rng.h"
#include "core/train/Expression.h"
#include "core/train/PromptTemplate.h"

namespace decoscope {

namespace {

// Apart from the streams of other draws of the same seed.
constexpr std::uint32_t kGrammarStream = 1;
constexpr std::size_t kDeepestList = 16;

using Item = std::map<std::string, TemplateParts, std::less<>>;
using Lists = std::map<std::string, std::vector<Item>, std::less<>>;

struct Form {
  TemplateParts text;
  std::vector<TemplateParts> outline, required;
};
struct Kind {
  std::vector<Form> prompts;
  std::vector<TemplateParts> required;
  TemplateParts eachLine;
};

char lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}
char upper(char c) {
  return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
}

tl::unexpected<Error> wrong(std::string what, std::string place) {
  return fail(ErrorCode::badInput, std::move(what), std::move(place));
}

// Gives every reference the name that it has in the grammar, and sees that there is one.
class Binder {
 public:
  Binder(const Lists& lists, const PromptKind* kind) : lists_(lists), kind_(kind) {}

  Status bind(TemplateParts& parts, std::set<std::string>& used, const std::string& place) const {
    for (TemplatePart& part : parts) {
      for (TemplateParts& alternative : part.alternatives) DECOSCOPE_TRY(bind(alternative, used, place));
      if (part.sort == TemplatePart::Sort::expression && !kind_)
        return wrong("a list knows no numbers: {=" + part.text + "}", place);
      if (part.sort == TemplatePart::Sort::reference) DECOSCOPE_TRY(bind(part, used, place));
    }
    return {};
  }

 private:
  Status bind(TemplatePart& part, std::set<std::string>& used, const std::string& place) const {
    if (isNumber(part.text)) return {};
    auto list = lists_.find(part.text);
    if (list == lists_.end() && std::isupper(static_cast<unsigned char>(part.text.front())) != 0) {
      part.text.front() = lower(part.text.front());
      part.capital = true;
      if (isNumber(part.text)) return {};
      list = lists_.find(part.text);
    }
    if (list == lists_.end()) return wrong("there is no list or number '" + part.text + "'", place);
    if (static_cast<std::size_t>(part.which) > list->second.size())
      return wrong("the list '" + part.text + "' has fewer than " + std::to_string(part.which) + " items",
                   place);
    for (const Item& item : list->second)
      if (!item.contains(part.field))
        return wrong("an item of the list '" + part.text + "' has no field '" + part.field + "'", place);
    used.insert(part.text);
    return {};
  }
  bool isNumber(const std::string& name) const {
    return kind_ && std::any_of(kind_->numbers.begin(), kind_->numbers.end(),
                                [&](const NumberRange& range) { return range.name == name; });
  }

  const Lists& lists_;
  const PromptKind* kind_;
};

// One prompt being made: what was chosen so far.
class Expansion {
 public:
  Expansion(const Lists& lists, std::uint64_t seed, std::int64_t index)
      : lists_(lists), context_{seed, kGrammarStream, index} {}

  double draw() { return uniform(context_, draws_++, DrawPurpose::order); }
  std::size_t choose(std::size_t count) {
    return std::min(count - 1, static_cast<std::size_t>(draw() * static_cast<double>(count)));
  }

  Status drawNumbers(const PromptKind& kind) {
    for (const NumberRange& range : kind.numbers) {
      DECOSCOPE_ASSIGN(const std::int64_t low, evaluate(range.low, numbers));
      DECOSCOPE_ASSIGN(const std::int64_t high, evaluate(range.high, numbers));
      if (low > high)
        return wrong("the number '" + range.name + "' has no values from " + std::to_string(low) + " to " +
                         std::to_string(high),
                     "kind '" + kind.name + "'");
      numbers[range.name] = low + static_cast<std::int64_t>(choose(static_cast<std::size_t>(high - low + 1)));
    }
    return {};
  }

  Result<std::string> text(const TemplateParts& parts) {
    std::string result;
    for (const TemplatePart& part : parts) {
      if (part.sort == TemplatePart::Sort::literal) {
        result += part.text;
      } else if (part.sort == TemplatePart::Sort::expression) {
        DECOSCOPE_ASSIGN(const std::int64_t value, evaluate(part.text, numbers));
        result += std::to_string(value);
      } else if (part.sort == TemplatePart::Sort::alternatives) {
        DECOSCOPE_ASSIGN(const std::string chosen, text(part.alternatives[choose(part.alternatives.size())]));
        result += chosen;
      } else {
        DECOSCOPE_ASSIGN(const std::string referred, reference(part));
        result += referred;
      }
    }
    return result;
  }

  Numbers numbers;

 private:
  Result<std::string> reference(const TemplatePart& part) {
    std::string word;
    if (const auto number = numbers.find(part.text); number != numbers.end()) {
      word = std::to_string(number->second);
    } else {
      DECOSCOPE_ASSIGN(word, item(part));
    }
    if (part.article && !word.empty()) {
      const bool vowel = std::string_view("aeiou").find(lower(word.front())) != std::string_view::npos;
      word = (vowel ? "an " : "a ") + word;
    }
    if (part.capital && !word.empty()) word.front() = upper(word.front());
    return word;
  }

  Result<std::string> item(const TemplatePart& part) {
    const auto& items = lists_.find(part.text)->second;
    std::vector<std::size_t>& chosen = chosen_[part.text];
    while (chosen.size() < static_cast<std::size_t>(part.which)) {
      // The n-th of those that are not chosen yet.
      std::size_t pick = choose(items.size() - chosen.size());
      std::vector<std::size_t> taken = chosen;
      std::sort(taken.begin(), taken.end());
      for (const std::size_t other : taken) pick += other <= pick ? 1 : 0;
      chosen.push_back(pick);
    }
    const std::size_t which = chosen[static_cast<std::size_t>(part.which) - 1];
    const std::string key = part.text + ' ' + std::to_string(which) + '.' + part.field;
    if (const auto made = made_.find(key); made != made_.end()) return made->second;
    DECOSCOPE_ASSIGN(std::string made, text(items[which].find(part.field)->second));
    made_[key] = made;
    return made;
  }

  const Lists& lists_;
  DrawContext context_;
  NodeId draws_ = 0;
  std::map<std::string, std::vector<std::size_t>> chosen_;  // items by list, in the order of `which`
  std::map<std::string, std::string> made_;                 // their texts
};

// Whether a list leads back to itself.
Status findCircle(const std::string& list, const std::map<std::string, std::set<std::string>>& uses,
                  std::set<std::string>& open, std::set<std::string>& done, const std::string& where) {
  if (done.contains(list)) return {};
  if (!open.insert(list).second) return wrong("the list '" + list + "' refers to itself", where);
  if (open.size() - done.size() > kDeepestList) return wrong("lists refer to each other too deep", where);
  for (const std::string& other : uses.at(list)) DECOSCOPE_TRY(findCircle(other, uses, open, done, where));
  done.insert(list);
  return {};
}

Status bindAll(const Binder& binder, const std::vector<std::string>& texts, const std::string& place,
               std::vector<TemplateParts>& out) {
  std::set<std::string> used;
  for (const std::string& text : texts) {
    DECOSCOPE_ASSIGN(TemplateParts parts, parseTemplate(text));
    DECOSCOPE_TRY(binder.bind(parts, used, place + ", template '" + text + "'"));
    out.push_back(std::move(parts));
  }
  return {};
}

}  // namespace

struct PromptGrammar::Compiled {
  std::vector<PromptKind> data;
  Lists lists;
  std::vector<Kind> kinds;
  double weights = 0;
  std::string where;
};

Result<PromptGrammar> PromptGrammar::create(GrammarData data, const std::string& where) {
  auto compiled = std::make_shared<Compiled>();
  compiled->where = where;
  for (const auto& [name, items] : data.lists) {
    if (items.empty()) return wrong("the list '" + name + "' is empty", where);
    for (const ListItem& item : items) {
      Item parts;
      for (const auto& [field, text] : item) {
        DECOSCOPE_ASSIGN(parts[field], parseTemplate(text));
      }
      compiled->lists[name].push_back(std::move(parts));
    }
  }
  std::map<std::string, std::set<std::string>> uses;
  for (auto& [name, items] : compiled->lists) {
    uses[name];
    for (Item& item : items)
      for (auto& [field, parts] : item)
        DECOSCOPE_TRY(
            Binder(compiled->lists, nullptr).bind(parts, uses[name], where + ", list '" + name + "'"));
  }
  std::set<std::string> open, done;
  for (const auto& [name, others] : uses) DECOSCOPE_TRY(findCircle(name, uses, open, done, where));
  for (const PromptKind& kind : data.kinds) {
    const std::string place = where + ", kind '" + kind.name + "'";
    if (!(kind.weight > 0) || kind.weight > 1e9) return wrong("a kind's weight must be above 0", place);
    if (kind.prompts.empty()) return wrong("a kind needs at least one prompt", place);
    compiled->weights += kind.weight;
    if (kind.variants < 1) return wrong("a kind has at least one variant", place);
    const Binder binder(compiled->lists, &kind);
    Kind made;
    DECOSCOPE_TRY(bindAll(binder, kind.required, place, made.required));
    std::vector<TemplateParts> eachLine;
    DECOSCOPE_TRY(bindAll(binder, {kind.eachLine}, place, eachLine));
    made.eachLine = std::move(eachLine.front());
    for (const PromptForm& form : kind.prompts) {
      std::vector<TemplateParts> text;
      DECOSCOPE_TRY(bindAll(binder, {form.text}, place, text));
      made.prompts.push_back({std::move(text.front()), {}, {}});
      DECOSCOPE_TRY(bindAll(binder, form.outline, place, made.prompts.back().outline));
      DECOSCOPE_TRY(bindAll(binder, form.required, place, made.prompts.back().required));
    }
    compiled->kinds.push_back(std::move(made));
  }
  if (compiled->kinds.empty()) return wrong("a grammar needs at least one kind", where);
  compiled->data = std::move(data.kinds);
  return PromptGrammar(std::move(compiled));
}

const std::vector<PromptKind>& PromptGrammar::kinds() const {
  return compiled_->data;
}

Result<Prompt> PromptGrammar::expand(std::uint64_t seed, std::int64_t index) const {
  Expansion expansion(compiled_->lists, seed, index);
  Prompt prompt;
  prompt.share = expansion.draw();
  double left = expansion.draw() * compiled_->weights;
  while (prompt.kind + 1 < compiled_->data.size() && left >= compiled_->data[prompt.kind].weight)
    left -= compiled_->data[prompt.kind++].weight;
  const PromptKind& data = compiled_->data[prompt.kind];
  const Kind& kind = compiled_->kinds[prompt.kind];
  DECOSCOPE_TRY(expansion.drawNumbers(data));
  prompt.variant = static_cast<int>(expansion.choose(static_cast<std::size_t>(data.variants)));
  const Form& form = kind.prompts[expansion.choose(kind.prompts.size())];
  DECOSCOPE_ASSIGN(prompt.text, expansion.text(form.text));
  for (const TemplateParts& parts : form.outline) {
    DECOSCOPE_ASSIGN(std::string opening, expansion.text(parts));
    prompt.outline.push_back(std::move(opening));
  }
  for (const auto* all : {&kind.required, &form.required})
    for (const TemplateParts& parts : *all) {
      DECOSCOPE_ASSIGN(std::string required, expansion.text(parts));
      prompt.required.push_back(std::move(required));
    }
  DECOSCOPE_ASSIGN(prompt.eachLine, expansion.text(kind.eachLine));
  if (!data.answer.empty()) {
    DECOSCOPE_ASSIGN(prompt.answer, evaluate(data.answer, expansion.numbers));
  }
  return prompt;
}

}  // namespace decoscope
