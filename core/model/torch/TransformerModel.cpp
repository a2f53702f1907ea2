#include "core/model/torch/TransformerModel.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/base/Bfloat16.h"
#include "core/model/CacheForest.h"
#include "core/model/torch/Architecture.h"
#include "core/model/torch/Arithmetic.h"
#include "core/model/torch/DraftHead.h"
#include "core/model/torch/Interventions.h"
#include "core/model/torch/LoadedWeights.h"
#include "core/model/torch/Memory.h"
#include "core/model/torch/RequestCheck.h"
#include "core/model/torch/TransformerLoader.h"
#include "core/model/torch/TransformerLogits.h"
#include "core/model/torch/kernels/Kernels.h"

namespace decoscope {

namespace {

using at::Tensor;

constexpr std::int64_t kFirstCapacity = 512;  // slots of a new cache

class TransformerModel final : public Model {
 public:
  TransformerModel(std::shared_ptr<const LoadedWeights> weights, ModelInfo info, const LoadPlan& plan,
                   std::unique_ptr<Arithmetic> arithmetic, std::shared_ptr<kernels::Workers> workers)
      : weights_(std::move(weights)),
        model_(weights_->transformer),
        config_(model_.config),
        info_(std::move(info)),
        base_(plan.base),
        device_(plan.device),
        precision_(plan.precision),
        arithmetic_(std::move(arithmetic)),
        workers_(std::move(workers)),
        rotary_(config_.rope),
        slidingRotary_(config_.slidingRope),
        caches_(model_.blocks.size()) {}

  const ModelInfo& info() const override { return info_; }
  Capabilities capabilities() const override {
    Capabilities can;
    can.causal = can.trees = can.earlyExit = !config_.diffusion;
    can.maskedDiffusion = config_.diffusion;
    can.followsFeatures = config_.followsFeatures;
    can.hiddenStates = can.interventions = can.weights = true;
    return can;
  }
  int cached() const override { return static_cast<int>(forest_.size()); }
  std::int64_t memoryBytes() const override {
    return info_.bytes / weights_.use_count() + 2 * capacity_ * keyWidth() * config_.layers * 4;
  }
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override;
  Status retain(int prefix, std::span<const std::int32_t> slots) override;
  Result<std::unique_ptr<Logits>> readout(std::span<const float> vectors, bool norm) override;
  Result<std::vector<float>> weights(MatrixRole role, int layer, bool columns, std::int64_t first,
                                     std::int64_t count) const override;
  const LoadedWeights* loaded() const { return weights_.get(); }

 private:
  // A forward under way.
  struct Pass {
    const ForwardRequest& request;
    const StopToken& stop;
    std::int64_t rows, base;
    std::vector<std::int32_t> positions;
    Visible visible;
    std::optional<Visible> near;  // what sliding layers see of it
    std::vector<TapValue> taps;
  };
  struct Workspace {
    std::int64_t rows = 0;
    Tensor x, normed, queryKeyValue, attended, projected, mlpIn, neurons;
    Workspace part(std::int64_t count) const;
  };

  std::int64_t keyWidth() const {
    return static_cast<std::int64_t>(config_.keyValueHeads) * config_.headSize;
  }
  std::int64_t queryWidth() const { return static_cast<std::int64_t>(config_.heads) * config_.headSize; }
  at::TensorOptions floats() const { return at::TensorOptions().dtype(at::kFloat).device(device_); }

  Status followRegime(std::int32_t lastPosition, const StopToken& stop);
  Result<ForwardOutput> run(const ForwardRequest& request, std::vector<std::int32_t> positions,
                            const StopToken& stop);
  void reserveCache(std::int64_t slots);
  void moveSlots(std::int64_t first, std::span<const std::int32_t> slots);
  void reserveWorkspace(std::int64_t rows);
  Tensor buffer(std::int64_t rows, std::int64_t width) const { return at::empty({rows, width}, floats()); }

