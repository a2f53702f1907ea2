#include <algorithm>
#include <array>
#include <memory>

#include "core/model/torch/Arithmetic.h"
#include "core/model/torch/kernels/Kernels.h"

namespace decoscope {

namespace {

using at::Tensor;
using kernels::WeightFormat;

// Rows that one thread does alone before another is asked to help.
constexpr std::int64_t kRowGrain = 8, kActivationGrain = 2, kGroupGrain = 4, kHeadGrain = 2, kTurnGrain = 8,
                       kNumberGrain = 16384;
// Queries from which turning the keys pays.
constexpr std::int64_t kTurnFrom = 32;

// libtorch's own threads must stay out of the kernels' path: two pools on the same cores wait for each other.
class KernelArithmetic final : public Arithmetic {
 public:
  explicit KernelArithmetic(std::shared_ptr<kernels::Workers> workers) : workers_(std::move(workers)) {}
  bool packs() const override { return true; }
  void begin(const Frame& frame) override { frame_ = &frame; }
  Tensor tokens(at::Device) override { return indices(frame_->tokens); }
  Tensor positions(at::Device) override { return indices(frame_->positions); }

  void linear(const Linear& layer, const Tensor& x, Tensor& out) override {
    const auto rows = static_cast<std::size_t>(x.size(0));
    const float* source = x.const_data_ptr<float>();
    const kernels::Prepared prepared = prepare(layer.packed, source, rows);
    float* result = out.data_ptr<float>();
    const auto outputs = static_cast<std::size_t>(layer.outputs);
    workers_->forPieces(static_cast<std::int64_t>(layer.packed.groups()), kGroupGrain,
                        [&](std::int64_t begin, std::int64_t end) {
                          kernels::multiply(layer.packed, source, prepared, rows, result, outputs,
                                            static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
                        });
    if (layer.bias.defined())
      for (std::size_t row = 0; row < rows; ++row)
        kernels::add(layer.bias.const_data_ptr<float>(), outputs, result + row * outputs);
  }

  void add(const Tensor& y, float factor, Tensor& x) override {
    const float* source = y.const_data_ptr<float>();
    float* result = x.data_ptr<float>();
    workers_->forPieces(x.numel(), kNumberGrain, [&](std::int64_t begin, std::int64_t end) {
      kernels::add(source + begin, static_cast<std::size_t>(end - begin), result + begin, factor);
    });
  }

  void norm(const Norm& norm, const Tensor& x, Tensor& out) override {
    const float* source = x.const_data_ptr<float>();
    float* result = out.data_ptr<float>();
    const std::int64_t width = x.size(1);
    forRows(x.size(0),
            [&](std::int64_t row) { one(norm, source + row * width, width, 0, result + row * width); });
  }

  void normParts(const Norm& norm, Tensor& buffer, std::int64_t first, std::int64_t count, std::int64_t size,
                 bool own) override {
    float* data = buffer.data_ptr<float>() + first;
    const std::int64_t stride = buffer.size(1);
    forRows(buffer.size(0), [&](std::int64_t row) {
      for (std::int64_t part = 0; part < count; ++part) {
        float* values = data + row * stride + part * size;
        one(norm, values, size, own ? part * size : 0, values);
      }
    });
  }

  void rotate(Tensor& buffer, std::int64_t heads, std::int64_t headSize, RotaryTable& table) override {
    float* data = buffer.data_ptr<float>();
    const auto& [cosines, sines] = table.on(at::kCPU);
    const float *cosine = cosines.const_data_ptr<float>(), *sine = sines.const_data_ptr<float>();
    const std::int64_t stride = buffer.size(1), half = table.rope().dimensions / 2;
    forRows(buffer.size(0), [&](std::int64_t row) {
      const std::int64_t at = frame_->positions[static_cast<std::size_t>(row)] * half;
      for (std::int64_t head = 0; head < heads; ++head)
        kernels::rotate(data + row * stride + head * headSize, cosine + at, sine + at,
                        static_cast<std::size_t>(half));
    });
  }

  void store(const TransformerConfig& config, KeyValueCache& cache, const Tensor& queryKeyValue) override {
    const std::int64_t width = static_cast<std::int64_t>(config.keyValueHeads) * config.headSize,
                       stride = queryKeyValue.size(1), base = frame_->base;
    const float* source = queryKeyValue.const_data_ptr<float>();
    float *keyCache = cache.keys.data_ptr<float>(), *valueCache = cache.values.data_ptr<float>();
    forRows(queryKeyValue.size(0), [&](std::int64_t row) {
      const float* keys = source + (row + 1) * stride - 2 * width;
      std::copy(keys, keys + width, keyCache + (base + row) * width);
      std::copy(keys + width, keys + 2 * width, valueCache + (base + row) * width);
    });
  }

  void attend(const TransformerConfig& config, const Block& block, const KeyValueCache& cache,
              const Tensor& queryKeyValue, bool near, Tensor& out, std::vector<float>* weights) override {
    const Visible& visible = near ? *frame_->near : frame_->visible;
    const std::int64_t rows = queryKeyValue.size(0), heads = config.heads, headSize = config.headSize,
                       keyHeads = config.keyValueHeads, group = heads / keyHeads, total = visible.total(),
                       stride = queryKeyValue.size(1);
    if (weights) weights->assign(static_cast<std::size_t>(heads * rows * total), 0.0f);
    // Queries of one key/value head are taken together where the slots of one row begin those of the next.
    // One row alone is dealt out head by head, which keeps more threads busy.
    const auto tile = rows == 1 ? std::int64_t{1} : static_cast<std::int64_t>(kernels::kQueryTile);
    struct Tile {
      std::int64_t row, keyHead, first, end;  // queries from `first` on, counted from those of `row`
      std::int64_t turned;                    // where its turned keys begin, or −1
    };
    std::vector<Tile> tiles;
    std::vector<Turn> turns;
    std::int64_t turnedSize = 0;
    const auto cacheOf = [&](std::int64_t keyHead, const float* turned) {
      return kernels::AttentionCache{cache.keys.const_data_ptr<float>() + keyHead * headSize,
                                     cache.values.const_data_ptr<float>() + keyHead * headSize,
                                     static_cast<std::size_t>(keyHeads * headSize),
                                     static_cast<std::size_t>(headSize), turned};
    };
    for (const Visible::Strand& strand : visible.strands())
      for (std::int64_t keyHead = 0; keyHead < keyHeads; ++keyHead) {
        const std::int64_t span = strand.rows * group;
        const std::int64_t turned = span < kTurnFrom ? -1 : turnedSize;
        if (turned >= 0) turnedSize = planTurns(visible, strand, keyHead, headSize, turned, turns);
        for (std::int64_t first = 0; first < span; first += tile)
          tiles.push_back({strand.first, keyHead, first, std::min(first + tile, span), turned});
      }
    turned_.resize(std::max(turned_.size(), static_cast<std::size_t>(turnedSize)));
    workers_->forPieces(static_cast<std::int64_t>(turns.size()), kTurnGrain,
                        [&](std::int64_t begin, std::int64_t end) {
                          for (std::int64_t i = begin; i < end; ++i) {
                            const Turn& turn = turns[static_cast<std::size_t>(i)];
                            kernels::turnKeys(cacheOf(turn.keyHead, nullptr), visible.slots(turn.row),
                                              turn.first, turn.count, turned_.data() + turn.at);
                          }
                        });
    const auto longest = static_cast<std::int64_t>(visible.longest());
    const float* sinks = block.sinks.defined() ? block.sinks.const_data_ptr<float>() : nullptr;
    const auto attendTiles = [&](std::int64_t begin, std::int64_t end) {
      const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(tile * longest));
      for (std::int64_t item = begin; item < end; ++item) {
        const auto& [firstRow, keyHead, first, last, turned] = tiles[static_cast<std::size_t>(item)];
        std::array<kernels::AttentionQuery, kernels::kQueryTile> queries;
        std::array<std::int64_t, kernels::kQueryTile> rowOf{}, headOf{};
        std::size_t size = 0;
        for (std::int64_t i = first; i < last; ++i, ++size) {
          const std::int64_t row = rowOf[size] = firstRow + i / group;
          const std::int64_t head = headOf[size] = keyHead * group + i % group;
          queries[size] = {queryKeyValue.const_data_ptr<float>() + row * stride + head * headSize,
                           visible.count(row), sinks ? sinks + head : nullptr,
                           scratch.get() + static_cast<std::int64_t>(size) * longest,
                           out.data_ptr<float>() + (row * heads + head) * headSize};
        }
        const std::int32_t* slots = visible.slots(rowOf[0]);
        kernels::attend({queries.data(), size},
                        cacheOf(keyHead, turned < 0 ? nullptr : turned_.data() + turned), slots,
                        config.scale(), config.attentionCap);
        for (std::size_t q = 0; weights && q < size; ++q)
          for (std::size_t i = 0; i < queries[q].count; ++i)
            (*weights)[static_cast<std::size_t>((headOf[q] * rows + rowOf[q]) * total) +
                       (slots ? static_cast<std::size_t>(slots[i]) : i)] = queries[q].weights[i];
      }
    };
    workers_->forPieces(static_cast<std::int64_t>(tiles.size()), kHeadGrain, attendTiles);
  }

