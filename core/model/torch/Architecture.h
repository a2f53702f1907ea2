// What sets one family of transformers apart, as data: config keys, tensor names, traits. The forward is
// shared; a new family is a description in Architecture.cpp, not new forward code.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/model/Model.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

struct RopeScaling {
  enum class Kind { none, linear, llama3 } kind = Kind::none;
  double factor = 1, lowFrequencyFactor = 1, highFrequencyFactor = 4, originalContext = 8192;
};

struct TransformerConfig {
  std::string architecture;  // "llama", "qwen3", "llada", …
  int layers = 0, width = 0, heads = 0, keyValueHeads = 0, headSize = 0, inner = 0, vocabulary = 0,
      context = 0;
  float normEpsilon = 1e-5f;
  double ropeTheta = 10000;
  RopeScaling ropeScaling;
  bool tied = false;
  bool diffusion = false;  // full visibility, unshifted logits
  TokenId maskToken = -1;
  bool queryKeyNorm = false;   // RMS norm over each head of queries and keys, before the rotation
  std::vector<bool> rotary;    // by layer: whether positions are rotated in; empty: everywhere
  int window = 0;              // sliding attention sees so many positions, its own included; 0: none
  std::vector<bool> windowed;  // by layer: whether the window holds there; empty: everywhere
  bool rotates(int layer) const { return rotary.empty() || rotary[static_cast<std::size_t>(layer)]; }
  bool slides(int layer) const {
    return window > 0 && (windowed.empty() || windowed[static_cast<std::size_t>(layer)]);
  }
  bool rotaryInterleaved = false;  // GGUF stores q and k rows of Llama in rotary-interleaved order
};

// Tensor names; "{}" stands for the block's number.
struct TensorNames {
  std::string embedding, finalNorm, head;
  std::string attentionNorm, query, key, value, output, mlpNorm, gate, up, down;
  std::string queryNorm, keyNorm;  // where the family has them
};

struct Architecture {
  TransformerConfig config;
  TensorNames names;
};

// Reads config.json of a folder, or a GGUF's metadata. Errors name the file and field; an unknown
// architecture is refused with the list of what is supported.
Result<Architecture> architectureOf(const WeightFile& weights, const std::string& path);

}  // namespace decoscope
