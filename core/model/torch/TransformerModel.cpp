#include "core/model/torch/TransformerModel.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <mutex>
#include <numeric>

#include "core/model/torch/Architecture.h"
#include "core/model/torch/kernels/Kernels.h"
#include "core/model/torch/kernels/Workers.h"

namespace decoscope {

namespace {

using at::Tensor;

std::string layerName(const std::string& pattern, int layer) {
  const auto at = pattern.find("{}");
  return at == std::string::npos ? pattern
                                 : pattern.substr(0, at) + std::to_string(layer) + pattern.substr(at + 2);
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Rows that one thread does alone before another is asked to help.
constexpr std::int64_t kRowGrain = 8, kGateGrain = 2;

// A linear layer: packed for the kernels, or a tensor for any device.
struct Linear {
  kernels::PackedMatrix packed;
  Tensor weight, bias;
  std::int64_t outputs = 0;
};

struct Block {
  Tensor attentionNorm, mlpNorm, queryNorm, keyNorm;
  Linear queryKeyValue, output, gateUp, down;
  Tensor keys, values;  // [capacity, key/value heads × head size]
};

class TransformerLogits final : public Logits {
 public:
  TransformerLogits(Tensor rows, bool onCpu, std::shared_ptr<kernels::Workers> workers)
      : rows_(std::move(rows)), host_(onCpu ? rows_ : Tensor()), workers_(std::move(workers)) {}
  int rows() const override { return static_cast<int>(rows_.size(0)); }
  int vocabularySize() const override { return static_cast<int>(rows_.size(1)); }
  std::span<const float> row(int index) const override {
    if (!host_.defined()) host_ = rows_.to(at::kCPU, at::kFloat).contiguous();
    return {host_.const_data_ptr<float>() + static_cast<std::int64_t>(index) * rows_.size(1),
            static_cast<std::size_t>(rows_.size(1))};
  }
  Result<TokenId> argmax(int index) const override {
    DECOSCOPE_TRY(check(index, kernels::summarise(row(index).data(), row(index).size())));
    std::vector<TokenId> tokens;
    kernels::largest(row(index).data(), row(index).size(), 1, tokens);
    return tokens.front();
  }
  Result<RowSummary> summary(int index, int k) const override {
    const auto values = row(index);
    const kernels::Summary sums = kernels::summarise(values.data(), values.size());
    DECOSCOPE_TRY(check(index, sums));
    RowSummary result;
    kernels::largest(values.data(), values.size(), static_cast<std::size_t>(std::max(k, 0)), result.tokens);
    result.logSumExp = sums.largest + std::log(sums.sum);
    result.entropy = std::log(sums.sum) - sums.weighted / sums.sum;
    double mass = 0;
    for (const TokenId token : result.tokens) {
      result.logits.push_back(values[static_cast<std::size_t>(token)]);
      mass += std::exp(values[static_cast<std::size_t>(token)] - result.logSumExp);
    }
    result.tailMass = std::max(0.0, 1 - mass);
    return result;
  }
  Result<std::vector<RowSummary>> summaries(int k) const override {
    if (rows() > 0) row(0);  // one copy from the device before the threads start
    std::vector<Result<RowSummary>> results(static_cast<std::size_t>(rows()));
    workers_->forPieces(rows(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        results[static_cast<std::size_t>(i)] = summary(static_cast<int>(i), k);
    });
    std::vector<RowSummary> out;
    for (auto& result : results) {
      if (!result) return tl::unexpected(result.error());
      out.push_back(std::move(*result));
    }
    return out;
  }

 private:
  static Status check(int index, const kernels::Summary& sums) {
    if (std::isfinite(sums.sum) && std::isfinite(sums.largest)) return {};
    return fail(ErrorCode::failed, "the model gave a logit that is not a number",
                "row " + std::to_string(index),
                "The weights may be damaged, or the precision too low: try --dtype f32.");
  }
  Tensor rows_;
  mutable Tensor host_;
  std::shared_ptr<kernels::Workers> workers_;
};

// What each row of a forward may see, built once and used by every layer.
struct Visible {
  bool chain = true;
  std::int64_t base = 0, total = 0;
  bool full = false;
  std::vector<std::vector<std::int32_t>> slots;  // for trees: cache slots of each row, ascending
  Tensor mask;                                   // generic devices: additive [rows, total]
  std::size_t count(std::int64_t row) const {
    if (full) return static_cast<std::size_t>(total);
    return chain ? static_cast<std::size_t>(base + row + 1) : slots[static_cast<std::size_t>(row)].size();
  }
};

class TransformerModel final : public Model {
 public:
  TransformerModel(Architecture architecture, ModelInfo info, at::Device device, bool useKernels,
                   at::ScalarType type, int threads)
      : config_(architecture.config),
        names_(architecture.names),
        info_(std::move(info)),
        device_(device),
        useKernels_(useKernels),
        type_(type),
        workers_(std::make_shared<kernels::Workers>(threads)) {}

  const ModelInfo& info() const override { return info_; }
  Capabilities capabilities() const override {
    Capabilities can;
    can.causal = can.trees = can.earlyExit = !config_.diffusion;
    can.maskedDiffusion = config_.diffusion;
    can.hiddenStates = can.interventions = true;
    return can;
  }
  int cached() const override { return static_cast<int>(cached_); }
  std::int64_t memoryBytes() const override {
    return info_.bytes + 2 * capacity_ * keyWidth() * config_.layers *
                             static_cast<std::int64_t>(useKernels_ ? 4 : at::elementSize(type_));
  }

  Status load(const WeightFile& weights, const LoadOptions& options, const StopToken& stop);
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override;
  Status retain(int prefix, std::span<const std::int32_t> slots) override;

 private:
  std::int64_t keyWidth() const {
    return static_cast<std::int64_t>(config_.keyValueHeads) * config_.headSize;
  }
  std::int64_t queryWidth() const { return static_cast<std::int64_t>(config_.heads) * config_.headSize; }
  at::TensorOptions floats() const { return at::TensorOptions().dtype(at::kFloat).device(device_); }

  // Loading.
  struct Part {
    const WeightTensor* tensor;
    std::int64_t rows;
    bool rotary = false;  // undo GGUF's interleaved order
  };
  Result<const WeightTensor*> need(const WeightFile& weights, const std::string& name,
                                   const std::vector<std::int64_t>& shape) const;
  Result<Tensor> loadVector(const WeightFile& weights, const std::string& name, std::int64_t size) const;
  Result<Linear> loadLinear(const WeightFile& weights, const std::vector<Part>& parts,
                            std::int64_t inputs) const;
  Status loadRows(const Part& part, std::int64_t inputs,
                  const std::function<void(std::int64_t, const float*)>& take) const;
  void buildRotary();

  // Forward.
  Status check(const ForwardRequest& request) const;
  std::vector<std::int32_t> positionsOf(const ForwardRequest& request) const;
  Visible visibleOf(const ForwardRequest& request) const;
  Visible withinWindow(const Visible& all, std::int64_t rows) const;
  void buildMask(Visible& visible, std::int64_t rows) const;
  void reserveCache(std::int64_t slots);
  void reserveWorkspace(std::int64_t rows);
  Status embed(const std::vector<TokenId>& tokens, Tensor& x) const;
  void linear(const Linear& layer, const Tensor& x, Tensor& out);
  void accumulate(const Tensor& y, Tensor& x) const;
  void norm(const Tensor& x, const Tensor& weight, Tensor& out) const;
  void normHeads(Tensor& queryKeyValue, const Block& block) const;
  void rotate(Tensor& queryKeyValue, const std::vector<std::int32_t>& positions) const;
  void storeKeys(Block& block, const Tensor& queryKeyValue, std::int64_t base) const;
  void attend(const Block& block, const Tensor& queryKeyValue, const Visible& visible, Tensor& out,
              std::vector<float>* weights) const;
  void gate(const Tensor& gateUp, Tensor& out) const;
  void intervene(const ForwardRequest& request, int layer, Tensor& x) const;
  static void tap(const ForwardRequest& request, TapSite site, int layer, const Tensor& value,
                  std::vector<TapValue>& taps);

  TransformerConfig config_;
  TensorNames names_;
  ModelInfo info_;
  at::Device device_;
  bool useKernels_;
  at::ScalarType type_;
  std::shared_ptr<kernels::Workers> workers_;
  std::shared_ptr<const WeightFile> file_;  // embedding rows are read from the map
  const WeightTensor* embedding_ = nullptr;
  Tensor embeddingTable_;  // generic devices
  std::vector<Block> blocks_;
  Tensor finalNorm_;
  Linear head_;
  Tensor cosine_, sine_;  // [context, head size / 2]
  std::int64_t cached_ = 0, capacity_ = 0;
  std::vector<std::int32_t>
      slotPositions_;  // of each cached token; behind them those of the forward under way
  Tensor x_, normed_, queryKeyValue_, attended_, projected_, gateUp_, gated_,
      logits_;  // workspace, [rows, …]
  std::vector<std::uint16_t> rounded_;

  friend Result<std::unique_ptr<Model>> decoscope::loadTransformer(std::shared_ptr<const WeightFile>,
                                                                   const std::string&, const LoadOptions&,
                                                                   const StopToken&);
};

// ---- loading ----

Result<const WeightTensor*> TransformerModel::need(const WeightFile& weights, const std::string& name,
                                                   const std::vector<std::int64_t>& shape) const {
  const WeightTensor* tensor = weights.find(name);
  if (!tensor)
    return fail(ErrorCode::badInput, "tensor '" + name + "' is missing", weights.path(),
                "The file is incomplete or of another architecture than it says.");
  if (tensor->shape != shape)
    return fail(
        ErrorCode::badInput,
        "tensor '" + name + "' has the shape " + shapeText(tensor->shape) + ", expected " + shapeText(shape),
        weights.path(), "The configuration does not fit the weights.");
  return tensor;
}

Result<Tensor> TransformerModel::loadVector(const WeightFile& weights, const std::string& name,
                                            std::int64_t size) const {
  DECOSCOPE_ASSIGN(const WeightTensor* tensor, need(weights, name, {size}));
  Tensor host = at::empty({size}, at::kFloat);
  DECOSCOPE_TRY(dequantise(*tensor, 0, {host.data_ptr<float>(), static_cast<std::size_t>(size)}));
  return host.to(device_);
}

Status TransformerModel::loadRows(const Part& part, std::int64_t inputs,
                                  const std::function<void(std::int64_t, const float*)>& take) const {
  Status failure;
  std::mutex failureMutex;
  const std::int64_t half = config_.headSize / 2;
  workers_->forPieces((part.rows + 15) / 16, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(inputs));
    for (std::int64_t r = begin * 16; r < std::min(end * 16, part.rows); ++r) {
      std::int64_t source = r;
      if (part.rotary) {
        const std::int64_t head = r / config_.headSize, within = r % config_.headSize;
        source = head * config_.headSize + within % half * 2 + within / half;
      }
      if (Status status = dequantise(*part.tensor, source * inputs, row); !status) {
        const std::lock_guard lock(failureMutex);
        failure = status;
        return;
      }
      take(r, row.data());
    }
  });
  return failure;
}

Result<Linear> TransformerModel::loadLinear(const WeightFile& weights, const std::vector<Part>& parts,
                                            std::int64_t inputs) const {
  Linear layer;
  for (const Part& part : parts) layer.outputs += part.rows;
  Tensor host;
  if (useKernels_)
    layer.packed.resize(static_cast<std::size_t>(layer.outputs), static_cast<std::size_t>(inputs),
                        type_ == at::kBFloat16);
  else
    host = at::empty({layer.outputs, inputs}, at::kFloat);
  std::int64_t first = 0;
  std::vector<Tensor> biases;
  bool biased = false;
  for (const Part& part : parts) {
    DECOSCOPE_TRY(loadRows(part, inputs, [&](std::int64_t row, const float* values) {
      if (useKernels_)
        layer.packed.setRow(static_cast<std::size_t>(first + row), values);
      else
        std::copy(values, values + inputs, host.data_ptr<float>() + (first + row) * inputs);
    }));
    std::string biasName = part.tensor->name;
    biasName.replace(biasName.rfind("weight"), 6, "bias");
    if (weights.find(biasName)) {
      DECOSCOPE_ASSIGN(Tensor bias, loadVector(weights, biasName, part.rows));
      biases.push_back(std::move(bias));
      biased = true;
    } else {
      biases.push_back(at::zeros({part.rows}, floats()));
    }
    first += part.rows;
  }
  if (biased) layer.bias = at::cat(biases).contiguous();
  if (!useKernels_) layer.weight = host.to(device_, type_);
  return layer;
}

void TransformerModel::buildRotary() {
  const std::int64_t half = config_.headSize / 2;
  std::vector<float> frequencies(static_cast<std::size_t>(half));
  for (std::int64_t i = 0; i < half; ++i) {
    double f = 1.0 / std::pow(config_.ropeTheta, 2.0 * static_cast<double>(i) / config_.headSize);
    const RopeScaling& scaling = config_.ropeScaling;
    if (scaling.kind == RopeScaling::Kind::linear) f /= scaling.factor;
    if (scaling.kind == RopeScaling::Kind::llama3) {
      const double wavelength = 2 * M_PI / f;
      const double low = scaling.originalContext / scaling.lowFrequencyFactor,
                   high = scaling.originalContext / scaling.highFrequencyFactor;
      if (wavelength > low)
        f /= scaling.factor;
      else if (wavelength >= high) {
        const double s = (scaling.originalContext / wavelength - scaling.lowFrequencyFactor) /
                         (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
        f = (1 - s) * f / scaling.factor + s * f;
      }
    }
    frequencies[static_cast<std::size_t>(i)] = static_cast<float>(f);
  }
  const Tensor angles = at::outer(at::arange(config_.context, at::kFloat), at::tensor(frequencies));
  cosine_ = at::cos(angles).to(device_).contiguous();
  sine_ = at::sin(angles).to(device_).contiguous();
}

Status TransformerModel::load(const WeightFile& weights, const LoadOptions& options, const StopToken& stop) {
  const auto progress = [&](double fraction) {
    if (options.progress) options.progress(fraction, "Reading weights");
  };
  const std::int64_t d = config_.width, m = config_.inner;
  DECOSCOPE_ASSIGN(embedding_, need(weights, names_.embedding, {config_.vocabulary, d}));
  DECOSCOPE_ASSIGN(finalNorm_, loadVector(weights, names_.finalNorm, d));
  const auto part = [&](const std::string& pattern, int layer, std::int64_t rows, std::int64_t inputs,
                        bool rotary) -> Result<Part> {
    DECOSCOPE_ASSIGN(const WeightTensor* tensor, need(weights, layerName(pattern, layer), {rows, inputs}));
    return Part{tensor, rows, rotary};
  };
  for (int i = 0; i < config_.layers; ++i) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "loading was cancelled");
    progress(0.85 * i / config_.layers);
    Block block;
    DECOSCOPE_ASSIGN(block.attentionNorm, loadVector(weights, layerName(names_.attentionNorm, i), d));
    DECOSCOPE_ASSIGN(block.mlpNorm, loadVector(weights, layerName(names_.mlpNorm, i), d));
    if (config_.queryKeyNorm) {
      DECOSCOPE_ASSIGN(block.queryNorm,
                       loadVector(weights, layerName(names_.queryNorm, i), config_.headSize));
      DECOSCOPE_ASSIGN(block.keyNorm, loadVector(weights, layerName(names_.keyNorm, i), config_.headSize));
    }
    DECOSCOPE_ASSIGN(const Part query, part(names_.query, i, queryWidth(), d, config_.rotaryInterleaved));
    DECOSCOPE_ASSIGN(const Part key, part(names_.key, i, keyWidth(), d, config_.rotaryInterleaved));
    DECOSCOPE_ASSIGN(const Part value, part(names_.value, i, keyWidth(), d, false));
    DECOSCOPE_ASSIGN(const Part output, part(names_.output, i, d, queryWidth(), false));
    DECOSCOPE_ASSIGN(const Part gate, part(names_.gate, i, m, d, false));
    DECOSCOPE_ASSIGN(const Part up, part(names_.up, i, m, d, false));
    DECOSCOPE_ASSIGN(const Part down, part(names_.down, i, d, m, false));
    DECOSCOPE_ASSIGN(block.queryKeyValue, loadLinear(weights, {query, key, value}, d));
    DECOSCOPE_ASSIGN(block.output, loadLinear(weights, {output}, queryWidth()));
    DECOSCOPE_ASSIGN(block.gateUp, loadLinear(weights, {gate, up}, d));
    DECOSCOPE_ASSIGN(block.down, loadLinear(weights, {down}, m));
    blocks_.push_back(std::move(block));
  }
  const std::string& headName = config_.tied ? names_.embedding : names_.head;
  DECOSCOPE_ASSIGN(const WeightTensor* head, need(weights, headName, {config_.vocabulary, d}));
  DECOSCOPE_ASSIGN(head_, loadLinear(weights, {{head, config_.vocabulary, false}}, d));
  if (!useKernels_) {
    if (config_.tied)
      embeddingTable_ = head_.weight;
    else {
      DECOSCOPE_ASSIGN(const Linear table, loadLinear(weights, {{embedding_, config_.vocabulary, false}}, d));
      embeddingTable_ = table.weight;
    }
  }
  buildRotary();
  info_.bytes = 0;
  const auto count = [&](const Linear& layer) {
    info_.bytes += static_cast<std::int64_t>(layer.packed.bytes()) +
                   (layer.weight.defined() ? static_cast<std::int64_t>(layer.weight.nbytes()) : 0);
  };
  for (const Block& block : blocks_)
    count(block.queryKeyValue), count(block.output), count(block.gateUp), count(block.down);
  count(head_);
  progress(1);
  return {};
}

