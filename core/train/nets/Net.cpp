#include "core/train/nets/Net.h"

#include <algorithm>
#include <cmath>

#include "core/model/torch/Rotary.h"
#include "core/train/nets/Draws.h"

namespace decoscope::train {

namespace {

using at::Tensor;

std::string nameOf(std::string pattern, int layer) {
  if (const auto at = pattern.find("{}"); at != std::string::npos)
    pattern.replace(at, 2, std::to_string(layer));
  return pattern;
}

std::string biasName(const std::string& weight) {
  std::string name = weight;
  const auto at = name.rfind("weight");
  return at == std::string::npos ? name + "_bias" : name.replace(at, 6, "bias");
}

Status checkTrainable(const Architecture& architecture) {
  const TransformerConfig& config = architecture.config;
  std::string what;
  if (config.mixture.experts > 0) what = "experts";
  if (config.sinks) what = "attention sinks";
  if (config.learnedPositions) what = "learned positions";
  if (config.fused != FusedOrder::separate || config.fusedGateUp || config.transposed ||
      config.rotaryInterleaved)
    what = "tensors in another layout than Llama's";
  if (config.headNorm == HeadNorm::perHeadOwn) what = "a norm of its own for each head";
  if (config.localRope) what = "a rotation of their own for sliding layers";
  if (config.normWeightsLessOne) what = "norms stored as weight − 1";
  if (what.empty()) return {};
  return fail(ErrorCode::unsupported, "the trainer cannot train a model with " + what, config.architecture,
              "Choose a shape of Llama's kind.");
}

// The last block of a branch is scaled down at the start.
bool endsBranch(const Architecture& architecture, const std::string& pattern) {
  return pattern == architecture.names.output || pattern == architecture.names.down;
}

}  // namespace

Result<Net> Net::create(const Architecture& architecture, std::uint64_t seed) {
  DECOSCOPE_TRY(checkTrainable(architecture));
  Net net(architecture);
  const TransformerConfig& config = architecture.config;
  const TensorNames& names = architecture.names;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto add = [&](const std::string& name, at::IntArrayRef shape, double deviation) {
    Tensor value = deviation > 0 ? at::normal(0, deviation, shape, generator, at::TensorOptions(at::kFloat))
                                 : at::ones(shape, at::kFloat);
    net.add(name, value, deviation > 0);
  };
  const std::int64_t width = config.width,
                     queryWidth = static_cast<std::int64_t>(config.heads) * config.headSize,
                     keyWidth = static_cast<std::int64_t>(config.keyValueHeads) * config.headSize;
  constexpr double kDeviation = 0.02;
  const double branchEnd = kDeviation / std::sqrt(2.0 * config.layers);
  const auto matrix = [&](const std::string& pattern, int layer, std::int64_t outputs, std::int64_t inputs) {
    if (!pattern.empty())
      add(nameOf(pattern, layer), {outputs, inputs},
          endsBranch(architecture, pattern) ? branchEnd : kDeviation);
  };
  const auto vector = [&](const std::string& pattern, int layer, std::int64_t size) {
    if (!pattern.empty()) add(nameOf(pattern, layer), {size}, 0);
  };
  if (config.followsFeatures) {
    matrix(names.fuse, -1, width, 2 * width);
  } else {
    matrix(names.embedding, -1, config.vocabulary, width);
    if (!config.tied) matrix(names.head, -1, config.vocabulary, width);
  }
  for (int layer = 0; layer < config.layers; ++layer) {
    matrix(names.query, layer, queryWidth, width);
    matrix(names.key, layer, keyWidth, width);
    matrix(names.value, layer, keyWidth, width);
    matrix(names.output, layer, width, queryWidth);
    if (config.gated) matrix(names.gate, layer, config.inner, width);
    matrix(names.up, layer, config.inner, width);
    matrix(names.down, layer, width, config.inner);
    if (config.normsWithoutWeights) continue;
    if (config.normBeforeAttention) vector(names.attentionNorm, layer, width);
    if (config.normAfterAttention) vector(names.postAttentionNorm, layer, width);
    if (config.normBeforeMlp && !config.sharedInputNorm) vector(names.mlpNorm, layer, width);
    if (config.normAfterMlp) vector(names.postMlpNorm, layer, width);
    if (config.headNorm != HeadNorm::none) {
      const bool whole = config.headNorm == HeadNorm::whole;
      vector(names.queryNorm, layer, whole ? queryWidth : config.headSize);
      vector(names.keyNorm, layer, whole ? keyWidth : config.headSize);
    }
  }
  if (!config.normsWithoutWeights && !config.followsFeatures) vector(names.finalNorm, -1, width);
  return net;
}

void Net::borrow(Tensor embedding, Tensor head, std::vector<std::int64_t> distances) {
  borrowedEmbedding_ = std::move(embedding);
  borrowedHead_ = std::move(head);
  rankedDistances_ = std::move(distances);
}

std::map<std::string, std::vector<std::int64_t>> Net::constants() const {
  if (rankedDistances_.empty()) return {};
  return {{architecture_.names.ranked, rankedDistances_}};
}

// ---- the forward ----

Tensor Net::weight(const std::string& pattern, int layer) const {
  const Parameter* parameter = pattern.empty() ? nullptr : find(nameOf(pattern, layer));
  return parameter ? parameter->value : Tensor();
}

Tensor Net::linear(const Tensor& x, const std::string& pattern, int layer, at::ScalarType precision) const {
  const std::string name = nameOf(pattern, layer);
  const Parameter* bias = find(biasName(name));
  Tensor y = at::linear(x.to(precision), find(name)->value.to(precision));
  return bias ? y + bias->value.to(precision) : y;
}

Tensor Net::norm(const Tensor& x, const std::string& pattern, int layer, NormKind kind) const {
  const Tensor scale = weight(pattern, layer);
  const Parameter* bias = pattern.empty() ? nullptr : find(biasName(nameOf(pattern, layer)));
  const Tensor centred = kind == NormKind::layer ? x - x.mean(-1, true) : x;
  Tensor y = centred * at::rsqrt(centred.square().mean(-1, true) + config().normEpsilon);
  if (scale.defined()) y = y * scale;
  return bias ? y + bias->value : y;
}

void Net::prepare(std::int64_t length, at::ScalarType precision) {
  if (cosine_.defined() && cosine_.size(0) == length && cosine_.device() == device() &&
      (!mask_.defined() || mask_.scalar_type() == precision))
    return;
  const RotaryFrequencies frequencies = rotaryFrequencies(config().rope, length);
  const Tensor angles =
      at::outer(at::arange(length, at::kFloat), at::tensor(frequencies.inverse, at::kFloat));
  // Made on the host, so that they are the same on every device.
  cosine_ = (at::cos(angles) * frequencies.factor).to(device());
  sine_ = (at::sin(angles) * frequencies.factor).to(device());
  if (config().diffusion) return;
  mask_ = at::full({length, length}, -INFINITY, at::kFloat).triu(1);
  if (config().window > 0)
    windowMask_ = (mask_ + at::full({length, length}, -INFINITY, at::kFloat).tril(-config().window))
                      .to(device(), precision);
  mask_ = mask_.to(device(), precision);
}

// Half-split rotation of [rows, length, heads, size].
Tensor Net::rotated(const Tensor& x) const {
  const std::int64_t half = cosine_.size(1), size = x.size(3);
  const Tensor cosine = cosine_.unsqueeze(1), sine = sine_.unsqueeze(1);
  const Tensor a = x.narrow(3, 0, half), b = x.narrow(3, half, half);
  std::vector<Tensor> parts = {a * cosine - b * sine, b * cosine + a * sine};
  if (size > 2 * half) parts.push_back(x.narrow(3, 2 * half, size - 2 * half));
  return at::cat(parts, 3);
}

Tensor Net::attention(const Tensor& x, int layer, const NetRequest& request, std::int64_t rows,
                      std::int64_t length) {
  const TransformerConfig& c = config();
  const TensorNames& names = architecture_.names;
  const at::ScalarType precision = request.precision;
  const auto project = [&](const std::string& pattern, const std::string& normName, std::int64_t heads) {
    Tensor y = linear(x, pattern, layer, precision).to(at::kFloat);
    if (c.clip > 0) y = y.clamp(-c.clip, c.clip);
    if (c.headNorm == HeadNorm::whole && !normName.empty()) y = norm(y, normName, layer, c.headNormKind);
    y = y.view({rows, length, heads, c.headSize});
    if (c.headNorm == HeadNorm::perHead && !normName.empty()) y = norm(y, normName, layer, c.headNormKind);
    return y;
  };
  Tensor q = project(names.query, names.queryNorm, c.heads),
         k = project(names.key, names.keyNorm, c.keyValueHeads),
         v = project(names.value, {}, c.keyValueHeads);
  if (c.rotates(layer)) {
    q = rotated(q);
    k = rotated(k);
  }
  const auto perHead = [&](const Tensor& y, std::int64_t heads) {
    Tensor z = y.to(precision).transpose(1, 2);
    if (heads != c.heads) z = z.repeat_interleave(c.heads / heads, 1);
    return z.reshape({rows * c.heads, length, c.headSize});
  };
  const Tensor keys = perHead(k, c.keyValueHeads).transpose(1, 2), queries = perHead(q, c.heads);
  const Tensor& mask = c.slides(layer) ? windowMask_ : mask_;
  Tensor scores;
  if (c.attentionCap > 0 || !mask.defined()) {
    scores = at::bmm(queries, keys) * c.scale();
    if (c.attentionCap > 0) scores = at::tanh(scores / c.attentionCap) * c.attentionCap;
    if (mask.defined()) scores = scores + mask;
  } else {
    scores = at::baddbmm(mask.expand({rows * c.heads, length, length}), queries, keys, 1, c.scale());
  }
  const Tensor mixed = at::bmm(at::softmax(scores, -1), perHead(v, c.keyValueHeads));
  const Tensor joined = mixed.view({rows, c.heads, length, c.headSize})
                            .transpose(1, 2)
                            .reshape({rows * length, c.heads * c.headSize});
  return linear(joined, names.output, layer, precision).to(at::kFloat);
}

Tensor Net::mlp(const Tensor& x, int layer, at::ScalarType precision) const {
  const TensorNames& names = architecture_.names;
  const auto activated = [&](const Tensor& y) {
    switch (config().activation) {
      case Activation::silu:
        return at::silu(y);
      case Activation::gelu:
        return at::gelu(y);
      case Activation::geluTanh:
        return at::gelu(y, "tanh");
      default:
        return at::relu(y);
    }
  };
  const Tensor up = linear(x, names.up, layer, precision);
  const Tensor neurons =
      config().gated ? activated(linear(x, names.gate, layer, precision)) * up : activated(up);
  return linear(neurons, names.down, layer, precision).to(at::kFloat);
}

// The stream before the first block, [rows · length, width].
Tensor Net::entry(const NetRequest& request) const {
  const TransformerConfig& c = config();
  const TensorNames& names = architecture_.names;
  const std::int64_t width = c.width;
  if (c.followsFeatures) {
    const Tensor known = at::embedding(borrowedEmbedding_, request.tokens).reshape({-1, width});
    return linear(at::cat({known, request.features.reshape({-1, width})}, 1), names.fuse, -1,
                  request.precision)
        .to(at::kFloat);
  }
  const Tensor x = at::embedding(weight(names.embedding), request.tokens).view({-1, width});
  return c.embeddingScale == 1 ? x : x * c.embeddingScale;
}

std::vector<Tensor> Net::states(const NetRequest& request) {
  const TransformerConfig& c = config();
  const TensorNames& names = architecture_.names;
  const std::int64_t rows = request.tokens.size(0), length = request.tokens.size(1);
  prepare(length, request.precision);
  Tensor x = entry(request);
  std::vector<Tensor> found;
  for (int layer = 0; layer < c.layers; ++layer) {
    Tensor kept;  // rows of the batch in which the block stays
    const double drop =
        c.layers > 1 ? request.layerDrop * (std::exp2(static_cast<double>(layer) / (c.layers - 1)) - 1) : 0;
    if (drop > 0 && request.generator)
      kept = (uniforms({rows, 1}, *request.generator, x.options()) >= drop)
                 .to(at::kFloat)
                 .repeat_interleave(length, 0);
    const auto branch = [&](Tensor y) {
      if (c.residualScale != 1) y = y * c.residualScale;
      return kept.defined() ? y * kept : y;
    };
    const Tensor entered = c.normBeforeAttention ? norm(x, names.attentionNorm, layer, c.norm) : x;
    Tensor attended = attention(entered, layer, request, rows, length);
    if (c.normAfterAttention) attended = norm(attended, names.postAttentionNorm, layer, c.norm);
    const Tensor before = x;
    x = x + branch(attended);
    const Tensor& read = c.parallelResidual ? before : x;
    Tensor inner = c.sharedInputNorm ? entered
                   : c.normBeforeMlp ? norm(read, names.mlpNorm, layer, c.norm)
                                     : read;
    inner = mlp(inner, layer, request.precision);
    if (c.normAfterMlp) inner = norm(inner, names.postMlpNorm, layer, c.norm);
    x = x + branch(inner);
    if (std::find(request.exits.begin(), request.exits.end(), layer + 1) != request.exits.end())
      found.push_back(c.followsFeatures ? x : norm(x, names.finalNorm, -1, c.norm));
  }
  return found;
}

Tensor Net::logits(const Tensor& states, at::ScalarType precision) const {
  const TransformerConfig& c = config();
  const TensorNames& names = architecture_.names;
  Tensor result = c.followsFeatures
                      ? at::linear(states.to(precision), borrowedHead_.to(precision)).to(at::kFloat)
                      : linear(states, c.tied ? names.embedding : names.head, -1, precision).to(at::kFloat);
  if (c.logitScale != 1) result = result * c.logitScale;
  if (c.logitCap > 0) result = at::tanh(result / c.logitCap) * c.logitCap;
  return result;
}

Result<Net> frozenNet(const std::string& folder) {
  DECOSCOPE_ASSIGN(const auto weights, openWeights(folder));
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(*weights, folder));
  DECOSCOPE_ASSIGN(Net net, Net::create(architecture, 0));
  DECOSCOPE_TRY(net.load(*weights));
  net.freeze();
  return net;
}

Tensor lastStates(Net& net, const Tensor& tokens, const Tensor& features, at::ScalarType precision) {
  NetRequest request;
  request.tokens = tokens;
  request.features = features;
  request.exits = {net.architecture().config.layers};
  request.precision = precision;
  return net.states(request).front();
}

}  // namespace decoscope::train
