// What texts cost under a model: the yardstick that n-gram models and nets are compared by.
//
// A text is one exchange, rendered by the tokenizer's chat template without a generation prompt: for the Wren
// family <|user|>, what the user says, <|end|>, <|wren|>, what the model says, <|end|>. Of its tokens t_0 …
// t_n−1 all but the first are counted, those of the prompt and the special ones included, each given all
// before it:
//   bits = Σ_(i ≥ 1) −log2 p(t_i | t_0 … t_i−1);
//   bits per byte = Σ bits of the texts ÷ Σ UTF-8 bytes of what user and assistant say (the template's own
//   characters and the special tokens are no bytes of the text, yet their tokens cost bits);
//   perplexity = 2^(Σ bits ÷ Σ counted tokens).
// The same for every kind of model, so that figures can be divided by one another.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/base/Stop.h"
#include "core/model/Model.h"
#include "core/tokenizer/Tokenizer.h"
#include "core/train/CorpusLines.h"
#include "core/train/KneserNey.h"

namespace decoscope {

struct ScoredText {
  std::vector<TokenId> tokens;
  std::size_t from = 1;    // the first token that counts; at least 1
  std::int64_t bytes = 0;  // of what user and assistant say
};

// [{"role":"user",…}] as run requests take it; with the answer, where one is given.
std::string chatJson(const std::string& user, const std::string* assistant = nullptr);
// Errors: those of the chat template and of encoding; badInput where nothing is left to count.
Result<ScoredText> scoredText(const Tokenizer& tokenizer, const CorpusLine& line);
// Every text of a file, or the first `limit` (0: all). Errors also: those of readCorpusLines(), badInput for
// a file without texts.
Result<std::vector<ScoredText>> scoredTexts(const Tokenizer& tokenizer, const std::string& file,
                                            std::int64_t limit = 0);

struct TextCost {
  double bits = 0;
  std::int64_t texts = 0, tokens = 0, bytes = 0;  // tokens: those that counted

  double bitsPerByte() const { return bytes > 0 ? bits / static_cast<double>(bytes) : 0; }
  double perplexity() const;
};

// Of a next-token model, text by text from an empty cache, which is empty again afterwards. Errors: badInput
// (a text longer than the context, an id outside the vocabulary), unsupported (a model without next-token
// logits), failed (a token without a finite probability), cancelled.
Result<TextCost> costOf(Model& model, std::span<const ScoredText> texts, const StopToken& stop,
                        const ProgressFunction& progress = {});
Result<TextCost> costOf(const KneserNey& model, std::span<const ScoredText> texts);

// The n-gram model of a corpus, or of its first `limit` texts (0: all), in a tokenizer's tokens. Texts that
// are also among `heldOut` are not counted, so that a corpus may be given whole. Errors: those of
// readCorpusLines() and KneserNeyTrainer.
Result<KneserNey> countCorpus(const Tokenizer& tokenizer, const std::string& corpusFile, int order,
                              std::span<const ScoredText> heldOut, std::int64_t limit, const StopToken& stop);

}  // namespace decoscope
