// Collects the facts of one step and seals them. Decoders write here and do not know who listens.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "core/trace/Trace.h"

namespace decoscope {

enum class RecordLevel {
  full,   // every event, distributions of every row
  light,  // events, but no distributions and no lattice candidates
  none,   // commits, draws, verdicts, forwards, measures: enough for the text, the statistics and an audit
};
Result<RecordLevel> parseRecordLevel(const std::string& text);

// Where a step's wall clock goes. `recording` is what only the record asks for (digests of distributions); it
// passes within the other shares.
enum class TimeShare { draft, verify, recording };

// One thread: the model thread. A recorder is used for one step at a time: begin(), facts, seal().
class Recorder {
 public:
  Recorder(RecordLevel level, int topK) : level_(level), topK_(topK) {}

  void begin(RunId run, StepIndex step, std::int64_t committedBefore);
  // Starts the step's clock anew: what ran so far (prefill) is not part of the step's time.
  void restartClock() { start_ = std::chrono::steady_clock::now(); }
  // The facts so far, for the session's own bookkeeping.
  const std::vector<Event>& events() const { return record_->events; }
  // Ends the step: what is not draft or verify time becomes "other".
  StepPointer seal(std::int64_t committedAfter);

  RecordLevel level() const { return level_; }
  bool wantsDistributions() const { return level_ == RecordLevel::full; }
  bool wantsDetail() const { return level_ != RecordLevel::none; }
  int topK() const { return topK_; }
  // Of the step since begin(), in milliseconds; not part of the record.
  double recordingMilliseconds() const { return recordingMilliseconds_; }

  // Keeps or drops the fact by the record level.
  void add(Event event);
  void note(std::string kind, std::string text) { add(NoteFact{std::move(kind), std::move(text)}); }
  void markFailed() { record_->failed = true; }

  // Adds wall clock to a share while in scope.
  class Timer {
   public:
    Timer(Recorder& recorder, TimeShare share);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

   private:
    Recorder& recorder_;
    TimeShare share_;
    std::chrono::steady_clock::time_point start_;
  };

 private:
  RecordLevel level_;
  int topK_;
  std::shared_ptr<StepRecord> record_ = std::make_shared<StepRecord>();
  std::chrono::steady_clock::time_point start_;
  double recordingMilliseconds_ = 0;
};

}  // namespace decoscope