  void activate(Activation activation, bool gated, const Tensor& in, Tensor& out) override {
    const std::int64_t width = out.size(1), stride = in.size(1);
    const float* source = in.const_data_ptr<float>();
    float* result = out.data_ptr<float>();
    workers_->forPieces(in.size(0), kActivationGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        kernels::activate(activation, source + row * stride, gated ? source + row * stride + width : nullptr,
                          static_cast<std::size_t>(width), result + row * width);
    });
  }

 private:
  // Some keys that one strand sees, to be turned.
  struct Turn {
    std::int64_t row, keyHead;
    std::size_t first, count;
    std::int64_t at;
  };
  // Plans the keys of a strand from `at` on; returns where they end.
  static std::int64_t planTurns(const Visible& visible, const Visible::Strand& strand, std::int64_t keyHead,
                                std::int64_t headSize, std::int64_t at, std::vector<Turn>& turns) {
    std::size_t seen = 0;
    for (std::int64_t row = 0; row < strand.rows; ++row)
      seen = std::max(seen, visible.count(strand.first + row));
    for (std::size_t first = 0; first < seen; first += kernels::kGroup) {
      turns.push_back({strand.first, keyHead, first, std::min(kernels::kGroup, seen - first), at});
      at += headSize * static_cast<std::int64_t>(kernels::kGroup);
    }
    return at;
  }

