// Rows of tokens for training: which texts a step sees is a function of the step alone.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/model/weights/MappedFile.h"
#include "core/tokenizer/Tokenizer.h"
#include "core/train/Recipe.h"

namespace decoscope::train {

// A text as token ids: prompt and answer, rendered by the tokenizer's own chat template.
struct TrainingText {
  std::vector<TokenId> tokens;
  std::int32_t answer = 0;       // index of the first token of the answer
  std::int64_t featureRow = -1;  // first row in the file of features
  std::int64_t bytes = 0;        // of the words of prompt and answer
};

// What one micro-batch is made of, on the device that Rows::Source names. Rows are [rows, length] and hold
// one token more than they predict.
struct Batch {
  at::Tensor tokens;    // int64
  at::Tensor answer;    // bool: the token belongs to an answer (its end token included) or fills up the row
  at::Tensor text;      // bool: the token belongs to the text (false: fills up the row)
  at::Tensor features;  // a draft head's: f32 [rows, length, width], zero where the text has ended
};

// Texts of a corpus file, kept in the host's memory as tokens. Thread-safe once made.
class Rows {
 public:
  struct Source {
    std::string file;              // JSONL (see CorpusLines.h)
    std::int64_t texts = 0;        // at most so many; fewer are an error only if there are none
    std::int64_t skip = 0;         // the first of those, left out
    double heldOut = 0.01;         // share that is kept for evaluation, by splitPosition()
    bool features = false;         // FILE.features is read beside it
    std::int64_t width = 0;        // of the features
    at::Device device = at::kCPU;  // where batches are handed over
  };
  // Errors: notFound, badInput with file and line; usage for a tokenizer without a chat template or end
  // token.
  static Result<Rows> read(const Source& source, const Tokenizer& tokenizer, Packing packing,
                           std::int64_t length, std::uint64_t seed);

  std::int64_t texts() const { return static_cast<std::int64_t>(training_.size()); }
  std::int64_t tokens() const { return trainingTokens_; }

  // Rows [first, first + count) of the endless sequence of rows. The first pass takes the texts in the order
  // of the file, each further one in an order drawn from the seed.
  Batch batch(std::int64_t first, std::int64_t count) const;
  // Visits the held-out texts as rows of at most `length` tokens, `count` at a time.
  void forHeldOut(std::int64_t count,
                  const std::function<void(const Batch&, std::span<const TrainingText>)>& visit) const;
  TokenId endToken() const { return end_; }
  // How often each token stands in the answers of the texts that are trained on; index = id.
  std::vector<std::int64_t> answerCounts(std::int64_t vocabulary) const;

 private:
  Batch make(const std::vector<const TrainingText*>& texts) const;
  Batch moved(Batch batch) const;  // to the device
  std::int64_t rowsInPass() const;
  // Of pass and place: which row of the pass comes there.
  std::int64_t shuffled(std::int64_t pass, std::int64_t place) const;

  Packing packing_ = Packing::stream;
  std::int64_t length_ = 0, trainingTokens_ = 0;
  std::uint64_t seed_ = 0;
  TokenId end_ = 0;
  at::Device device_ = at::kCPU;
  std::vector<TrainingText> training_, heldOut_;
  // stream: all texts one after the other, and which of the tokens belong to answers.
  std::vector<TokenId> stream_;
  std::vector<bool> streamAnswers_;
  std::shared_ptr<const MappedFile> features_;
  std::int64_t width_ = 0;
  mutable std::int64_t orderPass_ = -1;
  mutable std::vector<std::int32_t> order_;
};

}  // namespace decoscope::train