// ---- forward ----

Status TransformerModel::check(const ForwardRequest& request) const {
  const auto count = static_cast<std::int64_t>(request.tokens.size());
  if (count == 0) return fail(ErrorCode::usage, "a forward needs at least one token");
  if (!request.positions.empty() && request.positions.size() != request.tokens.size())
    return fail(ErrorCode::usage, "positions and tokens differ in number");
  if (!request.parents.empty() && request.parents.size() != request.tokens.size())
    return fail(ErrorCode::usage, "parents and tokens differ in number");
  for (std::int64_t i = 0; i < count; ++i) {
    const TokenId token = request.tokens[static_cast<std::size_t>(i)];
    if (token < 0 || token >= config_.vocabulary)
      return fail(ErrorCode::badInput,
                  "token id " + std::to_string(token) + " is not in the vocabulary of " +
                      std::to_string(config_.vocabulary),
                  info_.name);
    if (!request.parents.empty() && (request.parents[static_cast<std::size_t>(i)] >= i ||
                                     request.parents[static_cast<std::size_t>(i)] < -1))
      return fail(ErrorCode::usage, "a parent must stand before its child");
  }
  for (const std::int32_t row : request.logitRows)
    if (row < 0 || row >= count) return fail(ErrorCode::usage, "there is no row " + std::to_string(row));
  if (request.visibility == Visibility::full && cached_ != 0)
    return fail(ErrorCode::usage, "full visibility needs an empty cache");
  if (request.visibility == Visibility::causal && config_.diffusion)
    return fail(ErrorCode::unsupported, "a masked-diffusion model has no causal forward", info_.name);
  if (cached_ + count > config_.context)
    return fail(ErrorCode::badInput,
                std::to_string(cached_ + count) + " tokens do not fit into the context of " +
                    std::to_string(config_.context),
                info_.name, "Shorten the prompt or ask for fewer tokens.");
  if (request.lastLayer == 0 || request.lastLayer > config_.layers)
    return fail(ErrorCode::usage, "the model has " + std::to_string(config_.layers) + " layers");
  for (const Tap& tap : request.taps)
    if (tap.layer < 0 || tap.layer > (tap.site == TapSite::residual ? config_.layers : config_.layers - 1))
      return fail(ErrorCode::usage, "there is no layer " + std::to_string(tap.layer));
  for (const Intervention& change : request.interventions)
    if (change.layer < 0 || change.layer > config_.layers || change.row >= count ||
        change.vector.size() !=
            static_cast<std::size_t>(change.kind == Intervention::Kind::scale ? 1 : config_.width))
      return fail(ErrorCode::usage, "an intervention does not fit the model");
  return {};
}

