// The vocabulary of the Wren family: its special tokens, its chat template, and the files of a Hugging Face
// tokenizer that hold them.
#pragma once

#include <string>
#include <vector>

#include "core/base/Stop.h"
#include "core/train/BytePairTrainer.h"

namespace decoscope {

// Ids of the special tokens, which come first in every vocabulary of the family.
inline constexpr TokenId kEndToken = 0;   // <|end|>: ends a message, a text and a generation; also padding
inline constexpr TokenId kUserToken = 1;  // <|user|>: begins what the user says
inline constexpr TokenId kWrenToken = 2;  // <|wren|>: begins what the model says
inline constexpr TokenId kMaskToken = 3;  // <|mask|>: a position that masked diffusion has yet to fill
const std::vector<std::string>& wrenSpecialTokens();

// What the family was trained on: for each message <|user|> or <|wren|>, its content, <|end|>; the generation
// prompt is <|wren|>. Roles other than user and assistant raise an exception.
extern const char* const kWrenChatTemplate;

// Writes tokenizer.json and tokenizer_config.json, which this program, tokenizers and transformers open
// alike; makes the folder where it is missing. `vocabulary` begins with wrenSpecialTokens(). `contextLength`
// (tokens) stands as model_max_length; 0: not said. Errors: failed where a file cannot be written.
Status writeVocabulary(const BytePairVocabulary& vocabulary, int contextLength, const std::string& folder);

// Learns a vocabulary of `size` entries from what "user" and "assistant" say in every line of a corpus, and
// writes it. Errors: notFound, badInput (names file and line), and those of learn() and writeVocabulary().
Result<BytePairVocabulary> trainVocabulary(const std::string& corpusFile, int size, int contextLength,
                                           const std::string& folder, const StopToken& stop);

}  // namespace decoscope
