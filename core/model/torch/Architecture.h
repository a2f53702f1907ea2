// What sets one family of transformers apart, as data: sizes, traits, tensor names. The forward is shared; a
// new family is one file in families/ and one line in Families.cpp, not new forward code.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"
#include "core/model/Model.h"
#include "core/model/torch/kernels/Activation.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

// Stretched rotary embeddings; the rules are in Rotary.cpp.
struct RopeScaling {
  enum class Kind { none, linear, dynamic, llama3, yarn, longrope } kind = Kind::none;
  double factor = 1;
  double originalContext = 0;                              // of the pre-training
  double lowFrequencyFactor = 1, highFrequencyFactor = 4;  // llama3
  double betaFast = 32, betaSlow = 1;                      // yarn
  bool truncate = true;                                    // yarn: whole dimensions as bounds
  double attentionFactor = 0;                              // on cosine and sine; 0: by the rule of the kind
  std::vector<float> shortFactors, longFactors;            // longrope, llama3 of GGUF (as shortFactors)
  bool operator==(const RopeScaling&) const = default;
};

struct RopeConfig {
  double theta = 10000;
  int dimensions = 0;  // of each head, from its front; even
  RopeScaling scaling;
  bool operator==(const RopeConfig&) const = default;
};

enum class NormKind { rootMeanSquare, layer };

// Norms of queries and keys, before the rotation.
enum class HeadNorm {
  none,
  perHead,     // each head by one weight [head size]
  perHeadOwn,  // each head by its own weight: [heads, head size], or a tensor a head ("{h}" in the name)
  whole        // all heads together by one weight [heads × head size]
};

// How one tensor holds queries, keys and values.
enum class FusedOrder {
  separate,  // three tensors
  parts,     // all queries, all keys, all values
  groups     // for each key/value head: its queries, its key, its value
};

enum class ExpertLayout {
  separate,            // a tensor an expert ("{e}" in the name), [outputs, inputs]
  stacked,             // [experts, outputs, inputs]
  stackedTogether,     // the same, gate and up in one tensor: [experts, gate rows then up rows, inputs]
  stackedTransposed,   // [experts, inputs, outputs]; gate and up alternate in one tensor (GPT-OSS)
  stackedMicroscaling  // GPT-OSS as published: 4-bit blocks [experts, outputs, inputs / 32, 16] and scales
};

struct MixtureConfig {
  int experts = 0, perToken = 0, inner = 0;
  bool normalise = true;         // the weights of the chosen experts sum to one
  bool softmaxOfChosen = false;  // softmax over the chosen logits instead of over all
  int sharedInner = 0;           // an expert that every token passes; 0: none
  bool sharedGated = false;      // its output is scaled by a sigmoid gate
  ExpertLayout layout = ExpertLayout::separate;
  std::vector<bool> sparse;  // by layer: whether it has experts; empty: everywhere
  bool operator==(const MixtureConfig&) const = default;
};

struct TransformerConfig {
  std::string architecture;  // "llama", "qwen3", "llada", …
  int layers = 0, width = 0, heads = 0, keyValueHeads = 0, headSize = 0, inner = 0, vocabulary = 0,
      context = 0;
  bool tied = false;       // the LM head is the embedding
  bool diffusion = false;  // masked diffusion: full visibility
  TokenId maskToken = -1;
  bool shifted = false;  // of a diffusion model: as in ModelInfo
  // A draft head: its input is fused from the embedding of a token and the feature of the one before it. It
  // borrows embedding and LM head, its output passes no final norm, and a block's first norm may be absent.
  bool followsFeatures = false;
  int rankedTokens = 0;  // of a reduced LM head; 0: the whole vocabulary

