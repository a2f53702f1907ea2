#include "core/trace/Recorder.h"

#include <algorithm>

#include "core/base/Clock.h"

namespace decoscope {

namespace {

double millisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Result<RecordLevel> parseRecordLevel(const std::string& text) {
  if (text == "full") return RecordLevel::full;
  if (text == "light") return RecordLevel::light;
  if (text == "none") return RecordLevel::none;
  return fail(ErrorCode::usage, "unknown record level '" + text + "'", "--record",
              "Use full, light or none.");
}

void Recorder::begin(RunId run, StepIndex step, std::int64_t committedBefore) {
  record_ = std::make_shared<StepRecord>();
  record_->run = run;
  record_->step = step;
  record_->committedBefore = committedBefore;
  record_->startedAt = microsecondsSinceEpoch();
  start_ = std::chrono::steady_clock::now();
  recordingMilliseconds_ = 0;
}

StepPointer Recorder::seal(std::int64_t committedAfter) {
  record_->committedAfter = committedAfter;
  record_->otherMilliseconds =
      std::max(0.0, millisecondsSince(start_) - record_->draftMilliseconds - record_->verifyMilliseconds);
  return std::exchange(record_, std::make_shared<StepRecord>());
}

void Recorder::add(Event event) {
  const bool always = std::holds_alternative<CommitFact>(event) ||
                      std::holds_alternative<ForwardFact>(event) || std::holds_alternative<NoteFact>(event) ||
                      std::holds_alternative<DrawFact>(event) || std::holds_alternative<MeasureFact>(event);
  if (level_ == RecordLevel::none && !always) {
    // Acceptance figures need to know what was proposed and kept, whatever the level.
    const bool counted =
        std::holds_alternative<ProposeFact>(event) || std::holds_alternative<VerdictFact>(event);
    if (!counted) return;
  }
  if (level_ == RecordLevel::light && std::holds_alternative<DistributionFact>(event)) return;
  record_->events.push_back(std::move(event));
}

Recorder::Timer::Timer(Recorder& recorder, TimeShare share)
    : recorder_(recorder), share_(share), start_(std::chrono::steady_clock::now()) {}

Recorder::Timer::~Timer() {
  auto& total = share_ == TimeShare::draft    ? recorder_.record_->draftMilliseconds
                : share_ == TimeShare::verify ? recorder_.record_->verifyMilliseconds
                                              : recorder_.recordingMilliseconds_;
  total += millisecondsSince(start_);
}

}  // namespace decoscope
