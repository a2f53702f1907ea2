#include <cmath>
#include <map>

#include "core/model/torch/Arithmetic.h"

namespace decoscope {

namespace {

using at::Tensor;

class TensorArithmetic final : public Arithmetic {
 public:
  bool packs() const override { return false; }
  void begin() override { masks_.clear(); }

  void linear(const Linear& layer, const Tensor& x, Tensor& out) override {
    out.copy_(at::linear(x.to(layer.weight.scalar_type()), layer.weight));
    if (layer.bias.defined()) out.add_(layer.bias);
  }

  void add(const Tensor& y, float factor, Tensor& x) override { x.add_(y, factor); }

  void norm(const Norm& norm, const Tensor& x, Tensor& out) override {
    out.copy_(normed(norm, x, norm.weight, norm.bias));
  }

  void normParts(const Norm& norm, Tensor& buffer, std::int64_t first, std::int64_t count, std::int64_t size,
                 bool own) override {
    Tensor view = buffer.narrow(1, first, count * size).view({buffer.size(0), count, size});
    const auto shaped = [&](const Tensor& weights) {
      return own && weights.defined() ? weights.view({count, size}) : weights;
    };
    view.copy_(normed(norm, view, shaped(norm.weight), shaped(norm.bias)));
  }

  void rotate(Tensor& buffer, std::int64_t heads, std::int64_t headSize, const RotaryTable& table,
              const std::vector<std::int32_t>& positions) override {
    const std::int64_t half = table.rope().dimensions / 2;
    const Tensor at =
        at::tensor(std::vector<std::int64_t>(positions.begin(), positions.end())).to(buffer.device());
    const Tensor cosine = table.cosine().index_select(0, at).unsqueeze(1),
                 sine = table.sine().index_select(0, at).unsqueeze(1);
    Tensor view = buffer.narrow(1, 0, heads * headSize).view({buffer.size(0), heads, headSize});
    const Tensor a = view.narrow(2, 0, half).clone(), b = view.narrow(2, half, half).clone();
    view.narrow(2, 0, half).copy_(a * cosine - b * sine);
    view.narrow(2, half, half).copy_(b * cosine + a * sine);
  }

  void store(const TransformerConfig& config, KeyValueCache& cache, const Tensor& queryKeyValue,
             std::int64_t base) override {
    const std::int64_t width = static_cast<std::int64_t>(config.keyValueHeads) * config.headSize,
                       first = queryKeyValue.size(1) - 2 * width, rows = queryKeyValue.size(0);
    cache.keys.narrow(0, base, rows).copy_(queryKeyValue.narrow(1, first, width));
    cache.values.narrow(0, base, rows).copy_(queryKeyValue.narrow(1, first + width, width));
  }

  void attend(const TransformerConfig& config, const Block& block, const KeyValueCache& cache,
              const Tensor& queryKeyValue, const Visible& visible, Tensor& out,
              std::vector<float>* weights) override {
    const std::int64_t rows = queryKeyValue.size(0), total = visible.total(), heads = config.heads,
                       headSize = config.headSize;
    const auto perHead = [&](const Tensor& slots) {
      return slots.narrow(0, 0, total)
          .view({total, config.keyValueHeads, headSize})
          .transpose(0, 1)
          .repeat_interleave(heads / config.keyValueHeads, 0);
    };
    const Tensor query =
        queryKeyValue.narrow(1, 0, heads * headSize).reshape({rows, heads, headSize}).transpose(0, 1);
    Tensor scores = at::matmul(query, perHead(cache.keys).transpose(1, 2)) * config.scale();
    if (config.attentionCap > 0) scores = at::tanh(scores / config.attentionCap) * config.attentionCap;
    if (!visible.everything()) scores = scores + maskOf(visible, scores.device());
    if (block.sinks.defined())
      scores = at::cat({scores, block.sinks.view({heads, 1, 1}).expand({heads, rows, 1})}, -1);
    const Tensor probabilities = at::softmax(scores, -1).narrow(2, 0, total);
    if (weights) {
      const Tensor host = probabilities.to(at::kCPU).contiguous();
      weights->assign(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
    }
    out.copy_(
        at::matmul(probabilities, perHead(cache.values)).transpose(0, 1).reshape({rows, heads * headSize}));
  }

  void activate(Activation activation, bool gated, const Tensor& in, Tensor& out) override {
    const std::int64_t width = out.size(1);
    const Tensor gate = in.narrow(1, 0, width);
    if (activation == Activation::clampedSwish) {
      const Tensor limited = gate.clamp_max(7), up = in.narrow(1, width, width).clamp(-7, 7);
      out.copy_((up + 1) * limited * at::sigmoid(limited * 1.702));
      return;
    }
    const Tensor activated = activation == Activation::silu       ? at::silu(gate)
                             : activation == Activation::gelu     ? at::gelu(gate)
                             : activation == Activation::geluTanh ? at::gelu(gate, "tanh")
                                                                  : at::relu(gate);
    out.copy_(gated ? activated * in.narrow(1, width, width) : activated);
  }

 private:
  static Tensor normed(const Norm& norm, const Tensor& x, const Tensor& weight, const Tensor& bias) {
    Tensor y;
    if (norm.kind == NormKind::rootMeanSquare) {
      y = x * at::rsqrt(x.pow(2).mean(-1, true) + norm.epsilon);
    } else {
      const Tensor centred = x - x.mean(-1, true);
      y = centred * at::rsqrt(centred.pow(2).mean(-1, true) + norm.epsilon);
    }
    if (weight.defined()) y = y * weight;
    if (bias.defined()) y = y + bias;
    return y;
  }

  // Additive [rows, total]; every layer of a forward asks for the same one or two.
  const Tensor& maskOf(const Visible& visible, at::Device device) {
    Tensor& kept = masks_[&visible];
    if (kept.defined()) return kept;
    Tensor mask = at::full({visible.rows(), visible.total()}, -INFINITY, at::kFloat);
    for (std::int64_t row = 0; row < visible.rows(); ++row) {
      float* values = mask.data_ptr<float>() + row * visible.total();
      const std::int32_t* slots = visible.slots(row);
      for (std::size_t i = 0; i < visible.count(row); ++i)
        values[slots ? static_cast<std::size_t>(slots[i]) : i] = 0;
    }
    return kept = mask.to(device);
  }

  std::map<const Visible*, Tensor> masks_;
};

}  // namespace

std::unique_ptr<Arithmetic> makeTensorArithmetic() {
  return std::make_unique<TensorArithmetic>();
}

}  // namespace decoscope
