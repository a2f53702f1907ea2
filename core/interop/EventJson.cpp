#include "core/interop/EventJson.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace decoscope {

namespace {

using nlohmann::json;

json real(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

class EventWriter {
 public:
  explicit EventWriter(const TokenNames* names) : names_(names) {}
  json operator()(const ForwardFact& e) const {
    return {{"role", e.role},     {"phase", name(e.phase)},    {"tokens", e.tokens},
            {"cached", e.cached}, {"last_layer", e.lastLayer}, {"ms", real(e.milliseconds)}};
  }
  json operator()(const DistributionFact& e) const {
    json entries = json::array();
    for (std::size_t i = 0; i < e.tokens.size(); ++i) {
      json entry = {{"token", e.tokens[i]}, {"p", e.probabilities[i]}};
      addText(entry, e.tokens[i]);
      entries.push_back(std::move(entry));
    }
    return {{"kind", name(e.kind)},         {"node", e.node},
            {"position", e.position},       {"stage", e.stage},
            {"entropy", real(e.entropy)},   {"tail_mass", real(e.tailMass)},
            {"entries", std::move(entries)}};
  }
  json operator()(const ProposeFact& e) const {
    json object = {{"node", e.node}, {"parent", e.parent}, {"token", e.token}, {"q", real(e.q)},
                   {"rank", e.rank}, {"depth", e.depth},   {"owner", e.owner}};
    addText(object, e.token);
    return object;
  }
  json operator()(const VerdictFact& e) const {
    return {{"node", e.node},
            {"verdict", name(e.verdict)},
            {"rule", name(e.rule)},
            {"p", real(e.p)},
            {"q", real(e.q)},
            {"u", real(e.u)},
            {"threshold", real(e.threshold)},
            {"p_raw", real(e.pRaw)},
            {"p_rank", e.pRank},
            {"stage", e.stage}};
  }
  json operator()(const DrawFact& e) const {
    json object = {{"node", e.node},
                   {"purpose", name(e.purpose)},
                   {"token", e.token},
                   {"u", real(e.u)},
                   {"low", real(e.low)},
                   {"high", real(e.high)},
                   {"probability", real(e.probability)},
                   {"stage", e.stage}};
    addText(object, e.token);
    return object;
  }
  json operator()(const CommitFact& e) const {
    json object = {
        {"position", e.position}, {"token", e.token}, {"provenance", name(e.provenance)}, {"node", e.node}};
    addText(object, e.token);
    return object;
  }
  json operator()(const RollbackFact& e) const { return {{"role", e.role}, {"dropped", e.dropped}}; }
  json operator()(const CellFact& e) const {
    json object = {{"position", e.position},     {"block", e.block},
                   {"token", e.token},           {"confidence", real(e.confidence)},
                   {"entropy", real(e.entropy)}, {"state", name(e.state)}};
    addText(object, e.token);
    return object;
  }
  json operator()(const SwitchFact& e) const {
    return {{"what", e.what}, {"from", e.from}, {"to", e.to}, {"reason", e.reason}};
  }
  json operator()(const ScoreFact& e) const {
    return {{"node", e.node}, {"name", e.name}, {"value", real(e.value)}};
  }
  json operator()(const NoteFact& e) const { return {{"kind", e.kind}, {"text", e.text}}; }
  json operator()(const MeasureFact& e) const {
    json object = {{"name", e.name}, {"value", real(e.value)}, {"unit", e.unit}};
    object["at"] = e.at < 0 ? json(nullptr) : json(e.at);
    return object;
  }

 private:
  void addText(json& object, TokenId token) const {
    if (names_) object["text"] = visibleToken(names_->bytesOf(token));
  }
  const TokenNames* names_;
};

}  // namespace

json eventJson(const Event& event, const TokenNames* names) {
  json object = std::visit(EventWriter(names), event);
  object["event"] = eventName(event);
  return object;
}

json stepJson(const StepRecord& step) {
  return {{"run", step.run.value},
          {"step", step.step},
          {"committed_before", step.committedBefore},
          {"committed_after", step.committedAfter},
          {"draft_ms", real(step.draftMilliseconds)},
          {"verify_ms", real(step.verifyMilliseconds)},
          {"other_ms", real(step.otherMilliseconds)},
          {"started_at", step.startedAt},
          {"failed", step.failed}};
}

json runJson(const RunInfo& info, StepIndex steps) {
  json parameters = json::object(), models = json::array();
  for (const auto& [name, value] : info.parameters.values())
    std::visit([&, key = name](const auto& v) { parameters[key] = v; }, value);
  for (const ModelIdentity& model : info.models)
    models.push_back({{"role", model.role},
                      {"name", model.name},
                      {"path", model.path},
                      {"fingerprint", model.fingerprint},
                      {"dtype", model.dtype},
                      {"device", model.device}});
  json object = {{"run", info.id.value},
                 {"name", info.name},
                 {"method", info.method},
                 {"steps", steps},
                 {"fork_step", info.forkStep},
                 {"parameters", parameters},
                 {"seed", info.seed},
                 {"models", models},
                 {"tokenizer", info.tokenizer},
                 {"prompt_text", info.promptText},
                 {"prompt_ids", info.prompt},
                 {"max_new_tokens", info.maxNewTokens},
                 {"stop_strings", info.stopStrings},
                 {"top_k_recorded", info.topK},
                 {"record", info.recordLevel},
                 {"notes", info.notes},
                 {"created_at", info.createdAt},
                 {"state", name(info.state)},
                 {"stop_reason", info.stopReason}};
  object["parent"] = info.parent ? json(info.parent.value) : json(nullptr);
  object["forced_token"] = info.forced.empty() ? json(nullptr) : json(info.forced.back());
  object["forced_tokens"] = info.forced;
  object["kept_tokens"] = info.kept;
  return object;
}

}  // namespace decoscope