  NormKind norm = NormKind::rootMeanSquare;
  float normEpsilon = 1e-5f;
  bool normWeightsLessOne = false;  // files hold weight − 1 (Gemma's checkpoints)
  bool normsWithoutWeights = false;
  bool normBeforeAttention = true, normBeforeMlp = true;
  bool normAfterAttention = false, normAfterMlp = false;  // of the branch, before it is added
  bool parallelResidual = false;                          // attention and MLP read the same stream
  bool sharedInputNorm = false;                           // and the same norm of it

  HeadNorm headNorm = HeadNorm::none;
  NormKind headNormKind = NormKind::rootMeanSquare;
  float clip = 0;                        // bound of queries, keys and values; 0: none
  float attentionScale = 0;              // 0: 1 / sqrt(head size)
  float attentionCap = 0, logitCap = 0;  // cap · tanh(x / cap); 0: none
  bool sinks = false;                    // a learned logit a head that takes probability and gives nothing

  bool learnedPositions = false;
  RopeConfig rope;
  bool localRope = false;  // sliding layers rotate by `slidingRope`
  RopeConfig slidingRope;
  std::vector<bool> rotary;    // by layer: whether positions are rotated in; empty: everywhere
  int window = 0;              // sliding attention sees so many positions, its own included; 0: none
  std::vector<bool> windowed;  // by layer: whether the window holds there; empty: everywhere

  Activation activation = Activation::silu;
  bool gated = true;  // two products into the MLP, one activated, multiplied
  MixtureConfig mixture;

  float embeddingScale = 1, residualScale = 1, logitScale = 1;

  // How the file holds it.
  FusedOrder fused = FusedOrder::separate;
  bool fusedGateUp = false;        // one tensor: gate rows, then up rows
  bool transposed = false;         // [inputs, outputs] (GPT-2's Conv1D)
  bool rotaryInterleaved = false;  // GGUF stores the q and k rows of some families so

  bool rotates(int layer) const {
    return !learnedPositions && (rotary.empty() || rotary[static_cast<std::size_t>(layer)]);
  }
  bool slides(int layer) const {
    return window > 0 && (windowed.empty() || windowed[static_cast<std::size_t>(layer)]);
  }
  bool sparse(int layer) const {
    return mixture.experts > 0 && (mixture.sparse.empty() || mixture.sparse[static_cast<std::size_t>(layer)]);
  }
  float scale() const;
  bool operator==(const TransformerConfig&) const = default;
};

// Tensor names; "{}" stands for the block's number, "{e}" for an expert's, "{h}" for a head's. Empty where
// the family has none. A bias has its weight's name with "weight" replaced; it is used where the file has it.
struct TensorNames {
  std::string embedding, positions, finalNorm, head;
  std::string attentionNorm, postAttentionNorm, mlpNorm, postMlpNorm;
  std::string query, key, value, queryKeyValue, output, queryNorm, keyNorm, sinks;
  std::string gate, up, down, gateUp;
  std::string router, expertGate, expertUp, expertDown, expertGateUp;
  std::string sharedGate, sharedUp, sharedDown, sharedSwitch;
  std::string fuse, ranked;  // of draft heads
  bool operator==(const TensorNames&) const = default;
};

struct Architecture {
  TransformerConfig config;
  TensorNames names;
  bool operator==(const Architecture&) const = default;
};

// Reads config.json of a folder, or a GGUF's metadata. Errors name the file and field; an unknown
// architecture is refused with the list of what is supported.
Result<Architecture> architectureOf(const WeightFile& weights, const std::string& path);
// The same from the text of a config.json; `where` names it in errors.
Result<Architecture> architectureFromConfig(const std::string& text, const std::string& where);
// What a file holds, with the role of each tensor.
ModelInfo describe(const Architecture& architecture, const WeightFile& weights, const std::string& path);
// Whether GGUF files of this general.architecture hold masked-diffusion models; nothing where it is not
// supported.
std::optional<bool> ggufDiffuses(const std::string& architecture);
// What model_type and general.architecture may be, for messages and listings.
std::string supportedArchitectures();

}  // namespace decoscope
