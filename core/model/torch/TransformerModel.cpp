#include "core/model/torch/TransformerModel.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "core/base/Bfloat16.h"
#include "core/model/CacheForest.h"
#include "core/model/torch/Architecture.h"
#include "core/model/torch/Arithmetic.h"
#include "core/model/torch/Devices.h"
#include "core/model/torch/DraftHead.h"
#include "core/model/torch/ForwardGraphs.h"
#include "core/model/torch/Interventions.h"
#include "core/model/torch/KeyValueCaches.h"
#include "core/model/torch/LoadedWeights.h"
#include "core/model/torch/Memory.h"
#include "core/model/torch/Mixture.h"
#include "core/model/torch/RequestCheck.h"
#include "core/model/torch/TransformerLoader.h"
#include "core/model/torch/TransformerLogits.h"
#include "core/model/torch/Workspace.h"
#include "core/model/torch/kernels/Kernels.h"

namespace decoscope {

namespace {

using at::Tensor;

class TransformerModel final : public Model {
 public:
  TransformerModel(std::shared_ptr<const LoadedWeights> weights, ModelInfo info, const LoadPlan& plan,
                   std::shared_ptr<kernels::Workers> workers)
      : weights_(std::move(weights)),
        model_(weights_->transformer),
        config_(model_.config),
        info_(std::move(info)),
        base_(plan.base),
        devices_(plan.blocks),
        precision_(plan.precision),
        workers_(std::move(workers)),
        rotary_(config_.rope),
        slidingRotary_(config_.slidingRope),
        caches_(devices_, keyWidth(), config_.context),
        work_(config_, devices_) {
    if (plan.packs) {
      arithmetic_ = makeKernelArithmetic(workers_);
      return;
    }
    auto arithmetic = makeTensorArithmetic();
    // Experts are chosen on the host, and blocks on several devices are no graph of one.
    const bool captures = ForwardGraphs::availableOn(devices_.front()) && plan.isOnOneDevice() &&
                          config_.mixture.experts == 0 && !config_.followsFeatures && !config_.diffusion;
    if (captures) graphs_.emplace(devices_.front(), *arithmetic);
    arithmetic_ = std::move(arithmetic);
  }

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
  std::int64_t memoryBytes() const override { return info_.bytes / weights_.use_count() + caches_.bytes(); }
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
    std::int64_t rows, total;  // of the buffers, and slots
    std::vector<TapValue> taps;
  };

  std::int64_t keyWidth() const {
    return static_cast<std::int64_t>(config_.keyValueHeads) * config_.headSize;
  }
  std::int64_t queryWidth() const { return static_cast<std::int64_t>(config_.heads) * config_.headSize; }

  Status followRegime(std::int32_t lastPosition, const StopToken& stop);
  Result<ForwardOutput> run(const ForwardRequest& request, std::vector<std::int32_t> positions,
                            const StopToken& stop);
  Frame frameOf(const ForwardRequest& request, std::int64_t base, std::vector<std::int32_t> positions) const;
  bool isReplayed(const ForwardRequest& request) const;
  Tensor replayed(const Frame& frame);
  // Runs the blocks from `first` to before `last`, from device to device; the buffers are those of the last.
  Result<Workspace> runBlocks(Pass& pass, int first, int last);
  void reserve(std::int64_t rows, std::int64_t slots);
  static Tensor buffer(std::int64_t rows, std::int64_t width, at::Device device) {
    return at::empty({rows, width}, at::TensorOptions(at::kFloat).device(device));
  }

  Status embeddingRow(std::int64_t token, std::span<float> row) const;
  Status embed(const Pass& pass, Tensor& x) const;
  Status fuse(const Pass& pass, Tensor& x) const;
  void finalNorm(const Tensor& x, Tensor& out) const;
  void attention(Pass& pass, int layer, Workspace& w);
  void mlp(Pass& pass, int layer, Workspace& w);
  void addBranch(Pass& pass, TapSite site, int layer, const Norm& norm, Tensor& branch, Tensor& x);
  void tapBranch(Pass& pass, TapSite site, int layer, const Tensor& branch) const;
  Tensor logits(const Tensor& normed);
  void project(const Tensor& normed, Tensor& logits) const;
  static bool watches(const Pass& pass, TapSite site, int layer);
  static void tap(Pass& pass, TapSite site, int layer, const Tensor& value);

