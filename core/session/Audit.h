// Re-derives what a recorded run decided: every draw from its coordinates, every verdict from its numbers,
// every commit from verdicts and draws. Needs no model.
#pragma once

#include <string>
#include <vector>

#include "core/base/Stop.h"
#include "core/trace/Trace.h"

namespace decoscope {

struct AuditFailure {
  StepIndex step = 0;
  NodeId node = kRootNode;
  std::string what;  // "the u of node 3 is 0.71, its coordinates give 0.32"
};
struct AuditReport {
  RunId run;
  std::int64_t checked = 0;  // facts that were re-derived
  std::vector<AuditFailure> failed;
};
Result<AuditReport> auditRun(const TraceSource& source, RunId run);

class Engine;
// Runs `run` of the engine's session again and compares: tokens and verdicts must be the same, probabilities
// equal up to the rounding of another machine's arithmetic (relative 1e-3, absolute 1e-6). Appends to
// `report`. A training has nothing to repeat and adds nothing. Errors: a model that cannot run it.
Status auditAgainstModel(Engine& engine, RunId run, const StopToken& stop, AuditReport& report);

}  // namespace decoscope
