#include "core/train/nets/DraftChains.h"

#include <algorithm>

#include "core/base/Rng.h"
#include "core/decode/draft/StopRule.h"
#include "core/train/nets/AcceptanceNet.h"
#include "core/train/nets/Draws.h"

namespace decoscope::train {

namespace {

using at::Tensor;

// Drafts that grow side by side, each behind a text of its own.
class Drafts {
 public:
  Drafts(Net& drafter, Net& target, const ChainPlan& plan, TokenId end)
      : drafter_(drafter), target_(target), plan_(plan), end_(end) {}

  void add(const TrainingText& text, std::int64_t from) {
    texts_.push_back(&text);
    from_.push_back(from);
  }

  void finish(at::Generator& generator, std::vector<DraftChain>& chains) {
    if (texts_.empty()) return;
    const auto count = static_cast<std::int64_t>(texts_.size());
    const std::int64_t longest = *std::max_element(from_.begin(), from_.end());
    Tensor written = at::full({count, longest + plan_.most}, static_cast<std::int64_t>(end_), at::kLong);
    for (std::int64_t row = 0; row < count; ++row)
      for (std::int64_t i = 0; i < from_[static_cast<std::size_t>(row)]; ++i)
        written[row][i] = texts_[static_cast<std::size_t>(row)]->tokens[static_cast<std::size_t>(i)];
    Tensor tokens = written.to(drafter_.device());
    const Tensor from = at::tensor(from_, tokens.options()).unsqueeze(1);
    for (int drafted = 0; drafted < plan_.most; ++drafted) {
      const Tensor last = statesAt(drafter_, tokens.narrow(1, 0, longest + drafted), from + (drafted - 1));
      const Tensor q = at::softmax(drafter_.logits(last, plan_.precision), -1);
      tokens.scatter_(1, from + drafted, chosenColumns(q, generator));
    }
    const Tensor places = from + at::arange(plan_.most, tokens.options()).unsqueeze(0);
    const Tensor acceptance =
        acceptanceOf(target_.logits(statesAt(target_, tokens, places - 1), plan_.precision),
                     drafter_.logits(statesAt(drafter_, tokens, places - 1), plan_.precision),
                     tokens.gather(1, places).reshape({-1}))
            .view({count, plan_.most})
            .to(at::kCPU);
    written = tokens.to(at::kCPU);
    const Tensor states = statesAt(drafter_, tokens, places).view({count, plan_.most, -1});
    for (std::int64_t row = 0; row < count; ++row) {
      DraftChain chain;
      const std::int64_t before = from_[static_cast<std::size_t>(row)];
      const std::vector<TokenId>& text = texts_[static_cast<std::size_t>(row)]->tokens;
      chain.tokens.assign(text.begin(), text.begin() + before);
      for (std::int64_t i = 0; i < plan_.most; ++i) {
        chain.acceptance.push_back(acceptance[row][i].item<double>());
        chain.tokens.push_back(static_cast<TokenId>(written[row][before + i].item<std::int64_t>()));
        if (chain.tokens.back() == end_) break;
      }
      chain.states = states[row].narrow(0, 0, chain.length()).clone();
      chains.push_back(std::move(chain));
    }
    texts_.clear();
    from_.clear();
  }

 private:
  // The final states [count · places, width] of `tokens` at `places` [count, places].
  Tensor statesAt(Net& net, const Tensor& tokens, const Tensor& places) const {
    NetRequest request;
    request.tokens = tokens;
    request.exits = {net.architecture().config.layers};
    request.precision = plan_.precision;
    const Tensor rows = at::arange(tokens.size(0), tokens.options()).unsqueeze(1) * tokens.size(1) + places;
    return net.states(request).front().index_select(0, rows.reshape({-1}));
  }

  Net& drafter_;
  Net& target_;
  const ChainPlan& plan_;
  TokenId end_;
  std::vector<const TrainingText*> texts_;
  std::vector<std::int64_t> from_;  // how many tokens stand before each draft
};

}  // namespace

std::vector<DraftChain> draftChains(Net& drafter, Net& target, const Rows& rows, const ChainPlan& plan) {
  constexpr std::int64_t kTexts = 16;  // side by side
  const c10::NoGradGuard guard;
  std::vector<DraftChain> chains;
  at::Generator generator = at::detail::createCPUGenerator(plan.seed);
  Drafts drafts(drafter, target, plan, rows.endToken());
  std::int64_t index = 0;
  rows.forHeldOut(kTexts, [&](const Batch&, std::span<const TrainingText> texts) {
    for (const TrainingText& text : texts) {
      const auto places = static_cast<std::int64_t>(text.tokens.size()) - text.answer;
      for (int start = 0; start < plan.starts && places > 0 && text.answer > 0; ++start) {
        const double u =
            uniform({plan.seed, 0, index}, kRootNode, DrawPurpose::order, static_cast<std::uint32_t>(start));
        drafts.add(text, text.answer + static_cast<std::int64_t>(u * static_cast<double>(places)));
      }
      ++index;
    }
    drafts.finish(generator, chains);
  });
  return chains;
}

DraftFigures figuresOf(const std::vector<DraftChain>& chains,
                       const std::function<int(const DraftChain&)>& lengthOf) {
  DraftFigures figures;
  for (const DraftChain& chain : chains) {
    const int length = std::min(lengthOf(chain), chain.length());
    double reached = 1;
    for (int i = 0; i < length; ++i) {
      reached *= chain.acceptance[static_cast<std::size_t>(i)];
      figures.accepted += reached;
    }
    figures.drafted += length;
  }
  const auto count = static_cast<double>(std::max<std::size_t>(chains.size(), 1));
  return {figures.drafted / count, figures.accepted / count};
}

DraftFigures fixedLengthsThatAccept(const std::vector<DraftChain>& chains, double accepted) {
  int longest = 0;
  for (const DraftChain& chain : chains) longest = std::max(longest, chain.length());
  DraftFigures shorter;
  for (int length = 1; length <= longest; ++length) {
    const DraftFigures figures = figuresOf(chains, [&](const DraftChain&) { return length; });
    if (figures.accepted >= accepted && figures.accepted > shorter.accepted) {
      const double share = (accepted - shorter.accepted) / (figures.accepted - shorter.accepted);
      return {shorter.drafted + share * (figures.drafted - shorter.drafted), accepted};
    }
    shorter = figures;
  }
  return shorter;
}

int lengthByRule(const DraftChain& chain, const std::vector<double>& estimates, double threshold, int least) {
  StopRule rule(threshold, least);
  for (int drafted = 1; drafted < chain.length(); ++drafted) {
    if (rule.stops(drafted)) return drafted;
    rule.add(estimates[static_cast<std::size_t>(drafted - 1)]);
  }
  return chain.length();
}

}  // namespace decoscope::train
