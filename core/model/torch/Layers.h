// The loaded pieces of a transformer. Internal to the libtorch backend.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <vector>

#include "core/model/torch/Architecture.h"
#include "core/model/torch/Rotary.h"
#include "core/model/torch/kernels/PackedMatrix.h"

namespace decoscope {

// y = x · weightᵀ + bias. On the CPU packed for the kernels, elsewhere a tensor [outputs, inputs].
struct Linear {
  kernels::PackedMatrix packed;
  at::Tensor weight, bias;
  std::int64_t outputs = 0, inputs = 0;
  std::int64_t bytes() const {
    return static_cast<std::int64_t>(packed.bytes()) +
           (weight.defined() ? static_cast<std::int64_t>(weight.nbytes()) : 0);
  }
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
  explicit RotaryTable(RopeConfig rope) : rope_(std::move(rope)) {}
  // Makes positions 0 … length − 1 ready for a context of `regimeLength` tokens.
  void prepare(std::int64_t length, std::int64_t regimeLength, at::Device device);
  const RopeConfig& rope() const { return rope_; }
  const at::Tensor& cosine() const { return cosine_; }  // [positions, dimensions / 2] f32
  const at::Tensor& sine() const { return sine_; }

 private:
  RopeConfig rope_;
  std::int64_t regime_ = -1, length_ = 0;
  at::Tensor cosine_, sine_;
};

// Nothing in it changes once it is loaded.
struct Transformer {
  TransformerConfig config;
  at::Tensor positions;  // learned, [context, width] f32
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