  Status embeddingRow(std::int64_t token, std::span<float> row) const;
  Status embed(const Pass& pass, Tensor& x) const;
  Status fuse(const Pass& pass, Tensor& x) const;
  void finalNorm(const Tensor& x, Tensor& out) const;
  void attention(Pass& pass, int layer, Workspace& w);
  void mlp(Pass& pass, int layer, Workspace& w);
  void mixture(const Experts& experts, Workspace& w);
  void expert(const Linear& in, const Linear& out, const Tensor& x, Tensor& inner, Tensor& neurons,
              Tensor& result);
  void addBranch(Pass& pass, TapSite site, int layer, const Norm& norm, Tensor& branch, Tensor& x);
  void tapBranch(Pass& pass, TapSite site, int layer, const Tensor& branch) const;
  Tensor logits(const Tensor& normed);
  static bool watches(const Pass& pass, TapSite site, int layer);
  static void tap(Pass& pass, TapSite site, int layer, const Tensor& value);

  std::shared_ptr<const LoadedWeights> weights_;  // may be those of other models too
  const Transformer& model_;
  const TransformerConfig& config_;
  ModelInfo info_;
  const Model* base_;  // of a draft head: lends the embedding
  at::Device device_;
  Precision precision_;
  std::unique_ptr<Arithmetic> arithmetic_;
  std::shared_ptr<kernels::Workers> workers_;
  RotaryTable rotary_, slidingRotary_;
  CacheForest forest_;
  std::vector<KeyValueCache> caches_;  // by block
  std::int64_t capacity_ = 0, regime_ = 0;
  Workspace work_;
  Tensor logits_;
};

// ---- requests ----

// Rotations that depend on the length make what is cached stale when the length crosses a bound: it is run
// again, so that a cached forward says what an uncached one would. Of several texts the longest one decides.
Status TransformerModel::followRegime(std::int32_t lastPosition, const StopToken& stop) {
  const std::int64_t regime = rotaryRegime(config_.rope, lastPosition + 1);
  if (regime == regime_) return {};
  regime_ = regime;
  const std::int64_t cached = forest_.size();
  if (cached == 0) return {};
  const auto kept = [&](const auto& values) { return std::vector(values.begin(), values.begin() + cached); };
  ForwardRequest again;
  again.tokens = kept(forest_.tokens());
  again.parents = kept(forest_.predecessors());
  forest_.resize(0);
  const auto output = run(again, kept(forest_.positions()), stop);
  if (output) return {};
  // Some layers hold keys of the one rotation, some of the other: the next forward starts this again.
  forest_.resize(cached);
  regime_ = -1;
  return tl::unexpected(output.error());
}

Result<ForwardOutput> TransformerModel::forward(const ForwardRequest& request, const StopToken& stop) {
  DECOSCOPE_TRY(checkRequest(request, config_, forest_, info_.name));
  try {
    const c10::InferenceMode guard;
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::int32_t> positions = forest_.positionsOf(request);
    for (const std::int32_t position : positions)
      if (position < 0 || position >= config_.context)
        return fail(ErrorCode::badInput, "position " + std::to_string(position) + " is outside the context",
                    info_.name);
    std::int32_t last = *std::max_element(positions.begin(), positions.end());
    if (!request.follows.empty())
      for (const std::int32_t position : forest_.positions().first(static_cast<std::size_t>(forest_.size())))
        last = std::max(last, position);
    rotary_.prepare(last + 1, last + 1, device_);
    if (config_.localRope) slidingRotary_.prepare(last + 1, last + 1, device_);
    DECOSCOPE_TRY(followRegime(last, stop));
    DECOSCOPE_ASSIGN(ForwardOutput output, run(request, std::move(positions), stop));
    output.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return output;
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the forward failed: ") + exception.what(), info_.name,
                "If memory is short, close other programs or choose a smaller precision.");
  }
}

// ---- the forward ----

Result<ForwardOutput> TransformerModel::run(const ForwardRequest& request,
                                            std::vector<std::int32_t> positions, const StopToken& stop) {
  const auto rows = static_cast<std::int64_t>(request.tokens.size());
  const std::int64_t base = forest_.firstSlotOf(request);
  reserveCache(base + rows);
  reserveWorkspace(rows);
  arithmetic_->begin();
  forest_.enter(request, positions);
  Visible visible(request, base, forest_.predecessors());
  Pass pass{request, stop, rows, base, std::move(positions), std::move(visible), {}, {}};
  if (config_.window > 0) pass.near = pass.visible.within(config_.window, forest_.positions());
  pass.taps.resize(request.taps.size());
  Workspace w = work_.part(rows);

  DECOSCOPE_TRY(embed(pass, w.x));
  const int last = request.lastLayer > 0 ? request.lastLayer : config_.layers;
  if (request.firstLayer == 0) {
    changeResidual(request, 0, w.x);
    tap(pass, TapSite::residual, 0, w.x);
  }
  for (int layer = request.firstLayer; layer < last; ++layer) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    attention(pass, layer, w);
    const Block& block = model_.blocks[static_cast<std::size_t>(layer)];
    if (config_.parallelResidual) {
      // The MLP reads the stream as the attention found it; what the attention gave is kept aside.
      const Tensor branch = w.projected.clone();
      tapBranch(pass, TapSite::attentionOutput, layer, branch);
      mlp(pass, layer, w);
      arithmetic_->add(branch, config_.residualScale, w.x);
    } else {
      addBranch(pass, TapSite::attentionOutput, layer, block.postAttentionNorm, w.projected, w.x);
      mlp(pass, layer, w);
    }
    addBranch(pass, TapSite::mlpOutput, layer, block.postMlpNorm, w.projected, w.x);
    changeResidual(request, layer + 1, w.x);
    if (layer + 1 < config_.layers) tap(pass, TapSite::residual, layer + 1, w.x);
  }
  ForwardOutput output;
  if (last == config_.layers && watches(pass, TapSite::residual, config_.layers)) {
    finalNorm(w.x, w.normed);
    tap(pass, TapSite::residual, config_.layers, w.normed);
  }
  if (!request.logitRows.empty()) {
    const auto wanted = static_cast<std::int64_t>(request.logitRows.size());
    const std::vector<std::int64_t> indices(request.logitRows.begin(), request.logitRows.end());
    const Tensor chosen = wanted == rows ? w.x
                          : wanted == 1  ? w.x.narrow(0, indices.front(), 1)
                                         : w.x.index_select(0, at::tensor(indices).to(device_));
    Tensor normed = w.normed.narrow(0, 0, wanted);
    finalNorm(chosen, normed);
    output.logits = makeLogits(logits(normed), workers_);
  }
  if (request.visibility != Visibility::full && request.firstLayer == 0) forest_.resize(base + rows);
  output.taps = std::move(pass.taps);
  return output;
}

