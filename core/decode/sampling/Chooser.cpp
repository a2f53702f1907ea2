#include "core/decode/sampling/Chooser.h"

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
                                std::span<const TokenId> path) const {
  const bool padded = logits.vocabularySize() > environment.usableVocabulary();
  if (!settings_.changesOrder() && !padded) return logits.argmax(row);
  DECOSCOPE_ASSIGN(const Distribution p, distribution(environment, logits, row, path));
  return argmax(p);
}

Result<TokenId> Chooser::choose(DecodeEnvironment& environment, const Logits& logits, int row, NodeId node,
                                std::span<const TokenId> path, DrawPurpose purpose) const {
  DrawFact fact;
  fact.node = node;
  fact.purpose = purpose;
  if (settings_.greedy()) {
    DECOSCOPE_ASSIGN(fact.token, greedy(environment, logits, row, path));
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
  if (environment.recorder->wantsDistributions())
    environment.recorder->add(digest(p, DistributionKind::target, node, environment.recorder->topK()));
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

Status CausalDecoder::force(DecodeEnvironment& environment, TokenId token) {
  ForwardRequest request;
  DECOSCOPE_ASSIGN(request.tokens, pending(environment));
  if (request.tokens.empty()) return {};
  request.logitRows = {static_cast<std::int32_t>(request.tokens.size()) - 1};
  {
    Recorder::Timer timer(*environment.recorder, TimeShare::verify);
    DECOSCOPE_ASSIGN(const ForwardOutput output, environment.forward("target", request, ForwardPhase::plain));
    if (environment.recorder->wantsDistributions()) {
      DECOSCOPE_ASSIGN(const RowSummary summary, output.logits->summary(0, environment.recorder->topK()));
      environment.recorder->add(digest(summary, DistributionKind::targetRaw, kRootNode));
    }
  }
  environment.recorder->note("forced", "Token " + std::to_string(token) + " was forced here.");
  environment.commit(token, Provenance::forced);
  return {};
}

}  // namespace decoscope
