#include "core/trace/Trace.h"

#include <algorithm>
#include <cstdio>

#include "core/base/Utf8.h"

namespace decoscope {

const char* name(RunState state) {
  switch (state) {
    case RunState::running:
      return "running";
    case RunState::paused:
      return "paused";
    case RunState::finished:
      return "finished";
    case RunState::stopped:
      return "stopped";
    case RunState::failed:
      return "failed";
  }
  return "running";
}

const char* name(Provenance value) {
  static constexpr const char* kNames[] = {"prompt", "plain",  "accepted", "resampled",
                                           "bonus",  "forced", "denoised", "kept"};
  return kNames[static_cast<std::size_t>(value)];
}
const char* name(VerdictKind value) {
  static constexpr const char* kNames[] = {"accepted", "rejected", "not_reached_sibling",
                                           "not_reached_ancestor", "pruned"};
  return kNames[static_cast<std::size_t>(value)];
}
const char* name(VerificationRule value) {
  static constexpr const char* kNames[] = {"greedy", "R1", "R2", "R3", "R4"};
  return kNames[static_cast<std::size_t>(value)];
}
const char* name(CellState value) {
  static constexpr const char* kNames[] = {"prompt", "masked", "committed", "fixed", "remasked"};
  return kNames[static_cast<std::size_t>(value)];
}
const char* name(ForwardPhase value) {
  static constexpr const char* kNames[] = {"prefill", "plain", "draft", "verify", "denoise"};
  return kNames[static_cast<std::size_t>(value)];
}
const char* name(DistributionKind value) {
  static constexpr const char* kNames[] = {"target_raw", "target", "draft", "residual"};
  return kNames[static_cast<std::size_t>(value)];
}

const char* name(DrawPurpose value) {
  static constexpr const char* kNames[] = {"sample", "propose", "verdict", "residual",
                                           "bonus",  "order",   "gumbel"};
  return kNames[static_cast<std::size_t>(value)];
}

const char* eventName(const Event& event) {
  static constexpr const char* kNames[] = {"forward", "distribution", "propose",  "verdict",
                                           "draw",    "commit",       "rollback", "cell",
                                           "switch",  "score",        "note",     "measure"};
  static_assert(std::variant_size_v<Event> == std::size(kNames));
  return kNames[event.index()];
}

std::string visibleToken(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto byte = static_cast<unsigned char>(bytes[at]);
    const Utf8Step step = utf8Step(bytes.substr(at));
    if (byte == ' ')
      out += "·";
    else if (byte == '\n')
      out += "⏎";
    else if (byte == '\t')
      out += "⇥";
    else if (!step.valid || byte < 0x20 || byte == 0x7F) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02X", byte);
      out += escape;
    } else {
      out += bytes.substr(at, step.length);
    }
    at += step.valid ? step.length : 1;
  }
  return out;
}

std::vector<RunInfo> MemoryTrace::runs() const {
  const std::lock_guard lock(mutex_);
  std::vector<RunInfo> result;
  for (const auto& [id, line] : lines_) result.push_back(line.info);
  return result;
}

std::optional<RunInfo> MemoryTrace::run(RunId id) const {
  const std::lock_guard lock(mutex_);
  const auto line = lines_.find(id);
  return line == lines_.end() ? std::nullopt : std::optional(line->second.info);
}

std::pair<StepIndex, StepIndex> MemoryTrace::extent(RunId id) const {
  const std::lock_guard lock(mutex_);
  const auto line = lines_.find(id);
  if (line == lines_.end()) return {0, 0};
  const StepIndex first = line->second.info.forkStep;
  return {first, first + static_cast<StepIndex>(line->second.steps.size())};
}

StepPointer MemoryTrace::tryStep(RunId id, StepIndex step) const {
  const std::lock_guard lock(mutex_);
  while (id) {
    const auto line = lines_.find(id);
    if (line == lines_.end()) return nullptr;
    const StepIndex first = line->second.info.forkStep;
    if (step >= first) {
      const auto index = static_cast<std::size_t>(step - first);
      return index < line->second.steps.size() ? line->second.steps[index] : nullptr;
    }
    id = line->second.info.parent;
  }
  return nullptr;
}

Result<StepPointer> MemoryTrace::step(RunId id, StepIndex step) const {
  if (StepPointer found = tryStep(id, step)) return found;
  return fail(ErrorCode::notFound, "there is no step " + std::to_string(step),
              "run " + std::to_string(id.value));
}

std::shared_ptr<const TokenNames> MemoryTrace::tokens(RunId id) const {
  const std::lock_guard lock(mutex_);
  const auto line = lines_.find(id);
  return line == lines_.end() ? nullptr : line->second.tokens;
}

