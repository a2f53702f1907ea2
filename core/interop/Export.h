// Traces to files that other programs read. Numbers have round-trip precision; unknown numbers are null
// (JSONL) or empty (CSV).
#pragma once

#include <optional>
#include <ostream>

#include "core/trace/Trace.h"

namespace decoscope {

// One JSON object a line: {"type":"run",…}, then for each of its steps {"type":"step",…} and one line for
// each fact, in order.
Status exportJsonl(const TraceSource& source, std::optional<RunId> run, std::ostream& out);
// One row per committed token: run, step, position, token_id, token_bytes_hex, text, provenance, node, and p,
// q, u, threshold, rule of its verdict where it was proposed. RFC 4180. Error usage: the runs hold measures
// and no tokens.
Status exportCsv(const TraceSource& source, std::optional<RunId> run, std::ostream& out);
// One row per measured number: run, step, at, name, value, unit. `at` is the step where none was given.
Status exportMeasuresCsv(const TraceSource& source, std::optional<RunId> run, std::ostream& out);

}  // namespace decoscope
