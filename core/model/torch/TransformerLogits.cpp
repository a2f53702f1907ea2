#include "core/model/torch/TransformerLogits.h"

#include <algorithm>
#include <cmath>

#include "core/model/RowSums.h"
#include "core/model/torch/Devices.h"
#include "core/model/torch/kernels/Kernels.h"

namespace decoscope {

namespace {

using at::Tensor;

Status checkRow(int index, bool good) {
  if (good) return {};
  return fail(ErrorCode::failed, "the model gave a logit that is not a number",
              "row " + std::to_string(index),
              "The weights may be damaged, or the precision too low: try --dtype f32.");
}

class TransformerLogits final : public Logits {
 public:
  TransformerLogits(Tensor rows, std::shared_ptr<kernels::Workers> workers)
      : rows_(std::move(rows)),
        workers_(std::move(workers)),
        best_(static_cast<std::size_t>(rows_.size(0)), kUnasked) {}
  int rows() const override { return static_cast<int>(rows_.size(0)); }
  int vocabularySize() const override { return static_cast<int>(rows_.size(1)); }
  std::span<const float> row(int index) const override {
    return {rows_.const_data_ptr<float>() + static_cast<std::int64_t>(index) * rows_.size(1),
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
    DECOSCOPE_TRY(checkRow(index, std::isfinite(sums.sum) && std::isfinite(sums.largest)));
    std::vector<TokenId> tokens;
    kernels::largest(values.data(), values.size(), static_cast<std::size_t>(std::max(k, 0)), tokens);
    remember(index, tokens);
    std::vector<float> logits;
    for (const TokenId token : tokens) logits.push_back(values[static_cast<std::size_t>(token)]);
    return RowSums{sums.largest, sums.sum, sums.weighted}.summary(std::move(tokens), std::move(logits));
  }
  Result<std::vector<RowSummary>> summaries(int k) const override {
    return forRows<RowSummary>([&](int index) { return summary(index, k); });
  }
  Result<std::vector<std::vector<TokenId>>> largest(int k) const override {
    return forRows<std::vector<TokenId>>([&](int index) { return largestOf(index, k); });
  }

 private:
  // Whoever has looked at a row's largest tokens mostly asks for the largest one next.
  void remember(int index, const std::vector<TokenId>& tokens) const {
    if (!tokens.empty()) best_[static_cast<std::size_t>(index)] = tokens.front();
  }
  Result<std::vector<TokenId>> largestOf(int index, int k) const {
    const auto values = row(index);
    DECOSCOPE_TRY(checkRow(index, std::isfinite(kernels::highest(values.data(), values.size()))));
    std::vector<TokenId> tokens;
    kernels::largest(values.data(), values.size(), static_cast<std::size_t>(std::max(k, 0)), tokens);
    remember(index, tokens);
    return tokens;
  }
  template <typename T, typename Make>
  Result<std::vector<T>> forRows(const Make& make) const {
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
  std::shared_ptr<kernels::Workers> workers_;
  static constexpr TokenId kUnasked = -1;
  mutable std::vector<TokenId> best_;  // of each row
};

// Rows in the memory of a device. What is asked of them is found there, for all rows at once, and only that
// is copied; a row as such is copied when somebody wants all of it.
class DeviceLogits final : public Logits {
 public:
  explicit DeviceLogits(Tensor rows)
      : rows_(std::move(rows)), host_(static_cast<std::size_t>(rows_.size(0))) {}
  int rows() const override { return static_cast<int>(rows_.size(0)); }
  int vocabularySize() const override { return static_cast<int>(rows_.size(1)); }
  std::span<const float> row(int index) const override {
    Tensor& host = host_[static_cast<std::size_t>(index)];
    if (!host.defined()) host = rows_.select(0, index).to(at::kCPU).contiguous();
    return {host.const_data_ptr<float>(), static_cast<std::size_t>(rows_.size(1))};
  }
  Result<TokenId> argmax(int index) const override {
    if (best_.empty()) {
      DECOSCOPE_ASSIGN(const auto all, largest(1));
      for (const std::vector<TokenId>& tokens : all) best_.push_back(tokens.front());
    }
    return best_[static_cast<std::size_t>(index)];
  }
  Result<RowSummary> summary(int index, int k) const override {
    DECOSCOPE_ASSIGN(std::vector<RowSummary> all,
                     guarded([&] { return summariesOf(rows_.narrow(0, index, 1), k, index); }));
    return std::move(all.front());
  }
  Result<std::vector<RowSummary>> summaries(int k) const override {
    return guarded([&] { return summariesOf(rows_, k, 0); });
  }
  Result<std::vector<std::vector<TokenId>>> largest(int k) const override {
    return guarded([&] { return largestOf(k); });
  }

 private:
  // A device may be out of memory at any operation.
  template <typename Body>
  static auto guarded(Body&& body) -> decltype(body()) {
    try {
      const c10::InferenceMode guard;
      return body();
    } catch (const std::exception& exception) {
      return fail(ErrorCode::failed, "the logits could not be read: " + reasonOf(exception), "",
                  "If memory is short, close other programs or choose a smaller precision.");
    }
  }

  Result<std::vector<std::vector<TokenId>>> largestOf(int k) const {
    const std::int64_t count = std::clamp<std::int64_t>(k, 1, rows_.size(1));
    // Not a number anywhere makes the largest one none.
    const Tensor good = at::isfinite(rows_.amax({1}, true)).to(at::kLong);
    const Tensor found = at::cat({bestOf(rows_, count), good}, 1).to(at::kCPU).contiguous();
    std::vector<std::vector<TokenId>> tokens;
    for (std::int64_t row = 0; row < found.size(0); ++row) {
      const auto* values = found.const_data_ptr<std::int64_t>() + row * (count + 1);
      DECOSCOPE_TRY(checkRow(static_cast<int>(row), values[count] != 0));
      tokens.emplace_back(values, values + std::clamp<std::int64_t>(k, 0, count));
    }
    return tokens;
  }

  // The best tokens of every row, best first, the lower id first among equals: [rows, k] int64.
  static Tensor bestOf(const Tensor& rows, std::int64_t k) {
    // A float's bits as a number that ascends with it, and the id behind it: libtorch promises no order of
    // equal values, and no two of these are equal.
    const Tensor bits = (rows + 0.0f).view(at::kInt);  // + 0: −0 is 0
    const Tensor ascending = at::bitwise_xor(bits, bits.bitwise_right_shift(31).bitwise_and(0x7fffffff));
    const Tensor places = at::arange(rows.size(1) - 1, -1, -1, rows.options().dtype(at::kLong));
    const Tensor keys = ascending.to(at::kLong).bitwise_left_shift(32).add(places);
    return rows.size(1) - 1 - std::get<0>(at::topk(keys, k, 1)).bitwise_and(0xffffffff);
  }

  static Result<std::vector<RowSummary>> summariesOf(const Tensor& rows, int k, int first) {
    const std::int64_t count = std::clamp<std::int64_t>(k, 0, rows.size(1));
    const Tensor best = bestOf(rows, std::max<std::int64_t>(count, 1));
    const Tensor logits = rows.gather(1, best), largest = logits.narrow(1, 0, 1);
    const Tensor less = rows - largest, shares = at::exp(less);
    // A row's −∞ has no share, and 0 · −∞ is no number.
    const Tensor weighted = at::where(shares > 0, shares * less, at::zeros({}, shares.options()));
    const auto sum = [](const Tensor& values) { return values.sum({1}, true, at::kDouble); };
    // One copy for all that is wanted; a double holds every id.
    const Tensor found = at::cat({largest.to(at::kDouble), sum(shares), sum(weighted), logits.to(at::kDouble),
                                  best.to(at::kDouble)},
                                 1)
                             .to(at::kCPU)
                             .contiguous();
    std::vector<RowSummary> results;
    for (std::int64_t row = 0; row < found.size(0); ++row) {
      const double* values = found.const_data_ptr<double>() + row * found.size(1);
      const double top = values[0], total = values[1];
      DECOSCOPE_TRY(checkRow(first + static_cast<int>(row), std::isfinite(total) && std::isfinite(top)));
      const double *topLogits = values + 3, *ids = topLogits + best.size(1);
      results.push_back(
          RowSums{top, total, values[2]}.summary({ids, ids + count}, {topLogits, topLogits + count}));
    }
    return results;
  }

  Tensor rows_;
  mutable std::vector<Tensor> host_;   // of each row; undefined where nobody has asked
  mutable std::vector<TokenId> best_;  // of each row; empty where nobody has asked
};

}  // namespace

std::unique_ptr<Logits> makeLogits(at::Tensor rows, std::shared_ptr<kernels::Workers> workers) {
  if (!rows.is_cpu()) return std::make_unique<DeviceLogits>(std::move(rows));
  return std::make_unique<TransformerLogits>(std::move(rows), std::move(workers));
}

}  // namespace decoscope
