#include "core/model/torch/RequestCheck.h"

#include <algorithm>
#include <limits>

namespace decoscope {

Status checkRequest(const ForwardRequest& request, const TransformerConfig& config, const CacheForest& cache,
                    const std::string& model) {
  const auto count = static_cast<std::int64_t>(request.tokens.size());
  DECOSCOPE_TRY(cache.check(request));
  for (const TokenId token : request.tokens)
    if (token < 0 || token >= config.vocabulary)
      return fail(ErrorCode::badInput,
                  "token id " + std::to_string(token) + " is not in the vocabulary of " +
                      std::to_string(config.vocabulary),
                  model);
  for (const std::int32_t row : request.logitRows)
    if (row < 0 || row >= count) return fail(ErrorCode::usage, "there is no row " + std::to_string(row));
  if (request.visibility == Visibility::full && cache.size() != 0)
    return fail(ErrorCode::usage, "full visibility needs an empty cache");
  if (request.visibility == Visibility::causal && config.diffusion)
    return fail(ErrorCode::unsupported, "a masked-diffusion model has no causal forward", model);
  const bool resumes = request.firstLayer > 0;
  if (!request.inputs.empty() && static_cast<std::int64_t>(request.inputs.size()) != count * config.width)
    return fail(ErrorCode::usage, "inputs must hold one vector of the model's width a token");
  if (config.followsFeatures && request.inputs.empty())
    return fail(ErrorCode::usage, "a draft head needs the feature before each token as its input", model);
  if (request.firstLayer < 0 || (resumes && (request.inputs.empty() || request.firstLayer >= config.layers ||
                                             request.visibility == Visibility::full)))
    return fail(ErrorCode::usage, "a forward can resume only what is cached, with its states as inputs");
  // Several texts may hold more than the context together; the forward checks the positions of each.
  const std::int64_t slots = cache.size() + (resumes ? 0 : count);
  if (!resumes && request.follows.empty() && slots > config.context)
    return fail(
        ErrorCode::badInput,
        std::to_string(slots) + " tokens do not fit into the context of " + std::to_string(config.context),
        model, "Shorten the prompt or ask for fewer tokens.");
  if (slots > std::numeric_limits<std::int32_t>::max())
    return fail(ErrorCode::badInput, "the cache cannot hold " + std::to_string(slots) + " tokens", model);
  if (request.lastLayer == 0 || request.lastLayer > config.layers ||
      (request.lastLayer > 0 && request.lastLayer <= request.firstLayer))
    return fail(ErrorCode::usage, "the model has " + std::to_string(config.layers) + " layers");
  // What a forward of some of the layers comes by: a resumed one is given its first stream, and does not
  // make it.
  const int first = request.firstLayer, last = request.lastLayer > 0 ? request.lastLayer : config.layers;
  for (const Tap& tap : request.taps) {
    const bool residual = tap.site == TapSite::residual;
    if (tap.layer < first + (residual && resumes ? 1 : 0) || tap.layer > last - (residual ? 0 : 1))
      return fail(ErrorCode::usage, "the forward has no layer " + std::to_string(tap.layer) + " to watch");
    if ((tap.site == TapSite::preActivation || tap.site == TapSite::neuron) && config.sparse(tap.layer))
      return fail(ErrorCode::unsupported,
                  "layer " + std::to_string(tap.layer) + " has experts, whose neurons cannot be watched",
                  model);
  }
  for (const Intervention& change : request.interventions) {
    const bool neuron = change.site == Intervention::Site::neuron;
    const std::size_t values = neuron ? change.vector.size()
                               : change.kind == Intervention::Kind::scale
                                   ? 1
                                   : static_cast<std::size_t>(config.width);
    if (change.layer < first + (!neuron && resumes ? 1 : 0) || change.layer > last - (neuron ? 1 : 0) ||
        change.row < -1 || change.row >= count || change.vector.size() != values ||
        (neuron && (change.neuron < 0 || change.neuron >= config.inner || config.sparse(change.layer))))
      return fail(ErrorCode::usage, "an intervention does not fit the model");
    if (!neuron && change.kind == Intervention::Kind::clamp &&
        std::all_of(change.vector.begin(), change.vector.end(), [](float value) { return value == 0; }))
      return fail(ErrorCode::usage, "a clamp needs a direction, not a vector of zeros");
  }
  return {};
}

}  // namespace decoscope
