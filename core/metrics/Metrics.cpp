#include "core/metrics/Metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

namespace decoscope {

namespace {

// Σ min(p, q) over the recorded heads of two distributions: a lower bound that is exact where the tails are
// empty.
double overlap(const DistributionFact& p, const DistributionFact& q) {
  std::unordered_map<TokenId, float> byToken;
  for (std::size_t i = 0; i < q.tokens.size(); ++i) byToken[q.tokens[i]] = q.probabilities[i];
  double sum = 0;
  for (std::size_t i = 0; i < p.tokens.size(); ++i)
    if (const auto found = byToken.find(p.tokens[i]); found != byToken.end())
      sum += std::min(p.probabilities[i], found->second);
  return sum;
}

class Accumulator {
 public:
  void add(const StepRecord& step) {
    ++stats_.steps;
    stats_.draftSeconds += step.draftMilliseconds / 1e3;
    stats_.verifySeconds += step.verifyMilliseconds / 1e3;
    stats_.otherSeconds += step.otherMilliseconds / 1e3;
    std::map<NodeId, const DistributionFact*> raw, p, q;
    std::int64_t proposed = 0;
    for (const Event& event : step.events) {
      if (const auto* forward = std::get_if<ForwardFact>(&event))
        addForward(*forward);
      else if (std::get_if<ProposeFact>(&event))
        ++proposed;
      else if (const auto* verdict = std::get_if<VerdictFact>(&event))
        addVerdict(*verdict);
      else if (const auto* measure = std::get_if<MeasureFact>(&event))
        addMeasure(*measure);
      else if (const auto* distribution = std::get_if<DistributionFact>(&event)) {
        if (distribution->position >= 0 || distribution->stage > 0) continue;
        if (distribution->kind == DistributionKind::targetRaw) raw[distribution->node] = distribution;
        if (distribution->kind == DistributionKind::target) p[distribution->node] = distribution;
        if (distribution->kind == DistributionKind::draft) q[distribution->node] = distribution;
      }
    }
    stats_.proposed += proposed;
    if (proposed > 0) ++stats_.rounds;
    // A committed token is predicted by the row of the token before it on the path.
    NodeId before = kRootNode;
    for (const Event& event : step.events)
      if (const auto* commit = std::get_if<CommitFact>(&event)) {
        ++stats_.newTokens;
        if (const auto row = raw.find(before); row != raw.end()) addSurprisal(*row->second, commit->token);
        before = commit->node;
      }
    for (const auto& [node, draft] : q)
      if (const auto target = p.find(node); target != p.end())
        overlap_ += overlap(*target->second, *draft), ++overlaps_;
  }

  RunStats finish(double prefillMilliseconds, std::int64_t peakMemory) {
    RunStats s = stats_;
    s.prefillSeconds = std::isnan(prefillMilliseconds) ? 0 : prefillMilliseconds / 1e3;
    const double decode = s.draftSeconds + s.verifySeconds + s.otherSeconds;
    s.seconds = decode + s.prefillSeconds;
    s.tokensPerSecond = decode > 0 ? static_cast<double>(s.newTokens) / decode : 0;
    s.acceptanceRate = s.tested > 0 ? static_cast<double>(s.accepted) / static_cast<double>(s.tested) : 0;
    s.meanAcceptedLength = s.rounds > 0 ? static_cast<double>(s.accepted) / static_cast<double>(s.rounds) : 0;
    s.blockEfficiency =
        s.targetForwards > 0 ? static_cast<double>(s.newTokens) / static_cast<double>(s.targetForwards) : 0;
    s.peakMemoryBytes = peakMemory;
    if (surprisals_ > 0) s.meanSurprisal = surprisal_ / surprisals_, s.meanEntropy = entropy_ / surprisals_;
    if (overlaps_ > 0) s.alpha = overlap_ / overlaps_;
    return s;
  }

