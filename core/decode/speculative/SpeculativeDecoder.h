// A speculative round: a Proposer × a Verifier × a Controller. Nothing here knows which drafter runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/decode/control/Controller.h"
#include "core/decode/draft/Proposer.h"
#include "core/decode/verify/Verifier.h"

namespace decoscope {

using ProposerFactory = std::function<Result<std::unique_ptr<Proposer>>(const DecoderSetup&, const Chooser&)>;

// Sampling parameters and `adaptive`, as every speculative method has them.
ParamSchema speculativeSchema(bool adaptiveByDefault);

// Registers a method whose rounds are built from this proposer. The schema must contain speculativeSchema().
// Parameters "rule" = r4 with "epsilon" and "delta", where the schema has them, select typical acceptance.
void addSpeculative(MethodRegistry& registry, MethodInfo info, ProposerFactory proposer);

}  // namespace decoscope