std::vector<std::int32_t> TransformerModel::positionsOf(const ForwardRequest& request) const {
  if (!request.positions.empty()) return request.positions;
  std::vector<std::int32_t> positions(request.tokens.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::int32_t parent =
        request.parents.empty() ? static_cast<std::int32_t>(i) - 1 : request.parents[i];
    positions[i] =
        parent < 0 ? static_cast<std::int32_t>(cached_) : positions[static_cast<std::size_t>(parent)] + 1;
  }
  return positions;
}

Visible TransformerModel::visibleOf(const ForwardRequest& request) const {
  Visible visible;
  const auto count = static_cast<std::int64_t>(request.tokens.size());
  visible.base = cached_;
  visible.total = cached_ + count;
  visible.full = request.visibility == Visibility::full;
  for (std::size_t i = 0; i < request.parents.size(); ++i)
    visible.chain &= request.parents[i] == static_cast<std::int32_t>(i) - 1;
  if (!visible.full && !visible.chain) {
    visible.slots.resize(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < visible.slots.size(); ++i) {
      const std::int32_t parent = request.parents[i];
      auto& slots = visible.slots[i];
      if (parent >= 0)
        slots = visible.slots[static_cast<std::size_t>(parent)];
      else {
        slots.resize(static_cast<std::size_t>(cached_));
        std::iota(slots.begin(), slots.end(), 0);
      }
      slots.push_back(static_cast<std::int32_t>(cached_ + static_cast<std::int64_t>(i)));
    }
  }
  buildMask(visible, count);
  return visible;
}

