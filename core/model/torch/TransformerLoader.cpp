#include "core/model/torch/TransformerLoader.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>

#include "core/model/torch/DraftHead.h"
#include "core/model/weights/Decoders.h"
#include "core/model/weights/FourBit.h"

namespace decoscope {

namespace {

using at::Tensor;
using kernels::WeightFormat;

std::string fill(std::string pattern, const char* hole, std::int64_t number) {
  if (const auto at = pattern.find(hole); at != std::string::npos)
    pattern.replace(at, std::char_traits<char>::length(hole), std::to_string(number));
  return pattern;
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Other names under which checkpoints hold the same tensor.
std::vector<std::string> spellings(const std::string& name) {
  std::vector<std::string> list = {name};
  if (name.starts_with("model.")) {
    list.push_back("language_model." + name);
    list.push_back("model.language_model." + name.substr(6));
  }
  if (name.starts_with("lm_head.")) list.push_back("language_model." + name);
  for (const char* prefix : {"model.", "transformer.", "gpt_neox."})
    if (name.starts_with(prefix)) list.push_back(name.substr(std::char_traits<char>::length(prefix)));
  return list;
}

Result<std::shared_ptr<const Linear>> shared(Result<Linear> layer) {
  if (!layer) return tl::unexpected<Error>(std::move(layer.error()));
  return std::make_shared<const Linear>(std::move(*layer));
}

// Whole numbers of a file's rows, for a matrix that shares its tensor with others.
using RowMap = std::function<std::int64_t(std::int64_t)>;

// One logical matrix [rows, inputs] inside a tensor.
struct Part {
  const WeightTensor* tensor = nullptr;
  std::int64_t rows = 0;
  RowMap source;                         // null: the row's own number
  std::int64_t first = 0;                // element where the matrix begins (experts in one tensor)
  std::int64_t transposedRows = 0;       // > 0: stored [inputs, so many]
  const WeightTensor* scales = nullptr;  // microscaling: `tensor` holds nibbles, this their exponents
  const WeightTensor* bias = nullptr;
  std::int64_t firstBias = 0;
  std::int64_t from(std::int64_t row) const { return source ? source(row) : row; }
};

class Loader {
 public:
  Loader(const WeightFile& weights, const Architecture& architecture, const LoadPlan& plan,
         kernels::Workers& workers, const ProgressFunction& progress, const StopToken& stop)
      : weights_(weights),
        config_(architecture.config),
        names_(architecture.names),
        plan_(plan),
        workers_(workers),
        progress_(progress),
        stop_(stop),
        device_(plan.blocks.front()) {}

  Result<Transformer> load();

 private:
  std::int64_t queryWidth() const { return static_cast<std::int64_t>(config_.heads) * config_.headSize; }
  std::int64_t keyWidth() const {
    return static_cast<std::int64_t>(config_.keyValueHeads) * config_.headSize;
  }

  const WeightTensor* find(const std::string& name) const { return findTensor(weights_, name); }
  Result<const WeightTensor*> need(const std::string& name, const std::vector<std::int64_t>& shape) const;
  const WeightTensor* biasOf(const std::string& weightName) const;
  RowMap interleaved() const;
  Result<Part> part(const std::string& pattern, int layer, std::int64_t rows, std::int64_t inputs,
                    RowMap source = {}, std::int64_t tensorRows = 0) const;

  Result<Tensor> vector(const WeightTensor& tensor, std::int64_t first, std::int64_t size) const;
  Result<Norm> norm(const std::string& name, std::int64_t size) const;
  Status fillNorm(Norm& norm, const std::string& name, const WeightTensor& weight, std::int64_t size) const;
  Result<Norm> headNorm(const std::string& name, int heads) const;
  Result<Linear> linear(const std::vector<Part>& parts, std::int64_t inputs, bool isHead = false,
                        bool exact = false) const;
  WeightFormat formatOf(const std::vector<Part>& parts, bool isHead, bool exact) const;
  Status rowsOf(const Part& part, std::int64_t inputs,
                const std::function<void(std::int64_t, const float*)>& take) const;
  Status fourBitRowsOf(const Part& part, std::int64_t inputs,
                       const std::function<void(std::int64_t, const FourBitRow&)>& take) const;
  template <typename Work>
  Status forRows(std::int64_t rows, Work&& work) const;

  Result<Block> block(int layer) const;
  Status loadEnds(Transformer& model);
  Result<Tensor> table(const WeightTensor& embedding) const;
  Result<Linear> queryKeyValue(int layer) const;
  Result<Experts> experts(int layer) const;
  Result<Part> expertPart(const std::string& pattern, int layer, int expert, std::int64_t rows,
                          std::int64_t inputs) const;
  Result<std::vector<Part>> alternatingParts(const std::string& pattern, int layer, int expert,
                                             std::int64_t outputs, std::int64_t inputs,
                                             bool alternates) const;

  const WeightFile& weights_;
  const TransformerConfig& config_;
  const TensorNames& names_;
  const LoadPlan& plan_;
  kernels::Workers& workers_;
  const ProgressFunction& progress_;
  const StopToken& stop_;
  at::Device device_;  // of what is being read
};

// ---- finding ----

Result<const WeightTensor*> Loader::need(const std::string& name,
                                         const std::vector<std::int64_t>& shape) const {
  const WeightTensor* tensor = find(name);
  if (!tensor)
    return fail(ErrorCode::badInput, "tensor '" + name + "' is missing", weights_.path(),
                "The file is incomplete or of another architecture than it says.");
  if (tensor->shape != shape)
    return fail(
        ErrorCode::badInput,
        "tensor '" + name + "' has the shape " + shapeText(tensor->shape) + ", expected " + shapeText(shape),
        weights_.path(), "The configuration does not fit the weights.");
  return tensor;
}

const WeightTensor* Loader::biasOf(const std::string& weightName) const {
  const auto at = weightName.rfind("weight");
  return at == std::string::npos ? find(weightName + "_bias")
                                 : find(std::string(weightName).replace(at, 6, "bias"));
}

// Undoes the order in which GGUF stores the query and key rows of some families.
RowMap Loader::interleaved() const {
  if (!config_.rotaryInterleaved) return {};
  const std::int64_t size = config_.headSize, half = size / 2;
  return [size, half](std::int64_t row) {
    const std::int64_t within = row % size;
    return row - within + within % half * 2 + within / half;
  };
}

// `tensorRows` counts all rows of the tensor where the matrix is only some of them.
Result<Part> Loader::part(const std::string& pattern, int layer, std::int64_t rows, std::int64_t inputs,
                          RowMap source, std::int64_t tensorRows) const {
  const std::string name = fill(pattern, "{}", layer);
  const std::int64_t all = tensorRows > 0 ? tensorRows : rows;
  const bool transposed = config_.transposed && layer >= 0;
  Part result;
  DECOSCOPE_ASSIGN(result.tensor, need(name, transposed ? std::vector<std::int64_t>{inputs, all}
                                                        : std::vector<std::int64_t>{all, inputs}));
  result.rows = rows;
  result.source = std::move(source);
  result.transposedRows = transposed ? all : 0;
  result.bias = biasOf(name);
  return result;
}

// ---- reading ----

template <typename Work>
Status Loader::forRows(std::int64_t rows, Work&& work) const {
  constexpr std::int64_t kPiece = 16;  // rows of one group of the kernels go to one thread
  Status failure;
  std::mutex mutex;
  workers_.forPieces((rows + kPiece - 1) / kPiece, 4, [&](std::int64_t begin, std::int64_t end) {
    if (Status status = work(begin * kPiece, std::min(end * kPiece, rows)); !status) {
      const std::lock_guard lock(mutex);
      failure = status;
    }
  });
  return failure;
}

Status Loader::rowsOf(const Part& part, std::int64_t inputs,
                      const std::function<void(std::int64_t, const float*)>& take) const {
  if (part.transposedRows > 0) {
    std::vector<float> whole(static_cast<std::size_t>(part.transposedRows * inputs));
    DECOSCOPE_TRY(dequantise(*part.tensor, part.first, whole));
    return forRows(part.rows, [&](std::int64_t begin, std::int64_t end) -> Status {
      std::vector<float> row(static_cast<std::size_t>(inputs));
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t from = part.from(r);
        for (std::int64_t k = 0; k < inputs; ++k)
          row[static_cast<std::size_t>(k)] = whole[static_cast<std::size_t>(k * part.transposedRows + from)];
        take(r, row.data());
      }
      return {};
    });
  }
  return forRows(part.rows, [&](std::int64_t begin, std::int64_t end) -> Status {
    std::vector<float> row(static_cast<std::size_t>(inputs));
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t at = part.first + part.from(r) * inputs;
      if (part.scales)
        decoders::mxfp4Apart(part.tensor->data.data() + at / 2, part.scales->data.data() + at / 32,
                             inputs / 32, row.data());
      else
        DECOSCOPE_TRY(dequantise(*part.tensor, at, row));
      take(r, row.data());
    }
    return {};
  });
}

Status Loader::fourBitRowsOf(const Part& part, std::int64_t inputs,
                             const std::function<void(std::int64_t, const FourBitRow&)>& take) const {
  return forRows(part.rows, [&](std::int64_t begin, std::int64_t end) -> Status {
    FourBitRow row;
    for (std::int64_t r = begin; r < end; ++r) {
      DECOSCOPE_TRY(readFourBitRow(*part.tensor, part.first + part.from(r) * inputs, inputs, row));
      take(r, row);
    }
    return {};
  });
}

Result<Tensor> Loader::vector(const WeightTensor& tensor, std::int64_t first, std::int64_t size) const {
  Tensor host = at::empty({size}, at::kFloat);
  DECOSCOPE_TRY(dequantise(tensor, first, {host.data_ptr<float>(), static_cast<std::size_t>(size)}));
  return host.to(device_);
}

Status Loader::fillNorm(Norm& norm, const std::string& name, const WeightTensor& weight,
                        std::int64_t size) const {
  DECOSCOPE_ASSIGN(norm.weight, vector(weight, 0, size));
  if (config_.normWeightsLessOne) norm.weight.add_(1);
  if (const WeightTensor* bias = biasOf(name); bias && bias->elements() == size) {
    DECOSCOPE_ASSIGN(norm.bias, vector(*bias, 0, size));
  }
  return {};
}

Result<Norm> Loader::norm(const std::string& name, std::int64_t size) const {
  Norm norm{config_.norm, config_.normEpsilon, {}, {}, true};
  if (config_.normsWithoutWeights) return norm;
  DECOSCOPE_ASSIGN(const WeightTensor* weight, need(name, {size}));
  DECOSCOPE_TRY(fillNorm(norm, name, *weight, size));
  return norm;
}

Result<Norm> Loader::headNorm(const std::string& name, int heads) const {
  Norm norm{config_.headNormKind, config_.normEpsilon, {}, {}, true};
  const std::int64_t size = config_.headSize;
  if (config_.headNorm == HeadNorm::perHeadOwn && name.find("{h}") != std::string::npos) {
    std::vector<Tensor> weights;
    for (int head = 0; head < heads; ++head) {
      DECOSCOPE_ASSIGN(const WeightTensor* weight, need(fill(name, "{h}", head), {size}));
      DECOSCOPE_ASSIGN(Tensor values, vector(*weight, 0, size));
      weights.push_back(std::move(values));
    }
    norm.weight = at::cat(weights).contiguous();
    return norm;
  }
  const std::int64_t all = config_.headNorm == HeadNorm::perHead ? size : heads * size;
  const WeightTensor* weight = find(name);
  if (!weight || weight->elements() != all) {
    DECOSCOPE_ASSIGN(weight, need(name, {all}));
  }
  DECOSCOPE_TRY(fillNorm(norm, name, *weight, all));
  return norm;
}

WeightFormat Loader::formatOf(const std::vector<Part>& parts, bool isHead, bool exact) const {
  if (exact) return WeightFormat::f32;
  if (plan_.precision != Precision::q4) return plan_.precision;
  const bool four = std::all_of(parts.begin(), parts.end(), [&](const Part& part) {
    const ElementType type = part.tensor->type;
    const bool whole = type == ElementType::f32 || type == ElementType::f16 || type == ElementType::bf16 ||
                       type == ElementType::f64;
    return holdsFourBitRows(*part.tensor) || part.scales || type == ElementType::mxfp4 || (whole && !isHead);
  });
  return four ? WeightFormat::q4 : WeightFormat::q8;
}

Result<Linear> Loader::linear(const std::vector<Part>& parts, std::int64_t inputs, bool isHead,
                              bool exact) const {
  Linear layer;
  layer.inputs = inputs;
  for (const Part& part : parts) layer.outputs += part.rows;
  const WeightFormat format = formatOf(parts, isHead, exact);
  const bool packs = plan_.packs || format == WeightFormat::q8 || format == WeightFormat::q4;
  Tensor host;
  if (packs)
    layer.packed.resize(static_cast<std::size_t>(layer.outputs), static_cast<std::size_t>(inputs), format);
  else
    host = at::empty({layer.outputs, inputs}, at::kFloat);
  std::int64_t first = 0;
  Tensor bias = at::zeros({layer.outputs}, at::kFloat);
  bool biased = false;
  for (const Part& part : parts) {
    if (format == WeightFormat::q4 && holdsFourBitRows(*part.tensor) && part.transposedRows == 0) {
      DECOSCOPE_TRY(fourBitRowsOf(part, inputs, [&](std::int64_t row, const FourBitRow& values) {
        layer.packed.setFourBitRow(static_cast<std::size_t>(first + row), values);
      }));
    } else {
      DECOSCOPE_TRY(rowsOf(part, inputs, [&](std::int64_t row, const float* values) {
        if (packs)
          layer.packed.setRow(static_cast<std::size_t>(first + row), values);
        else
          std::copy(values, values + inputs, host.data_ptr<float>() + (first + row) * inputs);
      }));
    }
    if (part.bias) {
      std::int64_t end = 0;
      for (std::int64_t row = 0; row < part.rows; ++row) end = std::max(end, part.from(row) + 1);
      if (part.bias->elements() < part.firstBias + end)
        return fail(ErrorCode::badInput, "tensor '" + part.bias->name + "' is too small for its weight",
                    weights_.path());
      std::vector<float> values(static_cast<std::size_t>(end));
      DECOSCOPE_TRY(dequantise(*part.bias, part.firstBias, values));
      for (std::int64_t row = 0; row < part.rows; ++row)
        bias.data_ptr<float>()[first + row] = values[static_cast<std::size_t>(part.from(row))];
      biased = true;
    }
    first += part.rows;
    part.tensor->release();
  }
  if (biased) layer.bias = bias.to(device_);
  if (plan_.packs) return layer;
  if (packs) {
    layer.grouped = groupedFrom(layer.packed, device_);
    layer.packed = {};
  } else {
    layer.weight = host.to(device_, exact ? at::kFloat : plan_.scalarType());
  }
  return layer;
}

// ---- layers ----

Result<Linear> Loader::queryKeyValue(int layer) const {
  const std::int64_t d = config_.width, q = queryWidth(), k = keyWidth(), size = config_.headSize;
  const RowMap order = interleaved();
  if (config_.fused == FusedOrder::separate) {
    DECOSCOPE_ASSIGN(const Part query, part(names_.query, layer, q, d, order));
    DECOSCOPE_ASSIGN(const Part key, part(names_.key, layer, k, d, order));
    DECOSCOPE_ASSIGN(const Part value, part(names_.value, layer, k, d));
    return linear({query, key, value}, d);
  }
  const std::int64_t share = config_.heads / config_.keyValueHeads, stride = (share + 2) * size;
  const bool groups = config_.fused == FusedOrder::groups;
  const RowMap query = [=](std::int64_t row) {
    if (!groups) return order ? order(row) : row;
    const std::int64_t head = row / size;
    return head / share * stride + head % share * size + row % size;
  };
  const auto behind = [=](std::int64_t which) -> RowMap {  // 0: keys, 1: values
    return [=](std::int64_t row) {
      if (!groups) return q + which * k + (which == 0 && order ? order(row) : row);
      return row / size * stride + (share + which) * size + row % size;
    };
  };
  std::vector<Part> parts;
  for (const auto& [rows, map] : {std::pair(q, query), std::pair(k, behind(0)), std::pair(k, behind(1))}) {
    DECOSCOPE_ASSIGN(Part one, part(names_.queryKeyValue, layer, rows, d, map, q + 2 * k));
    parts.push_back(std::move(one));
  }
  return linear(parts, d);
}

Result<Part> Loader::expertPart(const std::string& pattern, int layer, int expert, std::int64_t rows,
                                std::int64_t inputs) const {
  if (config_.mixture.layout == ExpertLayout::separate)
    return part(fill(pattern, "{e}", expert), layer, rows, inputs);
  const std::string name = fill(pattern, "{}", layer);
  Part result;
  DECOSCOPE_ASSIGN(result.tensor, need(name, {config_.mixture.experts, rows, inputs}));
  result.rows = rows;
  result.first = expert * rows * inputs;
  result.bias = biasOf(name);
  result.firstBias = expert * rows;
  return result;
}

// One expert's matrix in GPT-OSS's tensors; where `alternates`, even rows are the gate's and odd rows up's.
Result<std::vector<Part>> Loader::alternatingParts(const std::string& pattern, int layer, int expert,
                                                   std::int64_t outputs, std::int64_t inputs,
                                                   bool alternates) const {
  const std::string name = fill(pattern, "{}", layer);
  const std::int64_t experts = config_.mixture.experts;
  Part whole;
  if (config_.mixture.layout == ExpertLayout::stackedMicroscaling) {
    if (inputs % 32 != 0)
      return fail(ErrorCode::badInput, "experts of this width have no 4-bit blocks", weights_.path());
    DECOSCOPE_ASSIGN(whole.tensor, need(name + "_blocks", {experts, outputs, inputs / 32, 16}));
    DECOSCOPE_ASSIGN(whole.scales, need(name + "_scales", {experts, outputs, inputs / 32}));
  } else {
    DECOSCOPE_ASSIGN(whole.tensor, need(name, {experts, inputs, outputs}));
    whole.transposedRows = outputs;
  }
  whole.rows = outputs;
  whole.first = expert * outputs * inputs;
  whole.bias = find(name + "_bias");
  whole.firstBias = expert * outputs;
  if (!alternates) return std::vector<Part>{whole};
  Part gate = whole, up = whole;
  gate.rows = up.rows = outputs / 2;
  gate.source = [](std::int64_t row) { return 2 * row; };
  up.source = [](std::int64_t row) { return 2 * row + 1; };
  return std::vector<Part>{gate, up};
}

Result<Experts> Loader::experts(int layer) const {
  const MixtureConfig& mixture = config_.mixture;
  const std::int64_t d = config_.width, m = mixture.inner;
  Experts experts;
  experts.inner = m;
  DECOSCOPE_ASSIGN(const Part router, part(names_.router, layer, mixture.experts, d));
  DECOSCOPE_ASSIGN(experts.router, linear({router}, d, false, true));
  const bool alternating = mixture.layout == ExpertLayout::stackedTransposed ||
                           mixture.layout == ExpertLayout::stackedMicroscaling;
  for (int e = 0; e < mixture.experts; ++e) {
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "loading was cancelled");
    std::vector<Part> in, out;
    if (alternating) {
      DECOSCOPE_ASSIGN(in, alternatingParts(names_.expertGateUp, layer, e, 2 * m, d, true));
      DECOSCOPE_ASSIGN(out, alternatingParts(names_.expertDown, layer, e, d, m, false));
    } else if (mixture.layout == ExpertLayout::stackedTogether) {
      DECOSCOPE_ASSIGN(Part both, expertPart(names_.expertGateUp, layer, e, 2 * m, d));
      DECOSCOPE_ASSIGN(Part down, expertPart(names_.expertDown, layer, e, d, m));
      in = {both};
      out = {down};
    } else {
      DECOSCOPE_ASSIGN(Part gate, expertPart(names_.expertGate, layer, e, m, d));
      DECOSCOPE_ASSIGN(Part up, expertPart(names_.expertUp, layer, e, m, d));
      DECOSCOPE_ASSIGN(Part down, expertPart(names_.expertDown, layer, e, d, m));
      in = {gate, up};
      out = {down};
    }
    DECOSCOPE_ASSIGN(Linear inner, linear(in, d));
    DECOSCOPE_ASSIGN(Linear outer, linear(out, m));
    experts.in.push_back(std::move(inner));
    experts.out.push_back(std::move(outer));
  }
  if (mixture.sharedInner > 0) {
    const std::int64_t s = experts.sharedInner = mixture.sharedInner;
    DECOSCOPE_ASSIGN(const Part gate, part(names_.sharedGate, layer, s, d));
    DECOSCOPE_ASSIGN(const Part up, part(names_.sharedUp, layer, s, d));
    DECOSCOPE_ASSIGN(const Part down, part(names_.sharedDown, layer, d, s));
    DECOSCOPE_ASSIGN(experts.sharedIn, linear({gate, up}, d));
    DECOSCOPE_ASSIGN(experts.sharedOut, linear({down}, s));
    if (mixture.sharedGated) {
      const std::string name = fill(names_.sharedSwitch, "{}", layer);
      const WeightTensor* flat = find(name);  // GGUF: [width]
      Part gatePart;
      if (flat && flat->shape == std::vector<std::int64_t>{d}) {
        gatePart.tensor = flat;
        gatePart.rows = 1;
      } else {
        DECOSCOPE_ASSIGN(gatePart, part(names_.sharedSwitch, layer, 1, d));
      }
      DECOSCOPE_ASSIGN(experts.sharedSwitch, linear({gatePart}, d, false, true));
    }
  }
  return experts;
}

