#include <optional>
#include <utility>
#include <vector>

#include "core/model/torch/Arithmetic.h"

namespace decoscope {

namespace {

using at::Tensor;

class PlainArithmetic final : public TensorArithmetic {
 public:
  bool packs() const override { return false; }

  void begin(const Frame& frame) override {
    forget();
    frame_ = &frame;
  }
  void beginOn(const DeviceFrame& frame) override {
    forget();
    given_ = &frame;
  }

  Tensor tokens(at::Device device) override { return rows(device).tokens(); }
  Tensor positions(at::Device device) override { return rows(device).positions(); }

  void linear(const Linear& layer, const Tensor& x, Tensor& out) override {
    // Quantised weights are spread out for the product as bf16, which a device multiplies fast.
    const at::ScalarType type = layer.grouped.defined() ? at::kBFloat16 : layer.weight.scalar_type();
    out.copy_(at::linear(x.to(type), layer.grouped.defined() ? layer.grouped.all(type) : layer.weight));
    if (layer.bias.defined()) out.add_(layer.bias);
  }

  void add(const Tensor& y, float factor, Tensor& x) override { x.add_(y, factor); }

  void norm(const Norm& norm, const Tensor& x, Tensor& out) override {
    out.copy_(normed(norm, x, norm.weight, norm.bias));
  }

  void normParts(const Norm& norm, Tensor& buffer, std::int64_t first, std::int64_t count, std::int64_t size,
                 bool own) override {
    Tensor view = buffer.narrow(1, first, count * size).view({buffer.size(0), count, size});
    if (!own || !norm.weight.defined()) {
      view.copy_(normed(norm, view, norm.weight, norm.bias));
      return;
    }
    Tensor y = normed(norm, view, {}, {}) * norm.weight.view({count, size});
    if (norm.bias.defined()) y = y + norm.bias.view({count, size});
    view.copy_(y);
  }

  void rotate(Tensor& buffer, std::int64_t heads, std::int64_t headSize, RotaryTable& table) override {
    const std::int64_t half = table.rope().dimensions / 2;
    const auto& [cosine, sine] = angles(table, buffer.device());
    Tensor view = buffer.narrow(1, 0, heads * headSize).view({buffer.size(0), heads, headSize});
    Tensor a = view.narrow(2, 0, half), b = view.narrow(2, half, half);
    const Tensor turned = a * cosine - b * sine;
    b.copy_(b * cosine + a * sine);
    a.copy_(turned);
  }

  void store(const TransformerConfig& config, KeyValueCache& cache, const Tensor& queryKeyValue) override {
    const std::int64_t width = static_cast<std::int64_t>(config.keyValueHeads) * config.headSize,
                       first = queryKeyValue.size(1) - 2 * width;
    const Tensor& slots = rows(queryKeyValue.device()).slots();
    cache.keys.index_copy_(0, slots, queryKeyValue.narrow(1, first, width));
    cache.values.index_copy_(0, slots, queryKeyValue.narrow(1, first + width, width));
  }

  // Queries that share a key head are rows of one product: the cache is read once and never spread out.
  void attend(const TransformerConfig& config, const Block& block, const KeyValueCache& cache,
              const Tensor& queryKeyValue, bool near, Tensor& out, std::vector<float>* weights) override {
    const DeviceFrame& frame = rows(queryKeyValue.device());
    const std::int64_t count = queryKeyValue.size(0), total = frame.total(), heads = config.heads,
                       headSize = config.headSize, keyHeads = config.keyValueHeads, group = heads / keyHeads;
    const auto perHead = [&](const Tensor& slots) {
      return slots.narrow(0, 0, total).view({total, keyHeads, headSize}).transpose(0, 1);
    };
    const Tensor query = queryKeyValue.narrow(1, 0, heads * headSize)
                             .view({count, keyHeads, group, headSize})
                             .permute({1, 2, 0, 3})
                             .reshape({keyHeads, group * count, headSize});
    Tensor scores = at::bmm(query, perHead(cache.keys).transpose(1, 2)).view({heads, count, total});
    scores.mul_(config.scale());
    if (config.attentionCap > 0) scores.div_(config.attentionCap).tanh_().mul_(config.attentionCap);
    if (const Tensor& mask = frame.mask(near); mask.defined()) scores.add_(mask);
    if (block.sinks.defined())
      scores = at::cat({scores, block.sinks.view({heads, 1, 1}).expand({heads, count, 1})}, -1);
    const Tensor probabilities = at::softmax(scores, -1).narrow(2, 0, total);
    if (weights) {
      const Tensor host = probabilities.to(at::kCPU).contiguous();
      weights->assign(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
    }
    out.view({count, keyHeads, group, headSize})
        .copy_(at::bmm(probabilities.reshape({keyHeads, group * count, total}), perHead(cache.values))
                   .view({keyHeads, group, count, headSize})
                   .permute({2, 0, 1, 3}));
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
    if (gated)
      at::mul_out(out, activated, in.narrow(1, width, width));
    else
      out.copy_(activated);
  }

 private:
  void forget() {
    frame_ = nullptr;
    given_ = nullptr;
    made_.clear();
    angles_.clear();
  }

  const DeviceFrame& rows(at::Device device) {
    if (given_) return *given_;
    for (const auto& [where, frame] : made_)
      if (where == device) return frame;
    return made_
        .emplace_back(device, DeviceFrame(*frame_, frame_->rows(), frame_->visible.total(), false, device))
        .second;
  }

  // [rows, 1, dimensions / 2]; every layer of a forward asks for the same.
  const RotaryTable::Values& angles(RotaryTable& table, at::Device device) {
    for (const auto& [of, where, values] : angles_)
      if (of == &table && where == device) return values;
    const auto& [cosine, sine] = table.on(device);
    const Tensor at = positions(device);
    angles_.push_back(
        {&table, device, {cosine.index_select(0, at).unsqueeze(1), sine.index_select(0, at).unsqueeze(1)}});
    return angles_.back().values;
  }

  static Tensor normed(const Norm& norm, const Tensor& x, const Tensor& weight, const Tensor& bias) {
    const auto optional = [](const Tensor& tensor) {
      return tensor.defined() ? std::optional(tensor) : std::nullopt;
    };
    const std::int64_t size = x.size(-1);
    if (norm.kind == NormKind::layer)
      return at::layer_norm(x, {size}, optional(weight), optional(bias), norm.epsilon);
    const Tensor y = at::rms_norm(x, {size}, optional(weight), norm.epsilon);
    return bias.defined() ? y + bias : y;
  }

  struct Angles {
    const RotaryTable* of;
    at::Device where;
    RotaryTable::Values values;
  };
  const Frame* frame_ = nullptr;
  const DeviceFrame* given_ = nullptr;
  std::vector<std::pair<at::Device, DeviceFrame>> made_;
  std::vector<Angles> angles_;
};

}  // namespace

std::unique_ptr<TensorArithmetic> makeTensorArithmetic() {
  return std::make_unique<PlainArithmetic>();
}

}  // namespace decoscope
