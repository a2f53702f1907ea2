// Many texts side by side from one model: each has a lane in one cache (ForwardRequest::follows), and when a
// text ends the next prompt takes its lane at once. What all prompts begin with is cached once.
//
// A text is a function of (model, its job, seed) alone, whatever the number of lanes and its neighbours,
// where the model's rows do not depend on each other (CPU kernels). Continuous batching after G. Yu et al.,
// "Orca: a distributed serving system for transformer-based generative models" (OSDI 2022).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"
#include "core/model/Model.h"

namespace decoscope {

struct GenerationJob {
  std::int64_t index = 0;       // keys the draws; ascending order is not needed
  std::vector<TokenId> prompt;  // the whole prompt, what is shared included; not empty
  std::size_t start = 0;        // where the answer begins, in `prompt` if that opens it; 0: behind it
  // What else is put into the answer: each when the model has ended a part (a sentence, a line), and the text
  // ends with the part after the last. Stop tokens are not chosen then. Needs GeneratorOptions::endsPart.
  bool outlined = false, byLine = false;
  std::vector<std::vector<TokenId>> continuations;
  double temperature = 0;  // 0: greedy
  double topP = 1;
  int topK = 40;
  int partTokens = 0;  // that are generated in one part of an outlined answer; 0: as many as maxTokens
  int maxTokens = 1;   // that are generated, the end token included
};

struct GeneratedText {
  std::int64_t index = 0;
  std::vector<TokenId> tokens;  // prompt and answer, the end token included where there is one
  std::size_t start = 0;        // of the answer in `tokens`
  bool finished = false;        // ended by a stop token, or with its outline
  // With features: the final state (after the norm) at each of the tokens, as bfloat16. [tokens, width]
  std::vector<std::uint16_t> features;
};

struct GeneratorOptions {
  int lanes = 64;          // texts side by side
  int promptTokens = 128;  // most prompt tokens that one forward takes in
  std::uint64_t seed = 0;
  std::vector<TokenId> stops;  // what ends a text
  // What prompts begin with, each cached once; a prompt shares as much as agrees with one of them.
  std::vector<std::vector<TokenId>> prefixes;
  bool features = false;  // needs hidden states
  // Whether a part of a text (what was put in, then what was generated) is whole.
  std::function<bool(const GenerationJob& job, std::span<const TokenId> part)> endsPart;
};

struct GeneratorCounts {
  std::int64_t forwards = 0, promptTokens = 0, answerTokens = 0;
  double forwardSeconds = 0, samplingSeconds = 0;
};

// One thread. The model's cache is the generator's alone while run() is under way, and empty after it.
class BatchedGenerator {
 public:
  // The next job, or nothing when there is none left.
  using Source = std::function<Result<std::optional<GenerationJob>>()>;
  // Takes texts in the order in which they end.
  using Sink = std::function<Status(GeneratedText)>;

  // `model` outlives the generator. Errors: usage for options out of range, unsupported where the model
  // cannot do it.
  static Result<BatchedGenerator> create(Model& model, GeneratorOptions options);

  // Runs all jobs. Errors: those of the model, the source and the sink; badInput for a job that does not fit
  // into the model's context; cancelled within one forward of a stop request (texts under way are dropped).
  Status run(const Source& source, const Sink& sink, const StopToken& stop);

  const GeneratorCounts& counts() const { return counts_; }

 private:
  struct Lane {
    GenerationJob job;
    GeneratedText text;
    std::size_t given = 0;               // tokens of the prompt
    std::size_t part = 0;                // where the part of an outlined text begins
    std::size_t next = 0;                // the continuation that comes next
    int written = 0, writtenInPart = 0;  // tokens generated
    std::size_t fed = 0;                 // tokens of the text that are cached or in the forward under way
    std::int32_t last = -1;              // the slot of the last cached one
    bool ending = false;                 // only the state at the last token is wanted
  };
  BatchedGenerator(Model& model, GeneratorOptions options);
  Status cachePrefixes(const StopToken& stop);
  Status fillLanes(const Source& source);
  Status begin(Lane& lane, GenerationJob job);
  Status advance(const Sink& sink, const StopToken& stop);
  Status take(Lane& lane, const RowSummary& row);
  bool isStop(TokenId token) const;
  static bool full(const Lane& lane);
  TokenId choose(const Lane& lane, const RowSummary& row) const;
  void keepFeatures(Lane& lane, const TapValue& tap, std::size_t row, std::size_t count) const;
  Status dropDead();
  std::size_t width() const { return static_cast<std::size_t>(model_->info().width); }

  Model* model_;
  GeneratorOptions options_;
  GeneratorCounts counts_;
  std::vector<std::optional<Lane>> lanes_;
  std::vector<std::int32_t> owners_;           // of each slot: a lane, kShared or kDead
  std::vector<std::int32_t> prefixSlots_;      // the first slot of each prefix
  std::vector<std::uint16_t> prefixFeatures_;  // by slot; [prefixes' tokens, width]
  std::size_t shared_ = 0;                     // slots of all prefixes, the first ones
  std::int64_t dead_ = 0;
  bool exhausted_ = false;
};

}  // namespace decoscope
