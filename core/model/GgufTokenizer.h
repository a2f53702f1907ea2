// The tokenizer that a GGUF file carries in its metadata. Tensors are not needed.
#pragma once

#include <memory>
#include <string>

#include "core/model/weights/WeightFile.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

// Kinds, with llama.cpp's defaults where the file says nothing: gpt2 (byte-level BPE, cut by any
// pre-tokenizer of core/tokenizer/Patterns.cpp), gemma4, llama (SentencePiece BPE), t5 (unigram), bert
// (WordPiece). Others are refused by name.
Result<std::shared_ptr<const Tokenizer>> tokenizerFromGguf(const WeightFile& file);
// The kind that its description() begins with, by tokenizer.ggml.model and .pre; "" for other models.
std::string ggufTokenizerKind(const std::string& model, const std::string& pre);

}  // namespace decoscope