// A row of the embedding as it stands in the file.
Status TransformerModel::embeddingRow(std::int64_t token, std::span<float> row) const {
  DECOSCOPE_TRY(dequantise(*weights_->embedding, token * config_.width, row));
  if (precision_ == Precision::bf16)
    for (float& value : row) value = fromBfloat16(toBfloat16(value));
  return {};
}

// What enters the blocks of a draft head.
Status TransformerModel::fuse(const Pass& pass, Tensor& x) const {
  const std::int64_t width = config_.width;
  Tensor pairs = at::empty({pass.rows, 2 * width}, at::kFloat);
  float* pair = pairs.data_ptr<float>();
  const float* feature = pass.request.inputs.data();
  for (const TokenId token : pass.request.tokens) {
    DECOSCOPE_ASSIGN(const std::vector<float> row, base_->weights(MatrixRole::embedding, 0, false, token, 1));
    pair = std::copy(row.begin(), row.end(), pair);
    pair = std::copy(feature, feature + width, pair);
    feature += width;
  }
  arithmetic_->linear(model_.fuse, pairs.to(device_), x);
  return {};
}

void TransformerModel::finalNorm(const Tensor& x, Tensor& out) const {
  if (model_.finalNorm.present)
    arithmetic_->norm(model_.finalNorm, x, out);
  else
    out.copy_(x);
}

