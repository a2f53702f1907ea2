#include "core/train/CorpusMaker.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <fstream>
#include <optional>
#include <set>

#include "core/tokenizer/Chat.h"
#include "core/train/NearDuplicates.h"

namespace decoscope {

namespace {

// Prompts that are looked at for what they begin with.
constexpr std::int64_t kComparedPrompts = 1000;

std::string identityOf(const CorpusLine& text) {
  return text.user + '\n' + text.assistant;
}

std::string trimmed(std::string text) {
  const auto begin = text.find_first_not_of(" \n\t");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \n\t") - begin + 1);
}

// How many tokens two lists have in common at their beginning.
std::size_t agreement(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + count, b.begin()).first - a.begin());
}

// Whether a text has come to the end of a sentence: with a full stop, or the quotation mark behind one, and
// every quotation mark that was opened closed.
bool endsSentence(std::string_view text) {
  if (text.empty() || std::count(text.begin(), text.end(), '"') % 2 != 0) return false;
  if (text.back() == '"') text.remove_suffix(1);
  return !text.empty() && std::string_view(".!?").find(text.back()) != std::string_view::npos;
}

class Maker {
 public:
  Maker(Model& model, const Tokenizer& tokenizer, const CorpusRecipe& recipe, const CorpusOptions& options,
        CorpusReport& report, const std::function<void(const CorpusReport&)>& progress)
      : model_(model),
        tokenizer_(tokenizer),
        recipe_(recipe),
        options_(options),
        report_(report),
        progress_(progress),
        duplicates_(recipe.resemblance, recipe.resemblanceWords) {}

