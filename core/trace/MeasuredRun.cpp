#include "core/trace/MeasuredRun.h"

#include <utility>

#include "core/base/Clock.h"

namespace decoscope {

MeasuredRun::MeasuredRun(TraceSink& sink, RunInfo info)
    : sink_(&sink), info_(std::move(info)), next_(info_.forkStep) {}

Result<MeasuredRun> MeasuredRun::begin(TraceSink& sink, RunInfo info) {
  if (!isTraining(info))
    return fail(ErrorCode::usage, "'" + info.method + "' is not the method of a run that is only measured",
                {}, "Use \"train\" or \"train:NAME\".");
  if (info.name.empty()) info.name = info.method;
  if (info.createdAt == 0) info.createdAt = microsecondsSinceEpoch();
  info.state = RunState::running;
  DECOSCOPE_ASSIGN(info.id, sink.beginRun(info, nullptr));
  return MeasuredRun(sink, std::move(info));
}

Status MeasuredRun::add(std::vector<MeasureFact> measures, std::vector<NoteFact> notes) {
  const auto until = std::chrono::steady_clock::now();
  auto record = std::make_shared<StepRecord>();
  record->run = info_.id;
  record->step = next_;
  record->otherMilliseconds = std::chrono::duration<double, std::milli>(until - since_).count();
  record->startedAt = microsecondsSinceEpoch() - static_cast<std::int64_t>(record->otherMilliseconds * 1e3);
  for (MeasureFact& measure : measures) record->events.emplace_back(std::move(measure));
  for (NoteFact& note : notes) record->events.emplace_back(std::move(note));
  DECOSCOPE_TRY(sink_->append(std::move(record)));
  since_ = until;
  ++next_;
  return {};
}

Status MeasuredRun::finish(RunState state, std::string reason, std::int64_t peakMemoryBytes) {
  info_.state = state;
  info_.stopReason = std::move(reason);
  info_.peakMemoryBytes = peakMemoryBytes;
  return sink_->updateRun(info_);
}

}  // namespace decoscope
