// Facts as JSON objects: the wire form of exports and of `inspect`.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "core/trace/Trace.h"

namespace decoscope {

// `names` (may be null) adds the readable text of tokens.
nlohmann::json eventJson(const Event& event, const TokenNames* names);
nlohmann::json stepJson(const StepRecord& step);  // without its events
nlohmann::json runJson(const RunInfo& info, StepIndex steps);

}  // namespace decoscope
