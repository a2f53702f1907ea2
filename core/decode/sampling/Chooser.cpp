#include "core/decode/sampling/Chooser.h"

#include <cmath>

namespace decoscope {

Result<Chooser> Chooser::create(const ParamSet& parameters) {
  DECOSCOPE_ASSIGN(SamplingSettings settings, samplingSettings(parameters));
  return Chooser(std::move(settings));
}

Result<Distribution> Chooser::distribution(const DecodeEnvironment& environment, const Logits& logits,
                                           int row, std::span<const TokenId> path) const {
  const History history{environment.text, environment.promptLength, path};
  return processLogits(logits.row(row), settings_, history, environment.usableVocabulary());
}

Result<TokenId> Chooser::greedy(const DecodeEnvironment& environment, const Logits& logits, int row,
                                std::span<const TokenId> path, const RowSummary* summary) const {
  const bool padded = logits.vocabularySize() > environment.usableVocabulary();
  if (!settings_.changesOrder() && !padded) {
    if (summary && !summary->tokens.empty()) return summary->tokens.front();
    return logits.argmax(row);
  }
  DECOSCOPE_ASSIGN(const Distribution p, distribution(environment, logits, row, path));
  return argmax(p);
}

Result<TokenId> Chooser::choose(DecodeEnvironment& environment, const Logits& logits, int row, NodeId node,
                                std::span<const TokenId> path, DrawPurpose purpose,
                                const RowSummary* summary) const {
  DrawFact fact;
  fact.node = node;
  fact.purpose = purpose;
  if (settings_.greedy()) {
    DECOSCOPE_ASSIGN(fact.token, greedy(environment, logits, row, path, summary));
    if (summary)
      fact.probability = std::exp(logits.row(row)[static_cast<std::size_t>(fact.token)] - summary->logSumExp);
    environment.recorder->add(fact);
    return fact.token;
  }
  DECOSCOPE_ASSIGN(const Distribution p, distribution(environment, logits, row, path));
  const auto position = static_cast<std::int64_t>(environment.text.size() + path.size());
  // Every draw from the target itself shares one purpose in the counter: see the contract of choose().
  fact.u = environment.draw(position, kRootNode, DrawPurpose::sample);
  const Draw drawn = drawFrom(p, fact.u);
  fact.token = drawn.token;
  fact.low = drawn.low;
  fact.high = drawn.high;
  fact.probability = p[static_cast<std::size_t>(drawn.token)];
  if (environment.recorder->wantsDistributions()) {
    const Recorder::Timer timer(*environment.recorder, TimeShare::recording);
    environment.recorder->add(digest(p, DistributionKind::target, node, environment.recorder->topK()));
  }
  environment.recorder->add(fact);
  return fact.token;
}

Result<std::vector<TokenId>> CausalDecoder::pending(DecodeEnvironment& environment) const {
  RoleModel& target = environment.target();
  if (environment.text.size() > static_cast<std::size_t>(target.model->info().contextLength)) {
    environment.stopReason = kStopContext;
    environment.recorder->note(
        "stop", "The context of " + std::to_string(target.model->info().contextLength) + " tokens is full.");
    return std::vector<TokenId>{};
  }
  const std::span<const TokenId> all(environment.text);
  DECOSCOPE_ASSIGN(std::size_t done, target.sequence.align(*target.model, all.first(all.size() - 1)));
  return std::vector<TokenId>(environment.text.begin() + static_cast<std::ptrdiff_t>(done),
                              environment.text.end());
}

Status CausalDecoder::force(DecodeEnvironment& environment, TokenId token, Provenance provenance) {
  ForwardRequest request;
  DECOSCOPE_ASSIGN(request.tokens, pending(environment));
  if (request.tokens.empty()) return {};
  request.logitRows = {static_cast<std::int32_t>(request.tokens.size()) - 1};
  {
    Recorder::Timer timer(*environment.recorder, TimeShare::verify);
    DECOSCOPE_ASSIGN(const ForwardOutput output, environment.forward("target", request, ForwardPhase::plain));
    if (environment.recorder->wantsDistributions()) {
      const Recorder::Timer recording(*environment.recorder, TimeShare::recording);
      DECOSCOPE_ASSIGN(const RowSummary summary, output.logits->summary(0, environment.recorder->topK()));
      environment.recorder->add(digest(summary, DistributionKind::targetRaw, kRootNode));
      const double logit = output.logits->row(0)[static_cast<std::size_t>(token)];
      environment.recorder->add(
          ScoreFact{kRootNode, kForcedProbability, std::exp(logit - summary.logSumExp)});
    }
  }
  environment.recorder->note("forced", provenance == Provenance::kept
                                           ? "Kept from the run that was forked."
                                           : "Token " + std::to_string(token) + " was forced here.");
  environment.commit(token, provenance);
  return {};
}

}  // namespace decoscope
