#include "core/model/torch/DraftHead.h"

#include <algorithm>
#include <cmath>

namespace decoscope {

namespace {

bool isKeptSo(const Linear& head, Precision precision, const LoadPlan& plan) {
  if (head.bias.defined()) return false;
  if (plan.packs) return !head.weight.defined() && head.packed.format == precision;
  return head.weight.defined() && head.weight.device() == plan.blocks.front() &&
         head.weight.scalar_type() == plan.scalarType();
}

}  // namespace

Status checkBase(const TransformerConfig& head, const Model* base, const std::string& path) {
  if (!base)
    return fail(
        ErrorCode::badInput,
        "this is a draft head, which borrows the embedding and the LM head of the model it was made for",
        path, "Load it beside that model: --model TARGET --model head=" + path + ".");
  const ModelInfo& info = base->info();
  if (!base->capabilities().weights)
    return fail(ErrorCode::unsupported, "this model has no embedding and LM head to lend to a draft head",
                info.name);
  if (info.width != head.width || info.vocabularySize != head.vocabulary)
    return fail(ErrorCode::badInput,
                "the draft head is for a model of width " + std::to_string(head.width) + " and " +
                    std::to_string(head.vocabulary) + " tokens; " + info.name + " has width " +
                    std::to_string(info.width) + " and " + std::to_string(info.vocabularySize) + " tokens",
                path, "Choose the head that was trained for this model.");
  return {};
}

Result<std::vector<TokenId>> rankedTokens(const WeightFile& weights, const TransformerConfig& config,
                                          const TensorNames& names) {
  const WeightTensor* tensor = findTensor(weights, names.ranked);
  if (config.rankedTokens == 0 && tensor)
    return fail(ErrorCode::badInput,
                "tensor '" + names.ranked + "' reduces the vocabulary, the configuration does not",
                weights.path(), "Add draft_vocab_size to config.json.");
  if (config.rankedTokens == 0 || (config.rankedTokens == config.vocabulary && !tensor))
    return std::vector<TokenId>();
  if (!tensor || tensor->shape != std::vector<std::int64_t>{config.rankedTokens})
    return fail(ErrorCode::badInput,
                "tensor '" + names.ranked + "' should name " + std::to_string(config.rankedTokens) +
                    " tokens, as draft_vocab_size says",
                weights.path());
  std::vector<float> distances(static_cast<std::size_t>(config.rankedTokens));
  DECOSCOPE_TRY(dequantise(*tensor, 0, distances));
  std::vector<bool> taken(static_cast<std::size_t>(config.vocabulary));
  std::vector<TokenId> ranked;
  for (std::size_t i = 0; i < distances.size(); ++i) {
    const double token = static_cast<double>(i) + distances[i];
    // Not in the vocabulary where it is not a number.
    const bool known = token >= 0 && token < config.vocabulary && token == std::floor(token);
    if (!known || taken[static_cast<std::size_t>(token)])
      return fail(ErrorCode::badInput,
                  "entry " + std::to_string(i) + " of tensor '" + names.ranked +
                      (known ? "' names a token again" : "' names no token of the vocabulary"),
                  weights.path());
    taken[static_cast<std::size_t>(token)] = true;
    ranked.push_back(static_cast<TokenId>(token));
  }
  return ranked;
}

Result<std::shared_ptr<const Linear>> borrowedHead(const TransformerConfig& config,
                                                   const std::vector<TokenId>& ranked, const LoadPlan& plan) {
  constexpr std::int64_t kRowsAtOnce = 1024;
  const Precision precision = plan.precision == Precision::q4 ? Precision::q8 : plan.precision;
  if (ranked.empty() && plan.baseHead && isKeptSo(*plan.baseHead, precision, plan)) return plan.baseHead;
  Linear layer;
  layer.inputs = config.width;
  layer.outputs = ranked.empty() ? config.vocabulary : static_cast<std::int64_t>(ranked.size());
  at::Tensor host;
  if (plan.packs)
    layer.packed.resize(static_cast<std::size_t>(layer.outputs), static_cast<std::size_t>(layer.inputs),
                        precision);
  else
    host = at::empty({layer.outputs, layer.inputs}, at::kFloat);
  const std::int64_t step = ranked.empty() ? kRowsAtOnce : 1;
  for (std::int64_t row = 0; row < layer.outputs; row += step) {
    const std::int64_t count = std::min(step, layer.outputs - row);
    const std::int64_t from = ranked.empty() ? row : ranked[static_cast<std::size_t>(row)];
    DECOSCOPE_ASSIGN(const std::vector<float> values,
                     plan.base->weights(MatrixRole::head, 0, false, from, count));
    if (plan.packs)
      for (std::int64_t i = 0; i < count; ++i)
        layer.packed.setRow(static_cast<std::size_t>(row + i), values.data() + i * layer.inputs);
    else
      std::copy(values.begin(), values.end(), host.data_ptr<float>() + row * layer.inputs);
  }
  if (!plan.packs) layer.weight = host.to(plan.blocks.front(), plan.scalarType());
  return std::make_shared<const Linear>(std::move(layer));
}

}  // namespace decoscope