  std::shared_ptr<const LoadedWeights> weights_;  // may be those of other models too
  const Transformer& model_;
  const TransformerConfig& config_;
  ModelInfo info_;
  const Model* base_;                // of a draft head: lends the embedding
  std::vector<at::Device> devices_;  // of each block; embedding and head stand beside the first and the last
  Precision precision_;
  std::unique_ptr<Arithmetic> arithmetic_;
  std::shared_ptr<kernels::Workers> workers_;
  RotaryTable rotary_, slidingRotary_;
  CacheForest forest_;
  KeyValueCaches caches_;
  std::int64_t regime_ = 0;
  Workspaces work_;
  Tensor logits_;
  struct Graphs {
    ForwardGraphs captured;
    TensorArithmetic& arithmetic;
    Graphs(at::Device device, TensorArithmetic& arithmetic) : captured(device), arithmetic(arithmetic) {}
  };
  std::optional<Graphs> graphs_;  // where forwards of few rows are captured
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
    const bool turned = rotary_.prepare(last + 1, last + 1),
               turnedNear = config_.localRope && slidingRotary_.prepare(last + 1, last + 1);
    if (graphs_ && (turned || turnedNear)) graphs_->captured.clear();
    DECOSCOPE_TRY(followRegime(last, stop));
    DECOSCOPE_ASSIGN(ForwardOutput output, run(request, std::move(positions), stop));
    output.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return output;
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, "the forward failed: " + reasonOf(exception), info_.name,
                "If memory is short, close other programs or choose a smaller precision.");
  }
}

// ---- the forward ----

Frame TransformerModel::frameOf(const ForwardRequest& request, std::int64_t base,
                                std::vector<std::int32_t> positions) const {
  Frame frame{request.tokens, std::move(positions), base, Visible(request, base, forest_.predecessors()), {}};
  if (config_.window > 0) frame.near = frame.visible.within(config_.window, forest_.positions());
  return frame;
}

// Whether nothing but tokens goes in and nothing but logits comes out.
bool TransformerModel::isReplayed(const ForwardRequest& request) const {
  return graphs_ && static_cast<std::int64_t>(request.tokens.size()) <= ForwardGraphs::kMostRows &&
         request.visibility == Visibility::causal && request.firstLayer == 0 &&
         (request.lastLayer < 0 || request.lastLayer == config_.layers) && request.inputs.empty() &&
         request.taps.empty() && request.interventions.empty();
}

Tensor TransformerModel::replayed(const Frame& frame) {
  return graphs_->captured.run(frame, [this](const DeviceFrame& rows) {
    graphs_->arithmetic.beginOn(rows);
    static const ForwardRequest kPlain;
    static const StopToken kNever;
    Pass pass{kPlain, kNever, rows.rows(), rows.total(), {}};
    Workspace w = *runBlocks(pass, 0, config_.layers);
    finalNorm(w.x, w.normed);
    Tensor result = buffer(rows.rows(), model_.head->outputs, devices_.back());
    project(w.normed, result);
    return result;
  });
}

Result<ForwardOutput> TransformerModel::run(const ForwardRequest& request,
                                            std::vector<std::int32_t> positions, const StopToken& stop) {
  const auto rows = static_cast<std::int64_t>(request.tokens.size());
  const std::int64_t base = forest_.firstSlotOf(request);
  const bool replays = isReplayed(request);
  const std::int64_t padded = replays ? ForwardGraphs::roundedRows(rows) : rows;
  reserve(padded, replays ? ForwardGraphs::roundedTotal(base + padded) : base + rows);
  forest_.enter(request, positions);
  const Frame frame = frameOf(request, base, std::move(positions));
  const std::vector<std::int64_t> indices(request.logitRows.begin(), request.logitRows.end());
  const auto wanted = static_cast<std::int64_t>(indices.size());
  const auto select = [&](const Tensor& all) {
    return wanted == rows ? all.narrow(0, 0, rows)
           : wanted == 1  ? all.narrow(0, indices.front(), 1)
                          : all.index_select(0, at::tensor(indices).to(all.device()));
  };
  ForwardOutput output;
  if (replays) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    const Tensor all = replayed(frame);
    // The next forward writes over what this one gave.
    if (wanted > 0) output.logits = makeLogits(select(all).clone(), workers_);
  } else {
    arithmetic_->begin(frame);
    Pass pass{request, stop, rows, base + rows, std::vector<TapValue>(request.taps.size())};
    const int last = request.lastLayer > 0 ? request.lastLayer : config_.layers;
    DECOSCOPE_ASSIGN(Workspace w, runBlocks(pass, request.firstLayer, last));
    if (last == config_.layers && watches(pass, TapSite::residual, config_.layers)) {
      finalNorm(w.x, w.normed);
      tap(pass, TapSite::residual, config_.layers, w.normed);
    }
    if (wanted > 0) {
      // An early exit may end on another device than the head's.
      Workspace end = work_.on(devices_.back()).part(rows);
      Tensor normed = end.normed.narrow(0, 0, wanted);
      finalNorm(select(w.x).to(end.device), normed);
      output.logits = makeLogits(logits(normed), workers_);
    }
    output.taps = std::move(pass.taps);
  }
  if (request.visibility != Visibility::full && request.firstLayer == 0) forest_.resize(base + rows);
  return output;
}