Status TransformerModel::embed(const Pass& pass, Tensor& x) const {
  const ForwardRequest& request = pass.request;
  if (config_.followsFeatures && request.firstLayer == 0) return fuse(pass, x);
  if (!request.inputs.empty()) {
    x.copy_(at::from_blob(const_cast<float*>(request.inputs.data()), {pass.rows, config_.width}, at::kFloat));
    return {};
  }
  if (!arithmetic_->packs()) {
    const Tensor ids =
        at::tensor(std::vector<std::int64_t>(request.tokens.begin(), request.tokens.end())).to(device_);
    x.copy_(at::index_select(model_.embedding, 0, ids));
  } else {
    for (std::int64_t i = 0; i < pass.rows; ++i) {
      const std::span<float> row(x.data_ptr<float>() + i * config_.width,
                                 static_cast<std::size_t>(config_.width));
      DECOSCOPE_TRY(embeddingRow(request.tokens[static_cast<std::size_t>(i)], row));
    }
  }
  if (config_.embeddingScale != 1) x.mul_(config_.embeddingScale);
  if (config_.learnedPositions) {
    const std::vector<std::int64_t> at(pass.positions.begin(), pass.positions.end());
    x.add_(model_.positions.index_select(0, at::tensor(at).to(device_)));
  }
  return {};
}

// Leaves the attention's result in `projected`, and its normed input in `normed`.
void TransformerModel::attention(Pass& pass, int layer, Workspace& w) {
  const Block& block = model_.blocks[static_cast<std::size_t>(layer)];
  if (block.attentionNorm.present)
    arithmetic_->norm(block.attentionNorm, w.x, w.normed);
  else
    w.normed.copy_(w.x);
  tap(pass, TapSite::attentionInput, layer, w.normed);
  arithmetic_->linear(block.queryKeyValue, w.normed, w.queryKeyValue);
  KeyValueCache& cache = caches_[static_cast<std::size_t>(layer)];
  const std::int64_t size = config_.headSize;
  if (config_.headNorm == HeadNorm::whole) {
    arithmetic_->normParts(block.queryNorm, w.queryKeyValue, 0, 1, queryWidth(), false);
    arithmetic_->normParts(block.keyNorm, w.queryKeyValue, queryWidth(), 1, keyWidth(), false);
  } else if (config_.headNorm != HeadNorm::none) {
    const bool own = config_.headNorm == HeadNorm::perHeadOwn;
    arithmetic_->normParts(block.queryNorm, w.queryKeyValue, 0, config_.heads, size, own);
    arithmetic_->normParts(block.keyNorm, w.queryKeyValue, queryWidth(), config_.keyValueHeads, size, own);
  }
  if (config_.clip > 0) w.queryKeyValue.clamp_(-config_.clip, config_.clip);
  if (config_.rotates(layer))
    arithmetic_->rotate(w.queryKeyValue, config_.heads + config_.keyValueHeads, size,
                        config_.localRope && config_.slides(layer) ? slidingRotary_ : rotary_,
                        pass.positions);
  arithmetic_->store(config_, cache, w.queryKeyValue, pass.base);
  const bool watched = watches(pass, TapSite::attentionWeights, layer);
  std::vector<float> weights;
  arithmetic_->attend(config_, block, cache, w.queryKeyValue,
                      config_.slides(layer) ? *pass.near : pass.visible, w.attended,
                      watched ? &weights : nullptr);
  if (watched)
    tap(pass, TapSite::attentionWeights, layer,
        at::from_blob(weights.data(), {config_.heads, pass.rows, pass.visible.total()}, at::kFloat));
  arithmetic_->linear(block.attentionOutput, w.attended, w.projected);
}

// Leaves the MLP's result in `projected`.
void TransformerModel::mlp(Pass& pass, int layer, Workspace& w) {
  const Block& block = model_.blocks[static_cast<std::size_t>(layer)];
  if (block.mlpNorm.present)
    arithmetic_->norm(block.mlpNorm, w.x, w.normed);
  else if (!config_.sharedInputNorm)
    w.normed.copy_(w.x);
  tap(pass, TapSite::mlpInput, layer, w.normed);
  if (block.experts) {
    mixture(*block.experts, w);
  } else {
    arithmetic_->linear(block.mlpIn, w.normed, w.mlpIn);
    tap(pass, TapSite::preActivation, layer, w.mlpIn.narrow(1, 0, config_.inner));
    arithmetic_->activate(config_.activation, config_.gated, w.mlpIn, w.neurons);
    changeNeurons(pass.request, layer, w.neurons);
    tap(pass, TapSite::neuron, layer, w.neurons);
    arithmetic_->linear(block.mlpOut, w.neurons, w.projected);
  }
}

