// The tokenizer that a GGUF file carries in its metadata. Tensors are not needed.
#pragma once

#include <memory>

#include "core/model/weights/WeightFile.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

// Kinds: gpt2 (byte-level BPE) with the pre-tokenizers default, gpt-2, smollm, llama-bpe, qwen2. Others are
// refused by name.
Result<std::shared_ptr<const Tokenizer>> tokenizerFromGguf(const WeightFile& file);

}  // namespace decoscope