Result<Workspace> TransformerModel::runBlocks(Pass& pass, int first, int last) {
  const ForwardRequest& request = pass.request;
  Workspace w = work_.on(devices_[static_cast<std::size_t>(first)]).part(pass.rows);
  DECOSCOPE_TRY(embed(pass, w.x));
  if (first == 0) {
    changeResidual(request, 0, w.x);
    tap(pass, TapSite::residual, 0, w.x);
  }
  for (int layer = first; layer < last; ++layer) {
    if (pass.stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (const at::Device device = devices_[static_cast<std::size_t>(layer)]; device != w.device) {
      const Tensor before = w.x;
      w = work_.on(device).part(pass.rows);
      w.x.copy_(before);
    }
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
  return w;
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
  arithmetic_->linear(model_.fuse, pairs.to(x.device()), x);
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
    x.copy_(at::index_select(model_.embedding, 0, arithmetic_->tokens(x.device())));
  } else {
    for (std::int64_t i = 0; i < pass.rows; ++i) {
      const std::span<float> row(x.data_ptr<float>() + i * config_.width,
                                 static_cast<std::size_t>(config_.width));
      DECOSCOPE_TRY(embeddingRow(request.tokens[static_cast<std::size_t>(i)], row));
    }
  }
  if (config_.embeddingScale != 1) x.mul_(config_.embeddingScale);
  if (config_.learnedPositions) x.add_(model_.positions.index_select(0, arithmetic_->positions(x.device())));
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
  KeyValueCache& cache = caches_[layer];
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
                        config_.localRope && config_.slides(layer) ? slidingRotary_ : rotary_);
  arithmetic_->store(config_, cache, w.queryKeyValue);
  const bool watched = watches(pass, TapSite::attentionWeights, layer);
  std::vector<float> weights;
  arithmetic_->attend(config_, block, cache, w.queryKeyValue, config_.slides(layer), w.attended,
                      watched ? &weights : nullptr);
  if (watched)
    tap(pass, TapSite::attentionWeights, layer,
        at::from_blob(weights.data(), {config_.heads, pass.rows, pass.total}, at::kFloat));
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
    mixture(*arithmetic_, config_, *block.experts, w.normed, w.projected);
  } else {
    arithmetic_->linear(block.mlpIn, w.normed, w.mlpIn);
    tap(pass, TapSite::preActivation, layer, w.mlpIn.narrow(1, 0, config_.inner));
    arithmetic_->activate(config_.activation, config_.gated, w.mlpIn, w.neurons);
    changeNeurons(pass.request, layer, w.neurons);
    tap(pass, TapSite::neuron, layer, w.neurons);
    arithmetic_->linear(block.mlpOut, w.neurons, w.projected);
  }
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
    logits_ = buffer(std::max<std::int64_t>(wanted, 1), model_.head->outputs, devices_.back());
  Tensor result = logits_.narrow(0, 0, wanted);
  project(normed, result);
  return result;
}