// Every row goes through its best experts; the rows of one expert run together, and each row adds its experts
// in the order of their numbers, so that its result does not depend on its neighbours.
void TransformerModel::mixture(const Experts& experts, Workspace& w) {
  const MixtureConfig& config = config_.mixture;
  const std::int64_t rows = w.normed.size(0), d = config_.width, count = config.experts;
  Tensor scores = buffer(rows, count);
  arithmetic_->linear(experts.router, w.normed, scores);
  const Tensor host = scores.to(at::kCPU);
  struct Share {
    std::int64_t row;
    float weight;
  };
  std::vector<std::vector<Share>> shares(static_cast<std::size_t>(count));
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* values = host.const_data_ptr<float>() + row * count;
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + config.perToken, order.end(),
                      [&](std::int64_t a, std::int64_t b) {
                        return values[a] != values[b] ? values[a] > values[b] : a < b;
                      });
    const float largest = values[order.front()];
    double all = 0, chosen = 0;
    for (std::int64_t e = 0; e < count; ++e) all += std::exp(static_cast<double>(values[e]) - largest);
    for (int i = 0; i < config.perToken; ++i)
      chosen += std::exp(static_cast<double>(values[order[static_cast<std::size_t>(i)]]) - largest);
    const double sum = config.normalise || config.softmaxOfChosen ? chosen : all;
    for (int i = 0; i < config.perToken; ++i) {
      const std::int64_t e = order[static_cast<std::size_t>(i)];
      shares[static_cast<std::size_t>(e)].push_back(
          {row, static_cast<float>(std::exp(static_cast<double>(values[e]) - largest) / sum)});
    }
  }
  w.projected.zero_();
  Tensor gathered = buffer(rows, d), neurons = buffer(rows, experts.inner),
         in = buffer(rows, 2 * experts.inner), result = buffer(rows, d);
  for (std::int64_t e = 0; e < count; ++e) {
    const auto& mine = shares[static_cast<std::size_t>(e)];
    if (mine.empty()) continue;
    const auto size = static_cast<std::int64_t>(mine.size());
    std::vector<std::int64_t> indices;
    for (const Share& share : mine) indices.push_back(share.row);
    const Tensor at = at::tensor(indices).to(device_);
    Tensor x = gathered.narrow(0, 0, size), y = result.narrow(0, 0, size);
    x.copy_(w.normed.index_select(0, at));
    Tensor inPart = in.narrow(0, 0, size), neuronPart = neurons.narrow(0, 0, size);
    expert(experts.in[static_cast<std::size_t>(e)], experts.out[static_cast<std::size_t>(e)], x, inPart,
           neuronPart, y);
    for (std::int64_t i = 0; i < size; ++i) {
      Tensor row = w.projected.narrow(0, mine[static_cast<std::size_t>(i)].row, 1);
      arithmetic_->add(y.narrow(0, i, 1), mine[static_cast<std::size_t>(i)].weight, row);
    }
  }
  if (experts.sharedInner > 0) {
    Tensor sharedIn = buffer(rows, 2 * experts.sharedInner),
           sharedNeurons = buffer(rows, experts.sharedInner);
    expert(experts.sharedIn, experts.sharedOut, w.normed, sharedIn, sharedNeurons, result);
    if (experts.sharedSwitch.outputs > 0) {
      Tensor open = buffer(rows, 1);
      arithmetic_->linear(experts.sharedSwitch, w.normed, open);
      result.mul_(at::sigmoid(open));
    }
    arithmetic_->add(result, 1, w.projected);
  }
}

void TransformerModel::expert(const Linear& in, const Linear& out, const Tensor& x, Tensor& inner,
                              Tensor& neurons, Tensor& result) {
  arithmetic_->linear(in, x, inner);
  arithmetic_->activate(config_.activation, true, inner, neurons);
  arithmetic_->linear(out, neurons, result);
}

