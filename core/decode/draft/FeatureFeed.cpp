#include "core/decode/draft/FeatureFeed.h"

#include <algorithm>

namespace decoscope {

namespace {

constexpr std::size_t kChunk = 256;

std::size_t widthOf(const DecodeEnvironment& environment) {
  return static_cast<std::size_t>(environment.target().model->info().width);
}

}  // namespace

Status FeatureFeed::check(const DecodeEnvironment& environment) const {
  const ModelInfo& head = environment.role(role_).model->info();
  const ModelInfo& target = environment.target().model->info();
  if (!environment.role(role_).model->capabilities().followsFeatures)
    return fail(ErrorCode::badInput, "this model does not draft from the target's features", head.name,
                "The role '" + role_ + "' takes draft heads in EAGLE's layout.");
  if (head.width != target.width)
    return fail(ErrorCode::badInput,
                "the head reads features of width " + std::to_string(head.width) + ", the target's have " +
                    std::to_string(target.width),
                head.name, "Choose the head that was trained for this target.");
  if (!environment.target().model->capabilities().hiddenStates)
    return fail(ErrorCode::unsupported,
                "a draft head needs the target's hidden states, which it does not show", target.name,
                "Choose another target.");
  return {};
}

std::vector<Tap> FeatureFeed::watches(const DecodeEnvironment& environment) const {
  return {{TapSite::residual, environment.target().model->info().layers}};
}

// The last token's slot is drafted from, so it is always made anew.
Result<std::size_t> FeatureFeed::watched(DecodeEnvironment& environment) {
  RoleModel& head = environment.role(role_);
  const std::span<const TokenId> text(environment.text);
  if (head.first != text.front()) {
    DECOSCOPE_TRY(head.sequence.retain(*head.model, 0));
    head.first = text.front();
  }
  const std::size_t lasting = text.size() < 2 ? 0 : text.size() - 2;
  DECOSCOPE_ASSIGN(const std::size_t fed, head.sequence.align(*head.model, text.subspan(1).first(lasting)));
  if (fed != first_) features_.clear();
  first_ = fed;
  return fed + features_.size() / widthOf(environment);
}

Status FeatureFeed::watch(const DecodeEnvironment& environment, std::size_t first,
                          std::span<const TapValue> states) {
  const std::vector<float>& values = states.front().values;
  const std::size_t known = first_ + features_.size() / widthOf(environment);
  if (first > known) return {};  // watched() will say what is missing
  const std::size_t skipped = std::min((known - first) * widthOf(environment), values.size());
  features_.insert(features_.end(), values.begin() + static_cast<std::ptrdiff_t>(skipped), values.end());
  return {};
}

Result<int> FeatureFeed::room(DecodeEnvironment& environment) {
  DECOSCOPE_ASSIGN(const std::size_t seen, watched(environment));
  const std::size_t slots = environment.text.size() - 1;
  const int room = environment.role(role_).model->info().contextLength - static_cast<int>(slots);
  return seen != slots || seen == first_ ? -1 : std::max(room, -1);
}

Result<FeatureFeed::Row> FeatureFeed::read(DecodeEnvironment& environment, bool feature) {
  const Model& head = *environment.role(role_).model;
  const auto width = static_cast<std::ptrdiff_t>(widthOf(environment));
  const std::span<const TokenId> behind = std::span<const TokenId>(environment.text).subspan(1);
  while (true) {
    const std::size_t left = behind.size() - first_, count = std::min(left, kChunk);
    const std::span<const TokenId> tokens = behind.subspan(first_, count);
    const auto end = features_.begin() + static_cast<std::ptrdiff_t>(count) * width;
    ForwardRequest request;
    request.tokens.assign(tokens.begin(), tokens.end());
    request.inputs.assign(features_.begin(), end);
    const bool last = count == left;
    if (last) request.logitRows = {static_cast<std::int32_t>(count) - 1};
    if (last && feature) request.taps = {featureTap(head)};
    DECOSCOPE_ASSIGN(ForwardOutput output, environment.forward(role_, request, ForwardPhase::draft));
    features_.erase(features_.begin(), end);
    first_ += count;
    if (!last) continue;
    Row row;
    row.logits = std::move(output.logits);
    if (feature) {
      const std::vector<float>& values = output.taps.front().values;
      row.feature.assign(values.end() - width, values.end());
    }
    return row;
  }
}

Status FeatureFeed::forgetDraft(DecodeEnvironment& environment) const {
  RoleModel& head = environment.role(role_);
  const int text = static_cast<int>(environment.text.size()) - 1;
  return head.sequence.retain(*head.model, std::min(head.model->cached(), text));
}

}  // namespace decoscope
