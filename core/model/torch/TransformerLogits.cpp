#include "core/model/torch/TransformerLogits.h"

#include <algorithm>
#include <cmath>

#include "core/model/torch/kernels/Kernels.h"

namespace decoscope {

namespace {

using at::Tensor;

class TransformerLogits final : public Logits {
 public:
  TransformerLogits(Tensor rows, std::shared_ptr<kernels::Workers> workers)
      : rows_(std::move(rows)),
        host_(rows_.is_cpu() ? rows_ : Tensor()),
        workers_(std::move(workers)),
        best_(static_cast<std::size_t>(rows_.size(0)), kUnasked) {}
  int rows() const override { return static_cast<int>(rows_.size(0)); }
  int vocabularySize() const override { return static_cast<int>(rows_.size(1)); }
  std::span<const float> row(int index) const override {
    if (!host_.defined()) host_ = rows_.to(at::kCPU, at::kFloat).contiguous();
    return {host_.const_data_ptr<float>() + static_cast<std::int64_t>(index) * rows_.size(1),
            static_cast<std::size_t>(rows_.size(1))};
  }
  Result<TokenId> argmax(int index) const override {
    TokenId& best = best_[static_cast<std::size_t>(index)];
    if (best == kUnasked) DECOSCOPE_TRY(largestOf(index, 1));
    return best;
  }
  Result<RowSummary> summary(int index, int k) const override {
    const auto values = row(index);
    const kernels::Summary sums = kernels::summarise(values.data(), values.size());
    DECOSCOPE_TRY(check(index, std::isfinite(sums.sum) && std::isfinite(sums.largest)));
    RowSummary result;
    kernels::largest(values.data(), values.size(), static_cast<std::size_t>(std::max(k, 0)), result.tokens);
    remember(index, result.tokens);
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
    return forRows<RowSummary>([&](int index) { return summary(index, k); });
  }
  Result<std::vector<std::vector<TokenId>>> largest(int k) const override {
    return forRows<std::vector<TokenId>>([&](int index) { return largestOf(index, k); });
  }

 private:
  static Status check(int index, bool good) {
    if (good) return {};
    return fail(ErrorCode::failed, "the model gave a logit that is not a number",
                "row " + std::to_string(index),
                "The weights may be damaged, or the precision too low: try --dtype f32.");
  }
  // Whoever has looked at a row's largest tokens mostly asks for the largest one next.
  void remember(int index, const std::vector<TokenId>& tokens) const {
    if (!tokens.empty()) best_[static_cast<std::size_t>(index)] = tokens.front();
  }
  Result<std::vector<TokenId>> largestOf(int index, int k) const {
    const auto values = row(index);
    DECOSCOPE_TRY(check(index, std::isfinite(kernels::highest(values.data(), values.size()))));
    std::vector<TokenId> tokens;
    kernels::largest(values.data(), values.size(), static_cast<std::size_t>(std::max(k, 0)), tokens);
    remember(index, tokens);
    return tokens;
  }
  template <typename T, typename Make>
  Result<std::vector<T>> forRows(const Make& make) const {
    if (rows() > 0) row(0);  // one copy from the device before the threads start
    std::vector<Result<T>> results(static_cast<std::size_t>(rows()));
    workers_->forPieces(rows(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        results[static_cast<std::size_t>(i)] = make(static_cast<int>(i));
    });
    std::vector<T> out;
    for (auto& result : results) {
      if (!result) return tl::unexpected(result.error());
      out.push_back(std::move(*result));
    }
    return out;
  }

  Tensor rows_;
  mutable Tensor host_;
  std::shared_ptr<kernels::Workers> workers_;
  static constexpr TokenId kUnasked = -1;
  mutable std::vector<TokenId> best_;  // of each row
};

}  // namespace

std::unique_ptr<Logits> makeLogits(at::Tensor rows, std::shared_ptr<kernels::Workers> workers) {
  return std::make_unique<TransformerLogits>(std::move(rows), std::move(workers));
}

}  // namespace decoscope