void TransformerModel::addBranch(Pass& pass, TapSite site, int layer, const Norm& norm, Tensor& branch,
                                 Tensor& x) {
  if (norm.present) arithmetic_->norm(norm, branch, branch);
  tapBranch(pass, site, layer, branch);
  arithmetic_->add(branch, config_.residualScale, x);
}

void TransformerModel::tapBranch(Pass& pass, TapSite site, int layer, const Tensor& branch) const {
  if (watches(pass, site, layer))
    tap(pass, site, layer, config_.residualScale == 1 ? branch : branch * config_.residualScale);
}

Tensor TransformerModel::logits(const Tensor& normed) {
  const std::int64_t wanted = normed.size(0);
  // The buffer is used again once no handle holds it.
  if (!logits_.defined() || logits_.size(0) < wanted || logits_.storage().use_count() > 1)
    logits_ = buffer(std::max<std::int64_t>(wanted, 1), model_.head->outputs);
  Tensor result = logits_.narrow(0, 0, wanted);
  arithmetic_->linear(*model_.head, normed, result);
  if (config_.logitScale != 1) result.mul_(config_.logitScale);
  if (config_.logitCap > 0) result.div_(config_.logitCap).tanh_().mul_(config_.logitCap);
  return result;
}

// ---- watching ----

bool TransformerModel::watches(const Pass& pass, TapSite site, int layer) {
  return std::any_of(pass.request.taps.begin(), pass.request.taps.end(),
                     [&](const Tap& tap) { return tap.site == site && tap.layer == layer; });
}

void TransformerModel::tap(Pass& pass, TapSite site, int layer, const Tensor& value) {
  for (std::size_t i = 0; i < pass.taps.size(); ++i) {
    const Tap& tap = pass.request.taps[i];
    if (tap.site != site || tap.layer != layer) continue;
    const Tensor host = value.to(at::kCPU, at::kFloat).contiguous();
    pass.taps[i] = {
        tap, host.sizes().vec(), {host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel()}};
  }
}

Result<std::unique_ptr<Logits>> TransformerModel::readout(std::span<const float> vectors, bool norm) {
  const std::int64_t width = config_.width, count = static_cast<std::int64_t>(vectors.size()) / width;
  if (count == 0 || count * width != static_cast<std::int64_t>(vectors.size()))
    return fail(ErrorCode::usage, "a readout needs whole vectors of the model's width");
  try {
    const c10::InferenceMode guard;
    arithmetic_->begin();
    Tensor x = at::from_blob(const_cast<float*>(vectors.data()), {count, width}, at::kFloat)
                   .to(device_)
                   .contiguous();
    Tensor normed = buffer(count, width);
    if (norm)
      finalNorm(x, normed);
    else
      normed.copy_(x);
    return makeLogits(logits(normed), workers_);
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the readout failed: ") + exception.what(), info_.name);
  }
}

Result<std::vector<float>> TransformerModel::weights(MatrixRole role, int layer, bool columns,
                                                     std::int64_t first, std::int64_t count) const {
  if (role == MatrixRole::embedding && base_) return base_->weights(role, layer, columns, first, count);
  const bool perLayer = role == MatrixRole::gate || role == MatrixRole::up || role == MatrixRole::down;
  if (perLayer && (layer < 0 || layer >= config_.layers))
    return fail(ErrorCode::usage, "there is no layer " + std::to_string(layer));
  if (perLayer && (config_.sparse(layer) || (role == MatrixRole::gate && !config_.gated)))
    return fail(ErrorCode::unsupported, "layer " + std::to_string(layer) + " has no such matrix", info_.name);
  const Block* block = perLayer ? &model_.blocks[static_cast<std::size_t>(layer)] : nullptr;
  const Linear& matrix = role == MatrixRole::down ? block->mlpOut : perLayer ? block->mlpIn : *model_.head;
  const bool fromFile = role == MatrixRole::embedding && arithmetic_->packs();
  // Gate and up stand in one matrix.
  const std::int64_t before = role == MatrixRole::up && config_.gated ? config_.inner : 0;
  const std::int64_t outputs =
      role == MatrixRole::gate || role == MatrixRole::up ? config_.inner : matrix.outputs;
  if (first < 0 || count < 0 || first > (columns ? matrix.inputs : outputs) - count)
    return fail(ErrorCode::usage, "the matrix has fewer rows or columns than that");
  try {
    const std::int64_t height = columns ? outputs : count, width = columns ? count : matrix.inputs;
    std::vector<float> values(static_cast<std::size_t>(height * width));
    std::vector<float> row(static_cast<std::size_t>(matrix.inputs));
    for (std::int64_t i = 0; i < height; ++i) {
      const std::int64_t output = before + (columns ? i : first + i);
      if (fromFile)
        DECOSCOPE_TRY(embeddingRow(output, row));
      else if (arithmetic_->packs())
        matrix.packed.getRow(static_cast<std::size_t>(output), row.data());
      else {
        const Tensor& table = role == MatrixRole::embedding ? model_.embedding : matrix.weight;
        const Tensor host = table[output].to(at::kCPU, at::kFloat).contiguous();
        std::copy(host.const_data_ptr<float>(), host.const_data_ptr<float>() + matrix.inputs, row.begin());
      }
      const std::int64_t from = columns ? first : 0;
      std::copy(row.begin() + from, row.begin() + from + width, values.begin() + i * width);
    }
    return values;
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the weights could not be read: ") + exception.what(),
                info_.name);
  }
}