void TransformerModel::buildMask(Visible& visible, std::int64_t rows) const {
  if (useKernels_) return;
  Tensor mask = at::full({rows, visible.total}, visible.full ? 0.0 : -INFINITY, at::kFloat);
  if (!visible.full)
    for (std::int64_t row = 0; row < rows; ++row) {
      float* values = mask.data_ptr<float>() + row * visible.total;
      for (std::size_t i = 0; i < visible.count(row); ++i)
        values[visible.chain ? static_cast<std::int64_t>(i)
                             : visible.slots[static_cast<std::size_t>(row)][i]] = 0;
    }
  visible.mask = mask.to(device_);
}

// What sliding layers see of `all`: positions nearer than the window, by position and not by slot, because a
// tree's slots skip.
Visible TransformerModel::withinWindow(const Visible& all, std::int64_t rows) const {
  Visible near = all;
  near.chain = false;
  near.slots.assign(static_cast<std::size_t>(rows), {});
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t oldest = slotPositions_[static_cast<std::size_t>(all.base + row)] - config_.window;
    auto& slots = near.slots[static_cast<std::size_t>(row)];
    for (std::size_t i = 0; i < all.count(row); ++i) {
      const auto slot =
          all.chain ? static_cast<std::int32_t>(i) : all.slots[static_cast<std::size_t>(row)][i];
      if (slotPositions_[static_cast<std::size_t>(slot)] > oldest) slots.push_back(slot);
    }
  }
  buildMask(near, rows);
  return near;
}