void TransformerModel::project(const Tensor& normed, Tensor& result) const {
  arithmetic_->linear(*model_.head, normed, result);
  if (config_.logitScale != 1) result.mul_(config_.logitScale);
  if (config_.logitCap > 0) result.div_(config_.logitCap).tanh_().mul_(config_.logitCap);
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
    Tensor x =
        at::from_blob(const_cast<float*>(vectors.data()), {count, width}, at::kFloat).to(devices_.back());
    Tensor normed = buffer(count, width, devices_.back());
    if (norm)
      finalNorm(x, normed);
    else
      normed.copy_(x);
    return makeLogits(logits(normed), workers_);
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, "the readout failed: " + reasonOf(exception), info_.name);
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
  // Gate and up stand in one matrix.
  const std::int64_t before = role == MatrixRole::up && config_.gated ? config_.inner : 0;
  const std::int64_t outputs =
      role == MatrixRole::gate || role == MatrixRole::up ? config_.inner : matrix.outputs;
  if (first < 0 || count < 0 || first > (columns ? matrix.inputs : outputs) - count)
    return fail(ErrorCode::usage, "the matrix has fewer rows or columns than that");
  try {
    const std::int64_t height = columns ? outputs : count, width = columns ? count : matrix.inputs;
    const std::int64_t top = before + (columns ? 0 : first), left = columns ? first : 0;
    if (!arithmetic_->packs()) {
      const bool codes = role != MatrixRole::embedding && matrix.grouped.defined();
      const Tensor rows =
          codes ? matrix.grouped.rows(top, height, at::kFloat)
                : (role == MatrixRole::embedding ? model_.embedding : matrix.weight).narrow(0, top, height);
      const Tensor host = rows.narrow(1, left, width).to(at::kCPU, at::kFloat).contiguous();
      return std::vector<float>(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
    }
    std::vector<float> values(static_cast<std::size_t>(height * width));
    std::vector<float> row(static_cast<std::size_t>(matrix.inputs));
    for (std::int64_t i = 0; i < height; ++i) {
      if (role == MatrixRole::embedding)
        DECOSCOPE_TRY(embeddingRow(top + i, row));
      else
        matrix.packed.getRow(static_cast<std::size_t>(top + i), row.data());
      std::copy(row.begin() + left, row.begin() + left + width, values.begin() + i * width);
    }
    return values;
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, "the weights could not be read: " + reasonOf(exception), info_.name);
  }
}

// ---- memory ----

// Memory for a forward of so many rows, and for so many slots in the cache.
void TransformerModel::reserve(std::int64_t rows, std::int64_t slots) {
  const bool moved = caches_.reserve(slots, forest_.size()), grown = work_.reserve(rows);
  if (graphs_ && (moved || grown)) graphs_->captured.clear();
}

Status TransformerModel::retain(int prefix, std::span<const std::int32_t> slots) {
  DECOSCOPE_TRY(forest_.checkRetained(prefix, slots));
  // Slots that stay where they are need no copy.
  std::size_t still = 0;
  while (still < slots.size() && slots[still] == prefix + static_cast<std::int32_t>(still)) ++still;
  if (still < slots.size())
    caches_.move(prefix + static_cast<std::int64_t>(still), slots.subspan(still), *workers_);
  forest_.retain(prefix, slots);
  return {};
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
    plan.blocks = placeBlocks(info, architecture.config, plan.precision, plan.devices);
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
    info.device = plan.deviceNames();
    info.dtype = kernels::weightFormatName(plan.precision);
    const WeightsKey::Form form{architecture, plan.precision, plan.blocks, plan.packs, lender};
    // A digest of large files takes long; nobody waits for one to hear that they do not fit.
    if (!loadedWeights().any([&](const WeightsKey& key) { return key.form == form; }))
      DECOSCOPE_TRY(checkMemory(info, plan.precision, plan.devices));
    DECOSCOPE_ASSIGN(info.fingerprint, fileDigest(path));
    if (options.threads > 0) at::set_num_threads(options.threads);
    auto workers = std::make_shared<kernels::Workers>(options.threads);
    auto present = WeightsAre::shared;
    const auto read = [&](const ProgressFunction& progress) -> Result<LoadedWeights> {
      present = WeightsAre::toLoad;
      DECOSCOPE_TRY(checkMemory(info, plan.precision, plan.devices));
      DECOSCOPE_ASSIGN(Transformer transformer,
                       loadLayers(*weights, architecture, plan, *workers, progress, stop));
      return LoadedWeights{std::move(transformer), weights,
                           findTensor(*weights, architecture.names.embedding)};
    };
    DECOSCOPE_ASSIGN(auto loaded,
                     loadedWeights().get({info.fingerprint, form}, options.progress, stop, read));
    if (present == WeightsAre::shared) {
      DECOSCOPE_TRY(checkMemory(info, plan.precision, plan.devices, present));
      if (options.progress) options.progress(1, "Reading weights");
    }
    info.bytes = loaded->transformer.bytes();
    info.rankedTokens = loaded->transformer.ranked;
    return std::unique_ptr<Model>(
        std::make_unique<TransformerModel>(std::move(loaded), std::move(info), plan, std::move(workers)));
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, "the model could not be loaded: " + reasonOf(exception), path,
                "If memory is short, try --dtype bf16, q8 or q4.");
  }
}

}  // namespace decoscope