// ---- memory ----

TransformerModel::Workspace TransformerModel::Workspace::part(std::int64_t count) const {
  const auto cut = [count](const Tensor& tensor) { return tensor.narrow(0, 0, count); };
  return {count,         cut(x),         cut(normed), cut(queryKeyValue),
          cut(attended), cut(projected), cut(mlpIn),  cut(neurons)};
}

void TransformerModel::reserveWorkspace(std::int64_t rows) {
  if (work_.rows >= rows) return;
  Workspace fresh;
  fresh.rows = std::max<std::int64_t>(rows, 16);
  fresh.x = buffer(fresh.rows, config_.width);
  fresh.normed = buffer(fresh.rows, config_.width);
  fresh.queryKeyValue = buffer(fresh.rows, queryWidth() + 2 * keyWidth());
  fresh.attended = buffer(fresh.rows, queryWidth());
  fresh.projected = buffer(fresh.rows, config_.width);
  fresh.mlpIn = buffer(fresh.rows, (config_.gated ? 2 : 1) * static_cast<std::int64_t>(config_.inner));
  fresh.neurons = buffer(fresh.rows, config_.inner);
  work_ = std::move(fresh);
}

void TransformerModel::reserveCache(std::int64_t slots) {
  if (slots <= capacity_) return;
  auto capacity = std::max({slots, kFirstCapacity, capacity_ * 2});
  // One text needs no more than the context; only several do.
  if (slots <= config_.context) capacity = std::min<std::int64_t>(capacity, config_.context);
  const std::int64_t cached = forest_.size();
  for (KeyValueCache& cache : caches_)
    for (Tensor* slots : {&cache.keys, &cache.values}) {
      Tensor grown = buffer(capacity, keyWidth());
      if (cached > 0) grown.narrow(0, 0, cached).copy_(slots->narrow(0, 0, cached));
      *slots = grown;
    }
  capacity_ = capacity;  // last: should memory run out half way, the next call starts again
}

Status TransformerModel::retain(int prefix, std::span<const std::int32_t> slots) {
  DECOSCOPE_TRY(forest_.checkRetained(prefix, slots));
  // Slots that stay where they are need no copy.
  std::size_t still = 0;
  while (still < slots.size() && slots[still] == prefix + static_cast<std::int32_t>(still)) ++still;
  if (still < slots.size()) moveSlots(prefix + static_cast<std::int64_t>(still), slots.subspan(still));
  forest_.retain(prefix, slots);
  return {};
}

