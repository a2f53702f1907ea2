// The loaded pieces of a transformer. Internal to the libtorch backend.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/model/torch/Architecture.h"
#include "core/model/torch/GroupedWeights.h"
#include "core/model/torch/Rotary.h"
#include "core/model/torch/kernels/PackedMatrix.h"

namespace decoscope {

// y = x · weightᵀ + bias. On the CPU packed for the kernels; elsewhere a tensor [outputs, inputs], or codes
// in groups where the weights are kept quantised.
struct Linear {
  kernels::PackedMatrix packed;
  GroupedWeights grouped;
  at::Tensor weight, bias;
  std::int64_t outputs = 0, inputs = 0;
  std::int64_t bytes() const;
};

struct Norm {
  NormKind kind = NormKind::rootMeanSquare;
  float epsilon = 0;
  at::Tensor weight, bias;  // f32; a weight may be undefined for NormKind::layer, a bias for either
  bool present = false;
};

struct Experts {
  Linear router;                // always f32: a choice must not depend on the precision more than it has to
  std::vector<Linear> in, out;  // by expert; `in`: gate rows, then up rows
  Linear sharedIn, sharedOut, sharedSwitch;
  std::int64_t inner = 0, sharedInner = 0;
};

struct Block {
  Norm attentionNorm, postAttentionNorm, mlpNorm, postMlpNorm, queryNorm, keyNorm;
  Linear queryKeyValue, attentionOutput, mlpIn, mlpOut;  // `mlpIn`: gate rows, then up rows
  std::optional<Experts> experts;
  at::Tensor sinks;  // [heads] f32
};

// Of one block.
struct KeyValueCache {
  at::Tensor keys, values;  // [capacity, key/value heads × head size] f32
};

// Cosines and sines by position, grown as positions come.
class RotaryTable {
 public:
  struct Values {
    at::Tensor cosine, sine;  // [positions, dimensions / 2] f32
  };
  explicit RotaryTable(RopeConfig rope) : rope_(std::move(rope)) {}
  // Makes positions 0 … length − 1 ready for a context of `regimeLength` tokens. True where the values are
  // others than before, and elsewhere.
  bool prepare(std::int64_t length, std::int64_t regimeLength);
  const RopeConfig& rope() const { return rope_; }
  // Valid until prepare() says true.
  const Values& on(at::Device device);

 private:
  RopeConfig rope_;
  std::int64_t regime_ = -1, length_ = 0;
  std::vector<std::pair<at::Device, Values>> values_;
};

// Nothing in it changes once it is loaded.
struct Transformer {
  TransformerConfig config;
  at::Tensor positions;  // learned, [context, width] f32; beside the embedding
  std::vector<Block> blocks;
  Norm finalNorm;
  std::shared_ptr<const Linear> head;
  bool headIsLent = false;      // by the model that a draft head was made for, which counts its bytes
  Linear fuse;                  // of draft heads: [width, 2 · width]
  std::vector<TokenId> ranked;  // what the rows of the head stand for; empty: every token
  at::Tensor embedding;         // where rows are not read from the file: [vocabulary, width]
  std::int64_t bytes() const;
};

}  // namespace decoscope
