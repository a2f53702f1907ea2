// A transformer that can learn: the forward of an architecture's description as differentiable libtorch
// operations. Inference has its own (core/model/torch); tests hold the two against each other.
//
// Descriptions with experts, sinks, learned positions, GGUF's row order or fused tensors are refused by name.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/model/torch/Architecture.h"
#include "core/model/weights/WeightFile.h"
#include "core/train/nets/ParameterSet.h"

namespace decoscope::train {

// What one forward is asked for.
struct NetRequest {
  at::Tensor tokens;                         // [rows, length] int64
  at::Tensor features;                       // a draft head's: [rows, length, width]; undefined otherwise
  std::vector<int> exits;                    // after how many blocks the state is wanted, ascending
  double layerDrop = 0;                      // of the last block; see Net::states
  std::optional<at::Generator> generator;    // for layer drop
  at::ScalarType precision = at::kBFloat16;  // of products; sums, norms and the stream stay f32
};

// One thread. Weights are made and loaded on the CPU and may be moved before the first forward; what a
// forward is given must be where they are.
class Net final : public ParameterSet {
 public:
  // Weights drawn by `seed`: normal with deviation 0.02, products that end a branch divided by √(2 · blocks)
  // (Radford et al. 2019), norms at one.
  static Result<Net> create(const Architecture& architecture, std::uint64_t seed);

  const Architecture& architecture() const { return architecture_; }
  // What a draft head borrows of its target: embedding [vocabulary, width] and the rows of the LM head that
  // it ranks [ranked, width], both f32 and where the weights are; `distances` is what the checkpoint says of
  // the ranked tokens (token − index).
  void borrow(at::Tensor embedding, at::Tensor head, std::vector<std::int64_t> distances);
  std::map<std::string, std::vector<std::int64_t>> constants() const override;

  // The final-normed states [rows · length, width], f32, one per exit; a draft head's are its estimates of
  // features, and it needs what borrow() gives. Layer drop (Elhoushi et al. 2024,
  // "LayerSkip", §3.1): in each row of the batch, block l of L is left out with probability
  // layerDrop · (2^(l / (L−1)) − 1), so the first block always stays and the last one goes most often.
  std::vector<at::Tensor> states(const NetRequest& request);
  // Logits [n, vocabulary] of states; f32.
  at::Tensor logits(const at::Tensor& states, at::ScalarType precision = at::kBFloat16) const;

 private:
  explicit Net(Architecture architecture) : architecture_(std::move(architecture)) {}
  const TransformerConfig& config() const { return architecture_.config; }
  at::Tensor weight(const std::string& pattern, int layer = -1) const;
  at::Tensor entry(const NetRequest& request) const;
  at::Tensor linear(const at::Tensor& x, const std::string& pattern, int layer,
                    at::ScalarType precision) const;
  at::Tensor norm(const at::Tensor& x, const std::string& pattern, int layer, NormKind kind) const;
  at::Tensor attention(const at::Tensor& x, int layer, const NetRequest& request, std::int64_t rows,
                       std::int64_t length);
  at::Tensor mlp(const at::Tensor& x, int layer, at::ScalarType precision) const;
  at::Tensor rotated(const at::Tensor& x) const;
  void prepare(std::int64_t length, at::ScalarType precision);

  Architecture architecture_;
  at::Tensor borrowedEmbedding_, borrowedHead_;
  std::vector<std::int64_t> rankedDistances_;
  // For the length of the batch under way.
  at::Tensor cosine_, sine_, mask_, windowMask_;
};

// The net of a model's folder with its weights, which take no gradients. Errors: as openWeights(),
// architectureOf() and load() have them.
Result<Net> frozenNet(const std::string& folder);

// states() behind the last block alone. `features` stand beside the tokens of a draft head, whose states are
// its guesses of the next ones; other nets get none.
at::Tensor lastStates(Net& net, const at::Tensor& tokens, const at::Tensor& features,
                      at::ScalarType precision);

}  // namespace decoscope::train