Result<Block> Loader::block(int layer) const {
  const std::int64_t d = config_.width, m = config_.inner;
  const auto name = [&](const std::string& pattern) { return fill(pattern, "{}", layer); };
  Block block;
  if (config_.normBeforeAttention && (!config_.followsFeatures || find(name(names_.attentionNorm)))) {
    DECOSCOPE_ASSIGN(block.attentionNorm, norm(name(names_.attentionNorm), d));
  }
  if (config_.normBeforeMlp && !config_.sharedInputNorm) {
    DECOSCOPE_ASSIGN(block.mlpNorm, norm(name(names_.mlpNorm), d));
  }
  if (config_.normAfterAttention) {
    DECOSCOPE_ASSIGN(block.postAttentionNorm, norm(name(names_.postAttentionNorm), d));
  }
  if (config_.normAfterMlp) {
    DECOSCOPE_ASSIGN(block.postMlpNorm, norm(name(names_.postMlpNorm), d));
  }
  if (config_.headNorm != HeadNorm::none) {
    DECOSCOPE_ASSIGN(block.queryNorm, headNorm(name(names_.queryNorm), config_.heads));
    DECOSCOPE_ASSIGN(block.keyNorm, headNorm(name(names_.keyNorm), config_.keyValueHeads));
  }
  if (config_.sinks) {
    DECOSCOPE_ASSIGN(const WeightTensor* sinks, need(name(names_.sinks), {config_.heads}));
    DECOSCOPE_ASSIGN(block.sinks, vector(*sinks, 0, config_.heads));
  }
  DECOSCOPE_ASSIGN(block.queryKeyValue, queryKeyValue(layer));
  DECOSCOPE_ASSIGN(const Part output, part(names_.output, layer, d, queryWidth()));
  DECOSCOPE_ASSIGN(block.attentionOutput, linear({output}, queryWidth()));
  if (config_.sparse(layer)) {
    DECOSCOPE_ASSIGN(block.experts, experts(layer));
    return block;
  }
  std::vector<Part> in;
  if (config_.gated && config_.fusedGateUp) {
    DECOSCOPE_ASSIGN(Part both, part(names_.gateUp, layer, 2 * m, d));
    in.push_back(std::move(both));
  } else {
    if (config_.gated) {
      DECOSCOPE_ASSIGN(Part gate, part(names_.gate, layer, m, d));
      in.push_back(std::move(gate));
    }
    DECOSCOPE_ASSIGN(Part up, part(names_.up, layer, m, d));
    in.push_back(std::move(up));
  }
  DECOSCOPE_ASSIGN(const Part down, part(names_.down, layer, d, m));
  DECOSCOPE_ASSIGN(block.mlpIn, linear(in, d));
  DECOSCOPE_ASSIGN(block.mlpOut, linear({down}, m));
  return block;
}