void TransformerModel::reserveCache(std::int64_t slots) {
  if (slots <= capacity_) return;
  const auto capacity = std::min<std::int64_t>(
      config_.context, std::max<std::int64_t>(slots, std::max<std::int64_t>(512, capacity_ * 2)));
  for (Block& block : blocks_)
    for (Tensor* cache : {&block.keys, &block.values}) {
      Tensor grown = at::empty({capacity, keyWidth()}, floats());
      if (cached_ > 0) grown.narrow(0, 0, cached_).copy_(cache->narrow(0, 0, cached_));
      *cache = grown;
    }
  capacity_ = capacity;  // last: should memory run out half way, the next call starts again
}

void TransformerModel::reserveWorkspace(std::int64_t rows) {
  if (x_.defined() && x_.size(0) >= rows) return;
  const std::int64_t capacity = std::max<std::int64_t>(rows, x_.defined() ? x_.size(0) : 16);
  const auto make = [&](std::int64_t width) { return at::empty({capacity, width}, floats()); };
  x_ = make(config_.width);
  normed_ = make(config_.width);
  queryKeyValue_ = make(queryWidth() + 2 * keyWidth());
  attended_ = make(queryWidth());
  projected_ = make(config_.width);
  gateUp_ = make(2 * static_cast<std::int64_t>(config_.inner));
  gated_ = make(config_.inner);
}

Status TransformerModel::embed(const std::vector<TokenId>& tokens, Tensor& x) const {
  if (!useKernels_) {
    const Tensor ids = at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end())).to(device_);
    x.copy_(at::index_select(embeddingTable_, 0, ids));
    return {};
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::span<float> row(x.data_ptr<float>() + static_cast<std::int64_t>(i) * config_.width,
                               static_cast<std::size_t>(config_.width));
    DECOSCOPE_TRY(dequantise(*embedding_, static_cast<std::int64_t>(tokens[i]) * config_.width, row));
    if (type_ == at::kBFloat16)
      for (float& value : row) value = kernels::fromBfloat16(kernels::toBfloat16(value));
  }
  return {};
}

void TransformerModel::linear(const Linear& layer, const Tensor& x, Tensor& out) {
  if (!useKernels_) {
    out.copy_(at::linear(x.to(type_), layer.weight));
    if (layer.bias.defined()) out.add_(layer.bias);
    return;
  }
  const auto rows = static_cast<std::size_t>(x.size(0)), inputs = layer.packed.inputs;
  if (layer.packed.halfPrecision) {
    rounded_.resize(std::max(rounded_.size(), rows * ((inputs + 1) / 2 * 2)));
    const std::size_t padded = (inputs + 1) / 2 * 2;
    const float* source = x.const_data_ptr<float>();
    workers_->forPieces(
        static_cast<std::int64_t>(rows), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
          const auto first = static_cast<std::size_t>(begin), count = static_cast<std::size_t>(end - begin);
          kernels::roundToBfloat16(source + first * inputs, count, inputs, rounded_.data() + first * padded);
        });
  }
  float* result = out.data_ptr<float>();
  const auto outputs = static_cast<std::size_t>(layer.outputs);
  workers_->forPieces(
      static_cast<std::int64_t>(layer.packed.groups()), 4, [&](std::int64_t begin, std::int64_t end) {
        kernels::multiply(layer.packed, x.const_data_ptr<float>(), rounded_.data(), rows, result, outputs,
                          static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
      });
  if (layer.bias.defined())
    for (std::size_t row = 0; row < rows; ++row)
      kernels::add(layer.bias.const_data_ptr<float>(), outputs, result + row * outputs);
}

// x += y, rows alike. libtorch's own threads must stay out of the kernels' path: two pools on the same cores
// wait for each other.
void TransformerModel::accumulate(const Tensor& y, Tensor& x) const {
  if (!useKernels_) {
    x.add_(y);
    return;
  }
  kernels::add(y.const_data_ptr<float>(), static_cast<std::size_t>(x.numel()), x.data_ptr<float>());
}

void TransformerModel::norm(const Tensor& x, const Tensor& weight, Tensor& out) const {
  if (!useKernels_) {
    out.copy_(x * at::rsqrt(x.pow(2).mean(-1, true) + config_.normEpsilon) * weight);
    return;
  }
  const float* source = x.const_data_ptr<float>();
  const float* factors = weight.const_data_ptr<float>();
  float* result = out.data_ptr<float>();
  const std::int64_t width = x.size(1);
  workers_->forPieces(x.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      kernels::rmsNorm(source + row * width, factors, config_.normEpsilon, static_cast<std::size_t>(width),
                       result + row * width);
  });
}

// Each head of queries and keys by its own root mean square, in place.
void TransformerModel::normHeads(Tensor& queryKeyValue, const Block& block) const {
  if (!block.queryNorm.defined()) return;
  const std::int64_t size = config_.headSize, rows = queryKeyValue.size(0);
  if (!useKernels_) {
    const auto part = [&](std::int64_t first, std::int64_t heads, const Tensor& weight) {
      Tensor view = queryKeyValue.narrow(1, first, heads * size).view({rows, heads, size});
      view.copy_(view * at::rsqrt(view.pow(2).mean(-1, true) + config_.normEpsilon) * weight);
    };
    part(0, config_.heads, block.queryNorm);
    part(queryWidth(), config_.keyValueHeads, block.keyNorm);
    return;
  }
  float* first = queryKeyValue.data_ptr<float>();
  const std::int64_t stride = queryKeyValue.size(1), heads = config_.heads + config_.keyValueHeads;
  workers_->forPieces(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t head = 0; head < heads; ++head) {
        float* values = first + row * stride + head * size;
        kernels::rmsNorm(values,
                         (head < config_.heads ? block.queryNorm : block.keyNorm).const_data_ptr<float>(),
                         config_.normEpsilon, static_cast<std::size_t>(size), values);
      }
  });
}

