#include "app/cli/RunJson.h"

#include <cmath>

namespace decoscope::cli {

namespace {

json real(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

// The text of the new tokens as it follows the prompt, up to a stop string.
std::string newText(const Engine& engine, const std::vector<TokenId>& ids) {
  std::string text = engine.tokenizer()->decodeContinuation(ids);
  if (engine.current().stopReason == kStopString) {
    std::size_t cut = text.size();
    for (const std::string& stop : engine.current().stopStrings)
      if (const auto at = text.find(stop); at != std::string::npos) cut = std::min(cut, at);
    text.resize(cut);
  }
  return text;
}

struct Round {
  std::int64_t proposed = 0, accepted = 0;
  std::vector<TokenId> committed;
  std::string source = "target";
};

Round roundOf(const StepRecord& step) {
  Round round;
  for (const Event& event : step.events) {
    if (std::holds_alternative<ProposeFact>(event))
      ++round.proposed;
    else if (const auto* verdict = std::get_if<VerdictFact>(&event))
      round.accepted += verdict->verdict == VerdictKind::accepted ? 1 : 0;
    else if (const auto* commit = std::get_if<CommitFact>(&event)) {
      round.committed.push_back(commit->token);
      if (commit->provenance == Provenance::bonus) round.source = "bonus";
      if (commit->provenance == Provenance::forced) round.source = "forced";
    } else if (const auto* draw = std::get_if<DrawFact>(&event)) {
      if (draw->purpose == DrawPurpose::residual) round.source = "residual";
    }
  }
  return round;
}

}  // namespace

json statsJson(const RunStats& s) {
  return {{"new_tokens", s.newTokens},
          {"steps", s.steps},
          {"target_forwards", s.targetForwards},
          {"drafter_forwards", s.drafterForwards},
          {"target_tokens", s.targetTokens},
          {"drafter_tokens", s.drafterTokens},
          {"proposed", s.proposed},
          {"accepted", s.accepted},
          {"tested", s.tested},
          {"acceptance_rate", s.acceptanceRate},
          {"mean_accepted_length", s.meanAcceptedLength},
          {"block_efficiency", s.blockEfficiency},
          {"seconds", s.seconds},
          {"prefill_seconds", s.prefillSeconds},
          {"draft_seconds", s.draftSeconds},
          {"verify_seconds", s.verifySeconds},
          {"other_seconds", s.otherSeconds},
          {"tokens_per_second", s.tokensPerSecond},
          {"peak_memory_bytes", s.peakMemoryBytes},
          {"rounds", s.rounds},
          {"mean_surprisal", real(s.meanSurprisal)},
          {"mean_entropy", real(s.meanEntropy)},
          {"alpha", real(s.alpha)}};
}

Result<json> runDocument(const Engine& engine, const std::string& session) {
  const RunInfo& info = engine.current();
  const TraceSource& source = *engine.recording().source;
  DECOSCOPE_ASSIGN(const RunStats stats, statsOf(source, info.id, true));
  DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(info.method));
  std::vector<TokenId> ids(engine.text().begin() + static_cast<std::ptrdiff_t>(engine.promptLength()),
                           engine.text().end());
  json rounds = json::array(), trajectory = json::array();
  std::map<std::int64_t, TokenId> cells;
  std::map<std::int32_t, StepIndex> blockStart;  // trajectories count the passes of each block from 0
  std::int64_t steps = 0;
  for (const LineSegment& segment : lineOf(source, info.id))
    for (StepIndex index = segment.first; index < segment.end; ++index) {
      DECOSCOPE_ASSIGN(const StepPointer step, source.step(segment.run, index));
      ++steps;
      json positions = json::array(), tokens = json::array(), confidence = json::array();
      std::int32_t block = 0;
      for (const Event& event : step->events)
        if (const auto* cell = std::get_if<CellFact>(&event); cell && cell->state == CellState::committed) {
          positions.push_back(cell->position);
          tokens.push_back(cell->token);
          confidence.push_back(real(cell->confidence));
          block = cell->block;
          cells[cell->position] = cell->token;
        }
      if (!positions.empty())
        trajectory.push_back({{"step", index - blockStart.emplace(block, index).first->second},
                              {"block", block},
                              {"positions", positions},
                              {"tokens", tokens},
                              {"confidence", confidence}});
      if (method->family == "speculative") {
        const Round round = roundOf(*step);
        rounds.push_back({{"step", index},
                          {"proposed", round.proposed},
                          {"accepted", round.accepted},
                          {"committed", round.committed},
                          {"source", round.source}});
      }
    }
  if (!cells.empty() && ids.empty())  // stopped before the canvas was full: what is there
    for (const auto& [position, token] : cells) ids.push_back(token);
  json document = {{"run", info.id.value},
                   {"method", info.method},
                   {"prompt_ids", info.prompt},
                   {"ids", ids},
                   {"text", newText(engine, ids)},
                   {"stop_reason", info.stopReason},
                   {"steps", steps},
                   {"stats", statsJson(stats)},
                   {"session", session.empty() ? json(nullptr) : json(session)},
                   {"seed", info.seed}};
  if (method->family == "speculative") document["rounds"] = rounds;
  if (method->family == "diffusion") {
    document["canvas"] = engine.text();
    document["trajectory"] = trajectory;
  }
  return document;
}

}  // namespace decoscope::cli
