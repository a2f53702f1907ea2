// The documents that `run` and `fork` print.
#pragma once

#include "app/cli/Command.h"
#include "core/metrics/Metrics.h"
#include "core/session/Engine.h"

namespace decoscope::cli {

json statsJson(const RunStats& stats);
// The run that the engine stands in. `session` is the file's path or empty.
Result<json> runDocument(const Engine& engine, const std::string& session);

}  // namespace decoscope::cli