 private:
  void addForward(const ForwardFact& forward) {
    const bool drafting = forward.phase == ForwardPhase::draft || forward.role != "target";
    (drafting ? stats_.drafterTokens : stats_.targetTokens) += forward.tokens;
    if (forward.phase != ForwardPhase::prefill) ++(drafting ? stats_.drafterForwards : stats_.targetForwards);
  }
  void addVerdict(const VerdictFact& verdict) {
    if (verdict.verdict == VerdictKind::accepted) ++stats_.accepted, ++stats_.tested;
    if (verdict.verdict == VerdictKind::rejected) ++stats_.tested;
  }
  void addMeasure(const MeasureFact& fact) {
    auto found = std::find_if(stats_.measures.begin(), stats_.measures.end(), [&](const MeasureSummary& m) {
      return m.name == fact.name && m.unit == fact.unit;
    });
    if (found == stats_.measures.end())
      found = stats_.measures.insert(found, MeasureSummary{fact.name, fact.unit});
    ++found->count;
    found->last = fact.value;
    if (!std::isfinite(fact.value)) {
      ++found->notFinite;
      return;
    }
    // fmin and fmax leave out what is not known yet.
    found->smallest = std::fmin(found->smallest, fact.value);
    found->largest = std::fmax(found->largest, fact.value);
  }
  void addSurprisal(const DistributionFact& row, TokenId token) {
    const auto found = std::find(row.tokens.begin(), row.tokens.end(), token);
    if (found == row.tokens.end()) return;
    surprisal_ -= std::log(row.probabilities[static_cast<std::size_t>(found - row.tokens.begin())]);
    entropy_ += row.entropy;
    ++surprisals_;
  }

