// Re-derives what a recorded run decided: every draw from its coordinates, every verdict from its numbers, every commit from verdicts
// and draws. Needs no model.
#pragma once

#include <string>
#include <vector>

#include "core/trace/Trace.h"

namespace decoscope {

struct AuditFailure {
  StepIndex step = 0;
  NodeId node = kRootNode;
  std::string what;   // "the u of node 3 is 0.71, its coordinates give 0.32"
};
struct AuditReport {
  RunId run;
  std::int64_t checked = 0;  // facts that were re-derived
  std::vector<AuditFailure> failed;
};
Result<AuditReport> auditRun(const TraceSource& source, RunId run);

}  // namespace decoscope
