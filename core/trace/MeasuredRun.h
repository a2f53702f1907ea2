// Writes a run that decodes nothing and is measured over its steps: a training. Trainers need no more than a
// TraceSink, so that their curves go where every other run goes: into a session file, or into memory.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/trace/Trace.h"

namespace decoscope {

// One thread. The sink must outlive it.
class MeasuredRun {
 public:
  // `info` brings the method ("train" or "train:NAME"), a name, the recipe as parameters, the seed, and as
  // notes what a repeat needs. A training that goes on from a checkpoint is a continuation: `parent` is the
  // run that it goes on from and `forkStep` the first of its steps that is done again or anew.
  static Result<MeasuredRun> begin(TraceSink& sink, RunInfo info);

  RunId id() const { return info_.id; }
  StepIndex nextStep() const { return next_; }

  // Seals a step. Its wall clock is what passed since begin() or the step before it. `notes` are things worth
  // a line, such as a checkpoint's path.
  Status add(std::vector<MeasureFact> measures, std::vector<NoteFact> notes = {});
  // A run without it stays "running", which is how a training that was killed is told.
  Status finish(RunState state, std::string reason, std::int64_t peakMemoryBytes = 0);

 private:
  MeasuredRun(TraceSink& sink, RunInfo info);
  TraceSink* sink_;
  RunInfo info_;
  StepIndex next_ = 0;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

}  // namespace decoscope