// Moves slots up, to `first` and those behind it.
void TransformerModel::moveSlots(std::int64_t first, std::span<const std::int32_t> slots) {
  const c10::InferenceMode guard;
  std::vector<Tensor*> caches;
  for (KeyValueCache& cache : caches_) caches.insert(caches.end(), {&cache.keys, &cache.values});
  if (!device_.is_cpu()) {
    const Tensor indices = at::tensor(std::vector<std::int64_t>(slots.begin(), slots.end())).to(device_);
    for (Tensor* cache : caches)
      cache->narrow(0, first, indices.size(0)).copy_(cache->index_select(0, indices));
    return;
  }
  struct Run {
    std::int64_t from, to, length;
  };
  std::vector<Run> runs;  // of slots that stand side by side
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (i > 0 && slots[i] == slots[i - 1] + 1)
      ++runs.back().length;
    else
      runs.push_back({slots[i], first + static_cast<std::int64_t>(i), 1});
  const std::int64_t width = keyWidth();
  workers_->forPieces(static_cast<std::int64_t>(caches.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* data = caches[static_cast<std::size_t>(i)]->data_ptr<float>();
      // A slot never moves down, so ascending order overwrites nothing that is still needed.
      for (const Run& run : runs)
        std::copy(data + run.from * width, data + (run.from + run.length) * width, data + run.to * width);
    }
  });
}

// The weights that a draft head borrows from; null where its base is another kind of model.
const LoadedWeights* lenderOf(const Model* base) {
  const auto* transformer = dynamic_cast<const TransformerModel*>(base);
  return transformer ? transformer->loaded() : nullptr;
}

}  // namespace

Result<std::unique_ptr<Model>> loadTransformer(std::shared_ptr<const WeightFile> weights,
                                               const std::string& path, const LoadOptions& options,
                                               const StopToken& stop) {
  try {
    const c10::InferenceMode guard;
    DECOSCOPE_ASSIGN(Architecture architecture, architectureOf(*weights, path));
    ModelInfo info = describe(architecture, *weights, path);
    DECOSCOPE_ASSIGN(LoadPlan plan, planOf(options, info.parameters));
    const void* lender = nullptr;
    if (architecture.config.followsFeatures) {
      DECOSCOPE_TRY(checkBase(architecture.config, options.base, path));
      plan.base = options.base;
      lender = options.base;
      if (const LoadedWeights* lending = lenderOf(options.base)) {
        plan.baseHead = lending->transformer.head;
        lender = lending;
      }
    }
    info.device = plan.device.str();
    info.dtype = kernels::weightFormatName(plan.precision);
    const WeightsKey::Form form{architecture, plan.precision, plan.device, plan.packs, lender};
    // A digest of large files takes long; nobody waits for one to hear that they do not fit.
    if (!loadedWeights().any([&](const WeightsKey& key) { return key.form == form; }))
      DECOSCOPE_TRY(checkMemory(info, plan.precision, plan.device));
    DECOSCOPE_ASSIGN(info.fingerprint, fileDigest(path));
    if (options.threads > 0) at::set_num_threads(options.threads);
    auto workers = std::make_shared<kernels::Workers>(options.threads);
    auto present = WeightsAre::shared;
    const auto read = [&](const ProgressFunction& progress) -> Result<LoadedWeights> {
      present = WeightsAre::toLoad;
      DECOSCOPE_TRY(checkMemory(info, plan.precision, plan.device));
      DECOSCOPE_ASSIGN(Transformer transformer,
                       loadLayers(*weights, architecture, plan, *workers, progress, stop));
      return LoadedWeights{std::move(transformer), weights,
                           findTensor(*weights, architecture.names.embedding)};
    };
    DECOSCOPE_ASSIGN(auto loaded,
                     loadedWeights().get({info.fingerprint, form}, options.progress, stop, read));
    if (present == WeightsAre::shared) {
      DECOSCOPE_TRY(checkMemory(info, plan.precision, plan.device, present));
      if (options.progress) options.progress(1, "Reading weights");
    }
    info.bytes = loaded->transformer.bytes();
    info.rankedTokens = loaded->transformer.ranked;
    auto arithmetic = plan.packs ? makeKernelArithmetic(workers) : makeTensorArithmetic();
    return std::unique_ptr<Model>(std::make_unique<TransformerModel>(
        std::move(loaded), std::move(info), plan, std::move(arithmetic), std::move(workers)));
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the model could not be loaded: ") + exception.what(), path,
                "If memory is short, try --dtype bf16, q8 or q4.");
  }
}

}  // namespace decoscope