// Half-split rotation of queries and keys in place.
void TransformerModel::rotate(Tensor& queryKeyValue, const std::vector<std::int32_t>& positions) const {
  const std::int64_t half = config_.headSize / 2, heads = config_.heads + config_.keyValueHeads;
  if (!useKernels_) {
    const Tensor at = at::tensor(std::vector<std::int64_t>(positions.begin(), positions.end())).to(device_);
    const Tensor cosine = cosine_.index_select(0, at).unsqueeze(1),
                 sine = sine_.index_select(0, at).unsqueeze(1);
    Tensor view =
        queryKeyValue.narrow(1, 0, heads * config_.headSize).view({queryKeyValue.size(0), heads, 2, half});
    const Tensor a = view.select(2, 0).clone(), b = view.select(2, 1).clone();
    view.select(2, 0).copy_(a * cosine - b * sine);
    view.select(2, 1).copy_(b * cosine + a * sine);
    return;
  }
  float* first = queryKeyValue.data_ptr<float>();
  const float* cosines = cosine_.const_data_ptr<float>();
  const float* sines = sine_.const_data_ptr<float>();
  const std::int64_t stride = queryKeyValue.size(1);
  workers_->forPieces(static_cast<std::int64_t>(positions.size()), kRowGrain,
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t row = begin; row < end; ++row) {
                          const std::int64_t at = positions[static_cast<std::size_t>(row)] * half;
                          for (std::int64_t head = 0; head < heads; ++head)
                            kernels::rotate(first + row * stride + head * config_.headSize, cosines + at,
                                            sines + at, static_cast<std::size_t>(half));
                        }
                      });
}

void TransformerModel::storeKeys(Block& block, const Tensor& queryKeyValue, std::int64_t base) const {
  const std::int64_t rows = queryKeyValue.size(0);
  if (!useKernels_) {
    block.keys.narrow(0, base, rows).copy_(queryKeyValue.narrow(1, queryWidth(), keyWidth()));
    block.values.narrow(0, base, rows).copy_(queryKeyValue.narrow(1, queryWidth() + keyWidth(), keyWidth()));
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* source = queryKeyValue.const_data_ptr<float>() + row * queryKeyValue.size(1) + queryWidth();
    std::copy(source, source + keyWidth(), block.keys.data_ptr<float>() + (base + row) * keyWidth());
    std::copy(source + keyWidth(), source + 2 * keyWidth(),
              block.values.data_ptr<float>() + (base + row) * keyWidth());
  }
}

// `weights`, if asked for, receives [heads, rows, total].
void TransformerModel::attend(const Block& block, const Tensor& queryKeyValue, const Visible& visible,
                              Tensor& out, std::vector<float>* weights) const {
  const std::int64_t rows = queryKeyValue.size(0), group = config_.heads / config_.keyValueHeads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.headSize));
  if (weights) weights->assign(static_cast<std::size_t>(config_.heads * rows * visible.total), 0.0f);
  if (!useKernels_) {
    const auto perHead = [&](const Tensor& cache) {
      return cache.narrow(0, 0, visible.total)
          .view({visible.total, config_.keyValueHeads, config_.headSize})
          .transpose(0, 1)
          .repeat_interleave(group, 0);
    };
    const Tensor query = queryKeyValue.narrow(1, 0, queryWidth())
                             .reshape({rows, config_.heads, config_.headSize})
                             .transpose(0, 1);
    const Tensor probabilities =
        at::softmax(at::matmul(query, perHead(block.keys).transpose(1, 2)) * scale + visible.mask, -1);
    if (weights) {
      const Tensor host = probabilities.to(at::kCPU).contiguous();
      weights->assign(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
    }
    out.copy_(at::matmul(probabilities, perHead(block.values)).transpose(0, 1).reshape({rows, queryWidth()}));
    return;
  }
  workers_->forPieces(rows * config_.heads, 2, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(static_cast<std::size_t>(visible.total)),
        probabilities(weights ? scratch.size() : 0);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / config_.heads, head = item % config_.heads, keyHead = head / group;
      const std::size_t count = visible.count(row);
      const bool listed = !visible.full && !visible.chain;
      const std::int32_t* slots = listed ? visible.slots[static_cast<std::size_t>(row)].data() : nullptr;
      kernels::attend(
          queryKeyValue.const_data_ptr<float>() + row * queryKeyValue.size(1) + head * config_.headSize,
          block.keys.const_data_ptr<float>() + keyHead * config_.headSize,
          block.values.const_data_ptr<float>() + keyHead * config_.headSize,
          static_cast<std::size_t>(keyWidth()), static_cast<std::size_t>(config_.headSize), slots, count,
          scale, out.data_ptr<float>() + row * queryWidth() + head * config_.headSize, scratch.data(),
          weights ? probabilities.data() : nullptr);
      if (weights)
        for (std::size_t i = 0; i < count; ++i)
          (*weights)[static_cast<std::size_t>((head * rows + row) * visible.total) +
                     (slots ? static_cast<std::size_t>(slots[i]) : i)] = probabilities[i];
    }
  });
}

void TransformerModel::gate(const Tensor& gateUp, Tensor& out) const {
  const std::int64_t m = config_.inner;
  if (!useKernels_) {
    out.copy_(at::silu(gateUp.narrow(1, 0, m)) * gateUp.narrow(1, m, m));
    return;
  }
  workers_->forPieces(gateUp.size(0), kGateGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* source = gateUp.const_data_ptr<float>() + row * 2 * m;
      kernels::siluProduct(source, source + m, static_cast<std::size_t>(m), out.data_ptr<float>() + row * m);
    }
  });
}

void TransformerModel::intervene(const ForwardRequest& request, int layer, Tensor& x) const {
  for (const Intervention& change : request.interventions) {
    if (change.layer != layer) continue;
    Tensor rows = change.row < 0 ? x : x.narrow(0, change.row, 1);
    if (change.kind == Intervention::Kind::scale)
      rows.mul_(change.vector.front());
    else {
      const Tensor vector = at::tensor(change.vector).to(device_);
      if (change.kind == Intervention::Kind::add)
        rows.add_(vector);
      else
        rows.copy_(vector.expand_as(rows));
    }
  }
}