  RunStats stats_;
  double surprisal_ = 0, entropy_ = 0, overlap_ = 0;
  std::int64_t surprisals_ = 0, overlaps_ = 0;
};

}  // namespace

Result<RunStats> statsOf(const TraceSource& source, RunId id, bool wholeLine) {
  const auto info = source.run(id);
  if (!info) return fail(ErrorCode::badInput, "there is no run " + std::to_string(id.value), "--run");
  Accumulator accumulator;
  std::vector<LineSegment> line = lineOf(source, id);
  if (!wholeLine && line.size() > 1) line.erase(line.begin(), line.end() - 1);
  for (const LineSegment& segment : line)
    for (StepIndex index = segment.first; index < segment.end; ++index) {
      DECOSCOPE_ASSIGN(const StepPointer step, source.step(segment.run, index));
      accumulator.add(*step);
    }
  return accumulator.finish(info->prefillMilliseconds, info->peakMemoryBytes);
}

std::optional<RunId> baselineFor(const TraceSource& source, RunId run) {
  const auto info = source.run(run);
  if (!info) return std::nullopt;
  const auto target = [](const RunInfo& i) {
    const auto found = std::find_if(i.models.begin(), i.models.end(),
                                    [](const ModelIdentity& model) { return model.role == "target"; });
    return found == i.models.end() ? std::string()
                                   : found->fingerprint + '/' + found->dtype + '/' + found->device;
  };
  for (const RunInfo& other : source.runs())
    if (other.id != run && other.method == "sampling" && !other.parent && other.prompt == info->prompt &&
        target(other) == target(*info) && source.extent(other.id).second > 0)
      return other.id;
  return std::nullopt;
}

std::optional<Metric> speedUp(const RunStats& stats, const RunStats& baseline, RunId baselineRun) {
  if (!(baseline.tokensPerSecond > 0) || !(stats.tokensPerSecond > 0)) return std::nullopt;
  return Metric{"speed_up",
                "Speed-up",
                stats.tokensPerSecond / baseline.tokensPerSecond,
                "×",
                "tokens_per_second / tokens_per_second of the baseline",
                "Against run " + std::to_string(baselineRun.value) + ".",
                "step"};
}

std::vector<Metric> metricsOf(const RunStats& s) {
  const auto count = [](std::int64_t value) { return static_cast<double>(value); };
  std::vector<Metric> metrics = {
      {"new_tokens", "New tokens", count(s.newTokens), "tokens", "number of commits",
       "Tokens that the run added to the text.", "committed"},
      {"steps", "Steps", count(s.steps), "steps", "number of sealed steps",
       "Presses of Step: a token, a round or a denoising pass.", "step"},
      {"target_forwards", "Target forwards", count(s.targetForwards), "forwards",
       "forwards of the target without prefill", "How often the target ran.", "forward"},
      {"drafter_forwards", "Drafter forwards", count(s.drafterForwards), "forwards",
       "forwards in the draft phase", "How often the drafter ran.", "forward"},
      {"target_tokens", "Target tokens", count(s.targetTokens), "tokens",
       "sum of tokens over target forwards", "Tokens that the target processed, prompt included.", "forward"},
      {"drafter_tokens", "Drafter tokens", count(s.drafterTokens), "tokens",
       "sum of tokens over drafter forwards", "Tokens that the drafter processed.", "forward"},
      {"proposed", "Proposed", count(s.proposed), "tokens", "number of proposals",
       "Draft tokens that were proposed, also those never reached.", "node"},
      {"accepted", "Accepted", count(s.accepted), "tokens", "accepted verdicts",
       "Draft tokens that were kept.", "verdict"},
      {"acceptance_rate", "Acceptance rate", s.acceptanceRate, "", "accepted / (accepted + rejected)",
       "Share of tested draft tokens that were kept; never reached ones do not count.", "verdict"},
      {"mean_accepted_length", "Mean accepted length", s.meanAcceptedLength, "tokens", "accepted / rounds",
       "Draft tokens kept per round, the bonus token not counted.", "verdict"},
      {"block_efficiency", "Block efficiency", s.blockEfficiency, "tokens", "new_tokens / target_forwards",
       "Tokens committed per forward of the target; plain decoding has 1.", "committed, forward"},
      {"seconds", "Seconds", s.seconds, "s", "prefill + draft + verify + other", "Wall clock of the run.",
       "step, run"},
      {"prefill_seconds", "Prefill", s.prefillSeconds, "s", "sum of prefill forwards",
       "Time of running the prompt.", "run"},
      {"draft_seconds", "Draft", s.draftSeconds, "s", "sum of draft time", "Time spent on proposing.",
       "step"},
      {"verify_seconds", "Verify", s.verifySeconds, "s", "sum of verify time",
       "Time of target forwards and verdicts.", "step"},
      {"other_seconds", "Other", s.otherSeconds, "s", "sum of the rest",
       "Time of everything else within steps.", "step"},
      {"tokens_per_second", "Tokens per second", s.tokensPerSecond, "tokens/s",
       "new_tokens / (draft + verify + other)", "Decoding speed without the prompt.", "step"},
      {"peak_memory_bytes", "Peak memory", count(s.peakMemoryBytes), "bytes", "largest resident size",
       "Of the whole process.", "run"},
      {"mean_surprisal", "Mean surprisal", s.meanSurprisal, "nats", "mean of −ln p_raw(token)",
       "Of the committed tokens under the raw target, where the token is among the recorded ones.",
       "distribution, committed"},
      {"mean_entropy", "Mean entropy", s.meanEntropy, "nats", "mean of H(p_raw)",
       "Of the raw target at committed positions.", "distribution"},
      {"alpha", "Acceptance α", s.alpha, "", "mean of Σ min(p, q)",
       "Over visited draft positions where both distributions were recorded; a lower bound by the unrecorded "
       "tail.",
       "distribution"},
  };
  if (s.newTokens == 0 && !s.measures.empty())
    std::erase_if(metrics, [](const Metric& metric) {
      return metric.name != "steps" && metric.name != "seconds" && metric.name != "peak_memory_bytes";
    });
  for (const MeasureSummary& m : s.measures) {
    std::string title = m.name;
    std::replace(title.begin(), title.end(), '_', ' ');
    metrics.push_back({m.name + ".last", title, m.last, m.unit, "its last value",
                       "Over " + std::to_string(m.count) + " values, " + std::to_string(m.notFinite) +
                           " of them not finite.",
                       "measure"});
    metrics.push_back({m.name + ".smallest", title + ", smallest", m.smallest, m.unit, "min of its values",
                       "The smallest finite value.", "measure"});
    metrics.push_back({m.name + ".largest", title + ", largest", m.largest, m.unit, "max of its values",
                       "The largest finite value.", "measure"});
  }
  return metrics;
}

}  // namespace decoscope