  Status run(const StopToken& stop) {
    const auto start = std::chrono::steady_clock::now();
    if (tokenizer_.chatTemplate().empty())
      return fail(ErrorCode::badInput, "the model has no chat template to put prompts into",
                  model_.info().name, "Use a model that was tuned to follow instructions.");
    const CorpusOrigin origin{recipe_.name,
                              recipe_.fingerprint,
                              model_.info().name,
                              model_.info().fingerprint,
                              model_.info().dtype,
                              recipe_.seed,
                              options_.features ? model_.info().width : 0};
    DECOSCOPE_ASSIGN(writer_,
                     CorpusWriter::open(options_.out, origin, options_.resume, [&](const CorpusLine& text) {
                       duplicates_.add(identityOf(text), text.assistant);
                       ++report_.present;
                     }));
    report_.asked = options_.texts;
    const std::int64_t end = report_.endIndex = options_.first + options_.texts;
    next_ = emitted_ = report_.nextIndex = std::clamp(writer_->lastIndex() + 1, options_.first, end);
    GeneratorOptions generator;
    generator.lanes = options_.batch;
    generator.seed = recipe_.seed;
    generator.stops = tokenizer_.stopTokens();
    generator.features = options_.features;
    generator.endsPart = [this](const GenerationJob& job, std::span<const TokenId> part) {
      const std::string text = tokenizer_.decodeContinuation(part);
      return job.byLine ? text.ends_with('\n') : endsSentence(text);
    };
    DECOSCOPE_ASSIGN(generator.prefixes, commonPrefixes());
    DECOSCOPE_ASSIGN(BatchedGenerator generation, BatchedGenerator::create(model_, std::move(generator)));
    const auto update = [&] {
      report_.counts = generation.counts();
      report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const Status status = generation.run(
        [&]() -> Result<std::optional<GenerationJob>> {
          if (next_ >= end) return std::nullopt;
          DECOSCOPE_ASSIGN(Prompt prompt, recipe_.grammar.expand(recipe_.seed, next_));
          DECOSCOPE_ASSIGN(GenerationJob job, jobOf(prompt, next_));
          waiting_.push_back({std::move(prompt), std::nullopt});
          ++next_;
          return job;
        },
        [&](GeneratedText text) -> Status {
          waiting_[static_cast<std::size_t>(text.index - emitted_)].text = std::move(text);
          DECOSCOPE_TRY(emit());
          update();
          progress_(report_);
          return {};
        },
        stop);
    update();
    return status;
  }

 private:
  struct Waiting {
    Prompt prompt;
    std::optional<GeneratedText> text;
  };

  // The chat up to the answer: system turn, examples, prompt.
  Result<std::string> render(const CorpusKind& kind, int variant, const std::string& user) const {
    Chat chat;
    const auto add = [&](const char* role, const std::string& content) {
      chat.messages.push_back({role, content, jinja::Value::dict({{"role", role}, {"content", content}})});
    };
    if (!kind.system.empty()) add("system", kind.system);
    if (!kind.examples.empty())
      for (const ExampleTurn& example : kind.examples[static_cast<std::size_t>(variant)]) {
        add("user", example.user);
        add("assistant", example.assistant);
      }
    add("user", user);
    return renderChat(tokenizer_, chat);
  }
  Result<std::vector<TokenId>> encode(const std::string& chat) const {
    return tokenizer_.encode(chat, {false, true});
  }

  // What all prompts of a kind with the same examples begin with: as far as none at all and one of them
  // agree.
  Result<std::vector<TokenId>> commonPrefix(const CorpusKind& kind, const Prompt& prompt) const {
    DECOSCOPE_ASSIGN(const std::string empty, render(kind, prompt.variant, ""));
    DECOSCOPE_ASSIGN(const std::string full, render(kind, prompt.variant, prompt.text));
    DECOSCOPE_ASSIGN(std::vector<TokenId> tokens, encode(empty));
    DECOSCOPE_ASSIGN(const std::vector<TokenId> other, encode(full));
    tokens.resize(agreement(tokens, other));
    return tokens;
  }

  // Those of the first prompts; kinds that are too rare to be among them go without.
  Result<std::vector<std::vector<TokenId>>> commonPrefixes() const {
    std::set<std::pair<std::size_t, int>> seen;
    std::set<std::vector<TokenId>> prefixes;
    for (std::int64_t index = 0; index < kComparedPrompts; ++index) {
      DECOSCOPE_ASSIGN(const Prompt prompt, recipe_.grammar.expand(recipe_.seed, index));
      if (!seen.emplace(prompt.kind, prompt.variant).second) continue;
      DECOSCOPE_ASSIGN(std::vector<TokenId> prefix, commonPrefix(recipe_.kinds[prompt.kind], prompt));
      prefixes.insert(std::move(prefix));
    }
    return std::vector<std::vector<TokenId>>(prefixes.begin(), prefixes.end());
  }

  Result<GenerationJob> jobOf(const Prompt& prompt, std::int64_t index) const {
    const CorpusKind& kind = recipe_.kinds[prompt.kind];
    const GenerationSettings& settings = kind.generation;
    GenerationJob job;
    job.index = index;
    DECOSCOPE_ASSIGN(const std::string chat, render(kind, prompt.variant, prompt.text));
    DECOSCOPE_ASSIGN(job.prompt, encode(chat));
    job.start = job.prompt.size();
    job.partTokens = settings.partTokens;
    job.byLine = settings.byLine;
    job.outlined = !prompt.outline.empty();
    for (std::size_t i = 0; i < prompt.outline.size(); ++i) {
      if (i == 0) {
        DECOSCOPE_ASSIGN(std::vector<TokenId> opened, encode(chat + prompt.outline[i]));
        job.start = agreement(job.prompt, opened);
        job.prompt = std::move(opened);
      } else {
        DECOSCOPE_ASSIGN(std::vector<TokenId> continuation,
                         encode((job.byLine ? "" : " ") + prompt.outline[i]));
        job.continuations.push_back(std::move(continuation));
      }
    }
    job.temperature = prompt.share < recipe_.greedyShare ? 0 : settings.temperature;
    job.topP = settings.topP;
    job.topK = settings.topK;
    job.maxTokens = settings.maxTokens;
    return job;
  }

  // Judges and writes what is complete at the front.
  Status emit() {
    for (; !waiting_.empty() && waiting_.front().text; waiting_.pop_front()) {
      DECOSCOPE_TRY(judge(waiting_.front().prompt, *waiting_.front().text));
      report_.nextIndex = ++emitted_;
    }
    return {};
  }

  Status judge(const Prompt& prompt, const GeneratedText& generated) {
    CorpusLine text;
    text.index = generated.index;
    text.kind = recipe_.grammar.kinds()[prompt.kind].name;
    text.user = prompt.text;
    text.assistant = answerOf(generated);
    text.finished = generated.finished;
    auto& [kept, done] = report_.kinds[text.kind];
    ++done, ++report_.done;
    auto reason = objection(recipe_.kinds[prompt.kind].filter, prompt, text.assistant, text.finished);
    if (!reason) {
      const auto finding = duplicates_.look(identityOf(text), text.assistant);
      if (finding == NearDuplicates::Finding::exact) reason = "duplicate";
      if (finding == NearDuplicates::Finding::near) reason = "near duplicate";
    }
    if (reason) {
      ++report_.rejected[*reason];
      return reject(text, *reason);
    }
    duplicates_.add(identityOf(text), text.assistant);
    if (options_.features) {
      text.tokens = generated.tokens;
      text.answer = static_cast<std::int32_t>(generated.start);
    }
    DECOSCOPE_TRY(writer_->append(text, generated.features));
    ++kept, ++report_.kept;
    return {};
  }

  Status reject(const CorpusLine& text, const std::string& reason) {
    if (options_.rejects.empty()) return {};
    if (!rejects_.is_open()) rejects_.open(options_.rejects, std::ios::binary | std::ios::app);
    rejects_ << corpusLine(text, reason) << '\n' << std::flush;
    if (rejects_) return {};
    return fail(ErrorCode::failed, "the file cannot be written", options_.rejects);
  }

  std::string answerOf(const GeneratedText& generated) const {
    const std::span<const TokenId> tokens(generated.tokens);
    std::string answer = tokenizer_.decodeContinuation(tokens.subspan(generated.start), true);
    for (const auto& [from, to] : recipe_.replacements)
      for (std::size_t at = answer.find(from); at != std::string::npos;
           at = answer.find(from, at + to.size()))
        answer.replace(at, from.size(), to);
    return trimmed(std::move(answer));
  }

  Model& model_;
  const Tokenizer& tokenizer_;
  const CorpusRecipe& recipe_;
  const CorpusOptions& options_;
  CorpusReport& report_;
  const std::function<void(const CorpusReport&)>& progress_;
  NearDuplicates duplicates_;
  std::optional<CorpusWriter> writer_;
  std::ofstream rejects_;
  std::deque<Waiting> waiting_;  // texts from index emitted_ on
  std::int64_t next_ = 0, emitted_ = 0;
};

}  // namespace

Status makeCorpus(Model& model, const Tokenizer& tokenizer, const CorpusRecipe& recipe,
                  const CorpusOptions& options, const StopToken& stop, CorpusReport& report,
                  const std::function<void(const CorpusReport&)>& progress) {
  return Maker(model, tokenizer, recipe, options, report, progress).run(stop);
}

}  // namespace decoscope