void TransformerModel::tap(const ForwardRequest& request, TapSite site, int layer, const Tensor& value,
                           std::vector<TapValue>& taps) {
  for (std::size_t i = 0; i < request.taps.size(); ++i) {
    if (request.taps[i].site != site || request.taps[i].layer != layer) continue;
    const Tensor host = value.to(at::kCPU, at::kFloat).contiguous();
    taps[i] = {request.taps[i],
               host.sizes().vec(),
               {host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel()}};
  }
}

Result<ForwardOutput> TransformerModel::forward(const ForwardRequest& request, const StopToken& stop) {
  DECOSCOPE_TRY(check(request));
  try {
    const c10::InferenceMode guard;
    const auto start = std::chrono::steady_clock::now();
    const auto rows = static_cast<std::int64_t>(request.tokens.size());
    reserveCache(cached_ + rows);
    reserveWorkspace(rows);
    const auto part = [rows](const Tensor& buffer) { return buffer.narrow(0, 0, rows); };
    Tensor x = part(x_), normed = part(normed_), queryKeyValue = part(queryKeyValue_),
           attended = part(attended_), projected = part(projected_), gateUp = part(gateUp_),
           gated = part(gated_);
    const std::vector<std::int32_t> positions = positionsOf(request);
    for (const std::int32_t position : positions)
      if (position < 0 || position >= config_.context)
        return fail(ErrorCode::badInput, "position " + std::to_string(position) + " is outside the context",
                    info_.name);
    const Visible visible = visibleOf(request);
    slotPositions_.resize(static_cast<std::size_t>(cached_));
    slotPositions_.insert(slotPositions_.end(), positions.begin(), positions.end());
    const Visible near = config_.window > 0 ? withinWindow(visible, rows) : Visible();
    ForwardOutput output;
    output.taps.resize(request.taps.size());

    DECOSCOPE_TRY(embed(request.tokens, x));
    const int last = request.lastLayer > 0 ? request.lastLayer : config_.layers;
    intervene(request, 0, x);
    tap(request, TapSite::residual, 0, x, output.taps);
    for (int i = 0; i < last; ++i) {
      if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
      Block& block = blocks_[static_cast<std::size_t>(i)];
      norm(x, block.attentionNorm, normed);
      linear(block.queryKeyValue, normed, queryKeyValue);
      normHeads(queryKeyValue, block);
      if (config_.rotates(i)) rotate(queryKeyValue, positions);
      storeKeys(block, queryKeyValue, cached_);
      const bool watched = std::any_of(request.taps.begin(), request.taps.end(), [&](const Tap& tap) {
        return tap.site == TapSite::attentionWeights && tap.layer == i;
      });
      std::vector<float> weights;
      attend(block, queryKeyValue, config_.slides(i) ? near : visible, attended,
             watched ? &weights : nullptr);
      if (watched)
        tap(request, TapSite::attentionWeights, i,
            at::from_blob(weights.data(), {config_.heads, rows, visible.total}, at::kFloat), output.taps);
      linear(block.output, attended, projected);
      accumulate(projected, x);
      norm(x, block.mlpNorm, normed);
      linear(block.gateUp, normed, gateUp);
      gate(gateUp, gated);
      linear(block.down, gated, projected);
      accumulate(projected, x);
      intervene(request, i + 1, x);
      if (i + 1 < config_.layers) tap(request, TapSite::residual, i + 1, x, output.taps);
    }
    const bool wantsFinal = std::any_of(request.taps.begin(), request.taps.end(), [&](const Tap& tap) {
      return tap.site == TapSite::residual && tap.layer == config_.layers;
    });
    if (wantsFinal && last == config_.layers) {
      norm(x, finalNorm_, normed);
      tap(request, TapSite::residual, config_.layers, normed, output.taps);
    }
    if (!request.logitRows.empty()) {
      const auto wanted = static_cast<std::int64_t>(request.logitRows.size());
      const std::vector<std::int64_t> indices(request.logitRows.begin(), request.logitRows.end());
      const Tensor chosen = wanted == rows ? x
                            : wanted == 1  ? x.narrow(0, indices.front(), 1)
                                           : x.index_select(0, at::tensor(indices).to(device_));
      Tensor headInput = normed.narrow(0, 0, wanted);
      norm(chosen, finalNorm_, headInput);
      // The buffer is used again once no handle holds it.
      if (!logits_.defined() || logits_.size(0) < wanted || logits_.use_count() > 1)
        logits_ = at::empty({std::max<std::int64_t>(wanted, 1), config_.vocabulary}, floats());
      Tensor result = logits_.narrow(0, 0, wanted);
      linear(head_, headInput, result);
      output.logits = std::make_unique<TransformerLogits>(result, device_.is_cpu(), workers_);
    }
    if (request.visibility == Visibility::causal) cached_ += rows;
    output.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return output;
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the forward failed: ") + exception.what(), info_.name,
                "If memory is short, close other programs or choose a smaller precision.");
  }
}

Status TransformerModel::retain(int prefix, std::span<const std::int32_t> slots) {
  if (prefix < 0 || prefix > cached_) return fail(ErrorCode::usage, "cannot retain more than is cached");
  std::int32_t before = prefix - 1;
  bool moves = false;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] <= before || slots[i] >= cached_)
      return fail(ErrorCode::usage, "cache slots must ascend and exist");
    before = slots[i];
    moves |= slots[i] != prefix + static_cast<std::int32_t>(i);
  }
  if (moves) {
    const std::vector<std::int64_t> indices(slots.begin(), slots.end());
    for (Block& block : blocks_)
      for (Tensor* cache : {&block.keys, &block.values}) {
        if (device_.is_cpu()) {
          float* data = cache->data_ptr<float>();
          // A slot never moves up, so ascending order overwrites nothing that is still needed.
          for (std::size_t i = 0; i < slots.size(); ++i)
            std::copy(data + slots[i] * keyWidth(), data + (slots[i] + 1) * keyWidth(),
                      data + (prefix + static_cast<std::int64_t>(i)) * keyWidth());
        } else {
          const Tensor kept = cache->index_select(0, at::tensor(indices).to(device_));
          cache->narrow(0, prefix, kept.size(0)).copy_(kept);
        }
      }
  }
  for (std::size_t i = 0; i < slots.size(); ++i)
    slotPositions_[static_cast<std::size_t>(prefix) + i] = slotPositions_[static_cast<std::size_t>(slots[i])];
  cached_ = prefix + static_cast<std::int64_t>(slots.size());
  return {};
}