Result<RunId> MemoryTrace::beginRun(const RunInfo& info, std::shared_ptr<const TokenNames> tokens) {
  RunId id;
  {
    const std::lock_guard lock(mutex_);
    id.value = lines_.empty() ? 1 : lines_.rbegin()->first.value + 1;
    Line line{info, {}, std::move(tokens)};
    line.info.id = id;
    lines_.emplace(id, std::move(line));
  }
  tell({TraceNotice::Kind::runsChanged, id, 0, 0});
  return id;
}

Status MemoryTrace::append(StepPointer step) {
  const RunId run = step->run;
  const StepIndex index = step->step;
  {
    const std::lock_guard lock(mutex_);
    const auto line = lines_.find(run);
    if (line == lines_.end())
      return fail(ErrorCode::notFound, "there is no run " + std::to_string(run.value));
    const StepIndex expected = line->second.info.forkStep + static_cast<StepIndex>(line->second.steps.size());
    if (index != expected)
      return fail(
          ErrorCode::usage,
          "step " + std::to_string(index) + " came where " + std::to_string(expected) + " was expected",
          "run " + std::to_string(run.value));
    line->second.steps.push_back(std::move(step));
  }
  tell({TraceNotice::Kind::stepsAppended, run, index, index + 1});
  return {};
}

Status MemoryTrace::updateRun(const RunInfo& info) {
  {
    const std::lock_guard lock(mutex_);
    const auto line = lines_.find(info.id);
    if (line == lines_.end())
      return fail(ErrorCode::notFound, "there is no run " + std::to_string(info.id.value));
    line->second.info = info;
  }
  tell({TraceNotice::Kind::runsChanged, info.id, 0, 0});
  return {};
}

void MemoryTrace::tell(const TraceNotice& notice) const {
  if (notice_) notice_(notice);
}

std::vector<LineSegment> lineOf(const TraceSource& source, RunId id) {
  std::vector<LineSegment> line;
  StepIndex end = source.extent(id).second;
  while (id) {
    const auto info = source.run(id);
    // A parent always has a smaller id; anything else is a damaged session and ends the walk.
    if (!info || (!line.empty() && id.value >= line.back().run.value)) break;
    line.push_back({id, info->forkStep, std::max(end, info->forkStep)});
    end = info->forkStep;
    id = info->parent;
  }
  std::reverse(line.begin(), line.end());
  return line;
}

bool isTraining(const RunInfo& info) {
  return info.method == kTrainingMethod || info.method.starts_with(std::string(kTrainingMethod) + ':');
}

std::optional<TokenId> forcedAt(const RunInfo& info, StepIndex step) {
  const StepIndex index = step - info.forkStep;
  if (index < 0 || index >= static_cast<StepIndex>(info.forced.size())) return std::nullopt;
  return info.forced[static_cast<std::size_t>(index)];
}

Result<ForkPlace> forkPlaceOf(std::span<const TextToken> text, StepIndex end, std::int64_t position) {
  const std::int64_t length = text.empty() ? 0 : text.back().position + 1;
  if (position == length) return ForkPlace{end, {}};
  const auto token =
      std::find_if(text.begin(), text.end(), [&](const TextToken& t) { return t.position == position; });
  if (token == text.end())
    return fail(ErrorCode::usage,
                "position " + std::to_string(position) + " is not in the text of " + std::to_string(length) +
                    " tokens",
                "position");
  if (token->step < 0)
    return fail(ErrorCode::usage, "position " + std::to_string(position) + " belongs to the prompt",
                "position", "Start a new run with another prompt instead.");
  ForkPlace place{token->step, {}};
  for (const TextToken& other : text)
    if (other.step == token->step && other.position < position) place.kept.push_back(other.token);
  return place;
}

Result<std::vector<TextToken>> textOf(const TraceSource& source, RunId id) {
  const std::vector<LineSegment> line = lineOf(source, id);
  if (line.empty()) return fail(ErrorCode::notFound, "there is no run " + std::to_string(id.value));
  std::vector<TextToken> text;
  const auto root = source.run(line.front().run);
  for (std::size_t i = 0; root && i < root->prompt.size(); ++i)
    text.push_back({static_cast<std::int64_t>(i), root->prompt[i], Provenance::prompt, {}, -1, kRootNode});
  for (const LineSegment& segment : line)
    for (StepIndex index = segment.first; index < segment.end; ++index) {
      DECOSCOPE_ASSIGN(const StepPointer step, source.step(segment.run, index));
      for (const Event& event : step->events)
        if (const auto* commit = std::get_if<CommitFact>(&event))
          text.push_back(
              {commit->position, commit->token, commit->provenance, segment.run, index, commit->node});
    }
  std::stable_sort(text.begin(), text.end(),
                   [](const TextToken& a, const TextToken& b) { return a.position < b.position; });
  return text;
}

}  // namespace decoscope
