// SpecDec++'s acceptance head (Huang et al. 2024, arXiv 2405.19715): from a drafter's final state at a token,
// the probability that the target accepts it. num_blocks residual blocks h ← h + SiLU(W h + b), then a linear
// layer to two classes, 0 = reject and 1 = accept. A folder: config.json
// {"model_type":"specdec-pp","hidden_size":d,"num_blocks":3, "shared_blocks":false} and model.safetensors
// with blocks.N.weight [d, d], blocks.N.bias [d], classifier.weight [2, d], classifier.bias [2]; shared
// blocks are all blocks.0, as in the released checkpoint.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "core/model/Model.h"

namespace decoscope {

inline constexpr const char* kAcceptanceArchitecture = "specdec-pp";

struct AcceptanceShape {
  int width = 0, blocks = 0;
  bool shared = false;  // one block, gone through `blocks` times

  int stored() const { return shared ? std::min(1, blocks) : blocks; }  // blocks in the file
};
// Of a config.json's text. Errors name the field after `where`.
Result<AcceptanceShape> acceptanceShape(const std::string& config, const std::string& where);

// Whether the folder's configuration calls itself one.
bool isAcceptanceHead(const std::string& path);
Result<ModelInfo> describeAcceptanceHead(const std::string& path);
// A model without a cache: forwards need `inputs` [tokens, width] and give two logits a row. f32 on the CPU.
Result<std::unique_ptr<Model>> loadAcceptanceHead(const std::string& path);

}  // namespace decoscope