  template <typename Values>
  static Tensor indices(const Values& values) {
    return at::tensor(std::vector<std::int64_t>(values.begin(), values.end()));
  }

  template <typename Body>
  void forRows(std::int64_t rows, Body&& body) {
    workers_->forPieces(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) body(row);
    });
  }

  static void one(const Norm& norm, const float* x, std::int64_t width, std::int64_t offset, float* out) {
    const auto at = [&](const Tensor& tensor) {
      return tensor.defined() ? tensor.const_data_ptr<float>() + offset : nullptr;
    };
    if (norm.kind == NormKind::rootMeanSquare)
      kernels::rmsNorm(x, at(norm.weight), norm.epsilon, static_cast<std::size_t>(width), out);
    else
      kernels::layerNorm(x, at(norm.weight), at(norm.bias), norm.epsilon, static_cast<std::size_t>(width),
                         out);
  }

  kernels::Prepared prepare(const kernels::PackedMatrix& weights, const float* x, std::size_t rows) {
    const std::size_t inputs = weights.inputs;
    kernels::Prepared prepared;
    if (weights.format == WeightFormat::bf16) {
      const std::size_t padded = (inputs + 1) / 2 * 2;
      rounded_.resize(std::max(rounded_.size(), rows * padded));
      inPieces(rows, [&](std::size_t first, std::size_t count) {
        kernels::roundToBfloat16(x + first * inputs, count, inputs, rounded_.data() + first * padded);
      });
      prepared.rounded = rounded_.data();
    } else if (weights.format == WeightFormat::q4) {
      const std::size_t blocks = weights.blocks();
      sums_.resize(std::max(sums_.size(), rows * blocks));
      inPieces(rows, [&](std::size_t first, std::size_t count) {
        kernels::blockSums(x + first * inputs, count, inputs, sums_.data() + first * blocks);
      });
      prepared.sums = sums_.data();
    }
    return prepared;
  }

  template <typename Body>
  void inPieces(std::size_t rows, Body&& body) {
    workers_->forPieces(static_cast<std::int64_t>(rows), kRowGrain,
                        [&](std::int64_t begin, std::int64_t end) {
                          body(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
                        });
  }

  std::shared_ptr<kernels::Workers> workers_;
  const Frame* frame_ = nullptr;
  std::vector<std::uint16_t> rounded_;
  std::vector<float> sums_, turned_;
};

}  // namespace

std::unique_ptr<Arithmetic> makeKernelArithmetic(std::shared_ptr<kernels::Workers> workers) {
  return std::make_unique<KernelArithmetic>(std::move(workers));
}

}  // namespace decoscope