Result<Transformer> Loader::load() {
  const auto report = [&](double fraction) {
    if (progress_) progress_(fraction, "Reading weights");
  };
  const std::int64_t d = config_.width;
  Transformer model;
  model.config = config_;
  if (config_.learnedPositions) {
    const WeightTensor* table = find(names_.positions);
    if (!table || table->shape.size() != 2 || table->shape[0] < config_.context || table->shape[1] != d) {
      DECOSCOPE_ASSIGN(table, need(names_.positions, {config_.context, d}));
    }
    DECOSCOPE_ASSIGN(Tensor flat, vector(*table, 0, config_.context * d));
    model.positions = flat.view({config_.context, d});
  }
  for (int layer = 0; layer < config_.layers; ++layer) {
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "loading was cancelled");
    report(0.85 * layer / config_.layers);
    device_ = plan_.blocks[static_cast<std::size_t>(layer)];
    DECOSCOPE_ASSIGN(Block one, block(layer));
    model.blocks.push_back(std::move(one));
  }
  DECOSCOPE_TRY(loadEnds(model));
  report(1);
  return model;
}

// What stands before and behind the blocks.
Status Loader::loadEnds(Transformer& model) {
  const std::int64_t d = config_.width;
  if (config_.followsFeatures) {
    DECOSCOPE_ASSIGN(const Part fuse, part(names_.fuse, -1, d, 2 * d));
    DECOSCOPE_ASSIGN(model.fuse, linear({fuse}, 2 * d));
    DECOSCOPE_ASSIGN(model.ranked, rankedTokens(weights_, config_, names_));
    DECOSCOPE_ASSIGN(model.head, borrowedHead(config_, model.ranked, plan_));
    model.headIsLent = model.head == plan_.baseHead;
    return {};
  }
  DECOSCOPE_ASSIGN(const WeightTensor* embedding, need(names_.embedding, {config_.vocabulary, d}));
  DECOSCOPE_ASSIGN(model.finalNorm, norm(names_.finalNorm, d));
  if (config_.tied) {
    Part head;
    head.tensor = embedding;
    head.rows = config_.vocabulary;
    DECOSCOPE_ASSIGN(model.head, shared(linear({head}, d, true)));
  } else {
    DECOSCOPE_ASSIGN(const Part head, part(names_.head, -1, config_.vocabulary, d));
    DECOSCOPE_ASSIGN(model.head, shared(linear({head}, d, true)));
  }
  if (plan_.packs) return {};
  model.embedding = model.head->weight;
  if (!config_.tied || plan_.quantises() || !plan_.isOnOneDevice()) {
    device_ = plan_.blocks.front();
    DECOSCOPE_ASSIGN(model.embedding, table(*embedding));
  }
  return {};
}

// The embedding, of which rows are looked up where the blocks begin.
Result<Tensor> Loader::table(const WeightTensor& embedding) const {
  Part part;
  part.tensor = &embedding;
  part.rows = config_.vocabulary;
  Tensor host = at::empty({part.rows, config_.width}, at::kFloat);
  float* first = host.data_ptr<float>();
  DECOSCOPE_TRY(rowsOf(part, config_.width, [&](std::int64_t row, const float* values) {
    std::copy(values, values + config_.width, first + row * config_.width);
  }));
  embedding.release();
  return host.to(device_, plan_.scalarType());
}

}  // namespace

const WeightTensor* findTensor(const WeightFile& weights, const std::string& name) {
  for (const std::string& spelling : spellings(name))
    if (const WeightTensor* tensor = weights.find(spelling)) return tensor;
  return nullptr;
}

Result<Transformer> loadLayers(const WeightFile& weights, const Architecture& architecture,
                               const LoadPlan& plan, kernels::Workers& workers,
                               const ProgressFunction& progress, const StopToken& stop) {
  return Loader(weights, architecture, plan, workers, progress, stop).load();
}

}  // namespace decoscope
