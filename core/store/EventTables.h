// Steps to rows and back. Used with a connection of the calling thread.
#pragma once

#include "core/store/Database.h"
#include "core/trace/Trace.h"

namespace decoscope {

// Prepared once per connection.
class StepWriter {
 public:
  static Result<StepWriter> create(const Database& database);
  Status write(const StepRecord& step);

 private:
  Statement step_, forward_, distribution_, node_, verdict_, draw_, committed_, cell_, fact_, measure_;
};

class StepReader {
 public:
  static Result<StepReader> create(const Database& database);
  // Error notFound when the run itself has no such step.
  Result<StepPointer> read(RunId run, StepIndex index);

 private:
  Statement step_, forward_, distribution_, node_, verdict_, draw_, committed_, cell_, fact_, measure_;
  bool hasMeasures_ = false;  // files of schema 1 and 2 have no such table
};

Status writeRun(const Database& database, const RunInfo& info);
Result<std::vector<RunInfo>> readRuns(const Database& database);

}  // namespace decoscope