Result<at::Device> deviceOf(const std::string& name) {
  if (name == "cpu" || name == "cpu-reference" || (name == "auto" && !torch::cuda::is_available()))
    return at::Device(at::kCPU);
  if (name == "auto" || name == "cuda" || name.starts_with("cuda:")) {
    if (!torch::cuda::is_available())
      return fail(ErrorCode::unsupported, "there is no CUDA device", "--device " + name, "Use --device cpu.");
    try {
      return at::Device(name == "auto" ? "cuda" : name);
    } catch (const std::exception&) {
    }
  }
  return fail(ErrorCode::usage, "unknown device '" + name + "'", "--device",
              "Use auto, cpu, cuda or cuda:N.");
}

Result<at::ScalarType> typeOf(const std::string& name, std::int64_t parameters) {
  // Small models cost little in full precision and then agree with the reference to the last token.
  if (name == "auto") return parameters < 500'000'000 ? at::kFloat : at::kBFloat16;
  if (name == "f32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "f16" || name == "q8" || name == "q4")
    return fail(ErrorCode::unsupported, "the precision " + name + " is not supported yet", "--dtype",
                "Use f32 or bf16.");
  return fail(ErrorCode::usage, "unknown precision '" + name + "'", "--dtype", "Use auto, f32 or bf16.");
}

std::string roleOf(const std::string& name, const TensorNames& names) {
  const std::pair<const std::string*, const char*> roles[] = {{&names.embedding, "token embedding"},
                                                              {&names.finalNorm, "final norm"},
                                                              {&names.head, "LM head"},
                                                              {&names.attentionNorm, "attention norm"},
                                                              {&names.query, "attention query"},
                                                              {&names.key, "attention key"},
                                                              {&names.value, "attention value"},
                                                              {&names.output, "attention output"},
                                                              {&names.queryNorm, "query head norm"},
                                                              {&names.keyNorm, "key head norm"},
                                                              {&names.mlpNorm, "MLP norm"},
                                                              {&names.gate, "MLP gate"},
                                                              {&names.up, "MLP up"},
                                                              {&names.down, "MLP down"}};
  for (const auto& [pattern, role] : roles) {
    if (pattern->empty()) continue;
    const auto hole = pattern->find("{}");
    if (hole == std::string::npos
            ? name == *pattern
            : name.starts_with(pattern->substr(0, hole)) && name.ends_with(pattern->substr(hole + 2)))
      return role;
  }
  return "";
}

}  // namespace

Result<ModelInfo> describeTransformer(const WeightFile& weights, const std::string& path) {
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(weights, path));
  const TransformerConfig& config = architecture.config;
  ModelInfo info;
  info.name = std::filesystem::path(path).filename().string();
  if (weights.format() == "gguf") info.name = std::filesystem::path(path).stem().string();
  if (const auto dot = info.name.rfind(".Q"); dot != std::string::npos) info.name.resize(dot);
  info.path = path;
  info.architecture = config.architecture;
  info.format = weights.format();
  info.licence = weights.text("general.license");
  info.layers = config.layers;
  info.width = config.width;
  info.heads = config.heads;
  info.keyValueHeads = config.keyValueHeads;
  info.contextLength = config.context;
  info.vocabularySize = config.vocabulary;
  info.maskToken = config.maskToken;
  std::map<std::string, std::int64_t> byType;
  for (const WeightTensor& tensor : weights.tensors()) {
    info.parameters += tensor.elements();
    byType[tensor.typeName] += tensor.elements();
    info.tensors.push_back(
        {tensor.name, roleOf(tensor.name, architecture.names), tensor.typeName, tensor.shape});
    info.bytes += static_cast<std::int64_t>(tensor.data.size());
  }
  const auto most = std::max_element(byType.begin(), byType.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != byType.end()) info.fileType = most->first;
  return info;
}

Result<std::unique_ptr<Model>> loadTransformer(std::shared_ptr<const WeightFile> weights,
                                               const std::string& path, const LoadOptions& options,
                                               const StopToken& stop) {
  try {
    const c10::InferenceMode guard;
    DECOSCOPE_ASSIGN(Architecture architecture, architectureOf(*weights, path));
    DECOSCOPE_ASSIGN(ModelInfo info, describeTransformer(*weights, path));
    DECOSCOPE_ASSIGN(const at::Device device, deviceOf(options.device));
    DECOSCOPE_ASSIGN(const at::ScalarType type, typeOf(options.dtype, info.parameters));
    if (options.threads > 0) at::set_num_threads(options.threads);
    info.device = device.str();
    info.dtype = type == at::kFloat ? "f32" : "bf16";
    DECOSCOPE_ASSIGN(info.fingerprint, fileDigest(path));
    auto model = std::make_unique<TransformerModel>(std::move(architecture), std::move(info), device,
                                                    device.is_cpu() && options.device != "cpu-reference",
                                                    type, options.threads);
    DECOSCOPE_TRY(model->load(*weights, options, stop));
    model->file_ = std::move(weights);
    return std::unique_ptr<Model>(std::move(model));
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the model could not be loaded: ") + exception.what(), path,
                "If memory is short, try --dtype bf16.");
  }
}

}  // namespace decoscope
