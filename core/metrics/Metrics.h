// Figures of a run, each with its formula, definition and inputs, computed from the recorded facts alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/trace/Trace.h"

namespace decoscope {

// What became of a named number over the steps of a line (MeasureFact). Values that are not finite are
// counted and not compared.
struct MeasureSummary {
  std::string name, unit;
  std::int64_t count = 0, notFinite = 0;
  double last = kUnknown, smallest = kUnknown, largest = kUnknown;
};

// The statistics of the command line; names are fixed (see the command-line contract).
struct RunStats {
  std::int64_t newTokens = 0, steps = 0;
  std::int64_t targetForwards = 0, drafterForwards = 0;  // prefill not counted
  std::int64_t targetTokens = 0, drafterTokens = 0;      // tokens processed, prefill included
  std::int64_t proposed = 0, accepted = 0, rounds = 0;   // a round is a step that proposed something
  std::int64_t tested = 0;        // proposals that a verdict was given on
  double acceptanceRate = 0;      // accepted ÷ tested: proposals that were never reached do not count
  double meanAcceptedLength = 0;  // accepted per round, the bonus token not counted
  double blockEfficiency = 0;     // new tokens ÷ target forwards
  double seconds = 0, prefillSeconds = 0, draftSeconds = 0, verifySeconds = 0, otherSeconds = 0;
  double tokensPerSecond = 0;  // new tokens ÷ (draft + verify + other)
  std::int64_t peakMemoryBytes = 0;
  double meanSurprisal = kUnknown;  // nats per committed token under the raw target, where recorded
  double meanEntropy = kUnknown;    // nats, of the raw target at committed positions
  double alpha = kUnknown;          // mean Σ min(p, q) over visited draft positions where both were recorded
  std::vector<MeasureSummary> measures;  // in the order in which they first occur
};
// Over the whole line that ends in `run` (`wholeLine`), or over the steps of that run alone.
Result<RunStats> statsOf(const TraceSource& source, RunId run, bool wholeLine);

struct Metric {
  std::string name, title;
  double value = kUnknown;
  std::string unit, formula, definition, inputs;
};
// Of a run that wrote no tokens and was measured, such as a training, only what says something about it.
std::vector<Metric> metricsOf(const RunStats& stats);

// The run that speeds are compared with when nobody says otherwise: the first run of plain sampling with the
// same prompt on the same target, in the same arithmetic. Nothing for that run itself.
std::optional<RunId> baselineFor(const TraceSource& source, RunId run);
// How many times faster than the baseline; nothing where either has no speed.
std::optional<Metric> speedUp(const RunStats& stats, const RunStats& baseline, RunId baselineRun);

}  // namespace decoscope
