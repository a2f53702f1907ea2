// Plain autoregressive decoding: one forward, one token.
#include <map>
#include <sstream>

#include "core/decode/Methods.h"
#include "core/decode/sampling/Chooser.h"

namespace decoscope {

namespace {

// "0:123,5:42": at generated index 0 the token 123, at index 5 the token 42.
Result<std::map<std::int64_t, TokenId>> parseForced(const std::string& text) {
  std::map<std::int64_t, TokenId> forced;
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    long long index = 0, id = 0;
    int read = 0;
    if (std::sscanf(part.c_str(), "%lld:%lld%n", &index, &id, &read) != 2 ||
        read != static_cast<int>(part.size()) || index < 0 || id < 0)
      return fail(ErrorCode::usage, "'" + part + "' is not INDEX:ID", "parameter forced",
                  "For example forced=0:123,5:42");
    forced[index] = static_cast<TokenId>(id);
  }
  return forced;
}

class SamplingDecoder final : public CausalDecoder {
 public:
  SamplingDecoder(Chooser chooser, std::map<std::int64_t, TokenId> forced)
      : CausalDecoder(std::move(chooser)), forced_(std::move(forced)) {}

  Status step(DecodeEnvironment& environment) override {
    if (const auto forced = forced_.find(environment.generated()); forced != forced_.end()) {
      if (forced->second >= environment.target().model->info().vocabularySize)
        return fail(ErrorCode::usage,
                    "forced token " + std::to_string(forced->second) + " is not in the vocabulary",
                    "parameter forced");
      return force(environment, forced->second, Provenance::forced);
    }
    ForwardRequest request;
    DECOSCOPE_ASSIGN(request.tokens, pending(environment));
    if (request.tokens.empty()) return {};
    request.logitRows = {static_cast<std::int32_t>(request.tokens.size()) - 1};
    ForwardOutput output;
    {
      Recorder::Timer timer(*environment.recorder, TimeShare::verify);
      DECOSCOPE_ASSIGN(output, environment.forward("target", request, ForwardPhase::plain));
    }
    std::optional<RowSummary> summary;
    if (environment.recorder->wantsDistributions()) {
      const Recorder::Timer timer(*environment.recorder, TimeShare::recording);
      DECOSCOPE_ASSIGN(summary, output.logits->summary(0, environment.recorder->topK()));
      environment.recorder->add(digest(*summary, DistributionKind::targetRaw, kRootNode));
    }
    DECOSCOPE_ASSIGN(const TokenId token,
                     chooser_.choose(environment, *output.logits, 0, kRootNode, {}, DrawPurpose::sample,
                                     summary ? &*summary : nullptr));
    environment.commit(token, Provenance::plain);
    return {};
  }

  Status reconfigure(const ParamSet& parameters) override {
    DECOSCOPE_ASSIGN(chooser_, Chooser::create(parameters));
    DECOSCOPE_ASSIGN(forced_, parseForced(parameters.text("forced")));
    return {};
  }

 private:
  std::map<std::int64_t, TokenId> forced_;
};

}  // namespace

void addSampling(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "sampling";
  info.title = "Plain sampling";
  info.family = "sampling";
  info.citation = "Holtzman et al. 2020 (top-p); Fan et al. 2018 (top-k); Meister et al. 2023 (typical)";
  info.summary =
      "One forward of the target per token: greedy at temperature 0, otherwise a draw from the processed "
      "distribution.";
  info.lossless = "sampled";
  info.roles = {"target"};
  info.needs = {"causal"};
  info.schema = samplingSchema().with(ParamSchema(
      {{"forced",
        "Forced tokens",
        ParamType::text,
        std::string(),
        0,
        0,
        {},
        "index:id",
        "Generated positions whose token is given instead of chosen, as INDEX:ID with commas."}}));
  registry.add(std::move(info), [](const DecoderSetup& setup) -> Result<std::unique_ptr<Decoder>> {
    DECOSCOPE_ASSIGN(Chooser chooser, Chooser::create(setup.parameters));
    DECOSCOPE_ASSIGN(auto forced, parseForced(setup.parameters.text("forced")));
    return std::make_unique<SamplingDecoder>(std::move(chooser), std::move(forced));
  });
}

}  // namespace decoscope
