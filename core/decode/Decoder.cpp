#include "core/decode/Decoder.h"

#include <algorithm>

namespace decoscope {

namespace {

// Long prompts run in chunks, so that a stop is noticed and memory stays bounded.
constexpr std::size_t kPrefillChunk = 128;

}  // namespace

Result<std::size_t> Sequence::align(Model& model, std::span<const TokenId> text) {
  const auto mismatch = std::mismatch(tokens_.begin(), tokens_.end(), text.begin(), text.end());
  const auto common = static_cast<std::size_t>(mismatch.first - tokens_.begin());
  if (common < tokens_.size()) DECOSCOPE_TRY(retain(model, static_cast<int>(common)));
  return common;
}

Status Sequence::retain(Model& model, int prefix, std::span<const std::int32_t> slots) {
  DECOSCOPE_TRY(model.retain(prefix, slots));
  std::vector<TokenId> kept(tokens_.begin(), tokens_.begin() + prefix);
  for (const std::int32_t slot : slots) kept.push_back(tokens_[static_cast<std::size_t>(slot)]);
  tokens_ = std::move(kept);
  return {};
}

bool DecodeEnvironment::commit(TokenId token, Provenance provenance, NodeId node) {
  if (!stopReason.empty()) return false;
  recorder->add(CommitFact{static_cast<std::int64_t>(text.size()), token, provenance, node});
  text.push_back(token);
  if (std::find(stopTokens.begin(), stopTokens.end(), token) != stopTokens.end()) {
    stopReason = kStopEnd;
    return false;
  }
  if (!stopStrings.empty()) {
    std::size_t longest = 0;
    for (const std::string& stop : stopStrings) longest = std::max(longest, stop.size());
    const std::string bytes = tokenizer->bytesOf(token);
    tail_ += bytes;
    for (const std::string& stop : stopStrings)
      if (tail_.find(stop) != std::string::npos) {
        stopReason = kStopString;
        return false;
      }
    // What could still be the beginning of a stop string.
    if (tail_.size() >= longest) tail_.erase(0, tail_.size() - (longest - 1));
  }
  if (remaining() <= 0) {
    stopReason = kStopLength;
    return false;
  }
  return true;
}

Result<ForwardOutput> DecodeEnvironment::forward(const std::string& roleName, const ForwardRequest& request,
                                                 ForwardPhase phase) {
  RoleModel& role = this->role(roleName);
  const int cached = role.model->cached();
  auto output = role.model->forward(request, stop);
  if (!output) return output;
  if (request.visibility == Visibility::causal) role.sequence.extended(request.tokens);
  recorder->add(ForwardFact{roleName, phase, static_cast<std::int32_t>(request.tokens.size()), cached,
                            request.lastLayer, output->milliseconds});
  return output;
}

Status DecodeEnvironment::prefill(const std::string& roleName, const std::vector<Tap>& taps,
                                  const TakeStates& take) {
  RoleModel& role = this->role(roleName);
  const std::span<const TokenId> wanted(text.data(), text.size() - 1);
  DECOSCOPE_ASSIGN(std::size_t done, role.sequence.align(*role.model, wanted));
  while (done < wanted.size()) {
    const auto chunk = wanted.subspan(done, std::min(kPrefillChunk, wanted.size() - done));
    ForwardRequest request;
    request.tokens.assign(chunk.begin(), chunk.end());
    request.taps = taps;
    DECOSCOPE_ASSIGN(const ForwardOutput output, forward(roleName, request, ForwardPhase::prefill));
    if (take) DECOSCOPE_TRY(take(done, output.taps));
    done += chunk.size();
  }
  return {};
}

void MethodRegistry::add(MethodInfo info, DecoderFactory factory) {
  entries_.push_back({std::move(info), std::move(factory)});
}

std::vector<const MethodInfo*> MethodRegistry::methods() const {
  std::vector<const MethodInfo*> result;
  for (const Entry& entry : entries_) result.push_back(&entry.info);
  return result;
}

Result<const MethodInfo*> MethodRegistry::find(const std::string& name) const {
  std::string known;
  for (const Entry& entry : entries_) {
    if (entry.info.name == name) return &entry.info;
    known += (known.empty() ? "" : ", ") + entry.info.name;
  }
  return fail(ErrorCode::usage, "unknown method '" + name + "'", "--method", "Known methods: " + known + ".");
}

Result<std::unique_ptr<Decoder>> MethodRegistry::create(const std::string& name,
                                                        const DecoderSetup& setup) const {
  DECOSCOPE_TRY(find(name));
  for (const Entry& entry : entries_)
    if (entry.info.name == name) return entry.factory(setup);
  return fail(ErrorCode::usage, "unknown method '" + name + "'");
}

std::string missingNeed(const std::vector<std::string>& needs, const Capabilities& can) {
  for (const std::string& need : needs) {
    if (need == "trees" && !can.trees) return "tree forwards";
    if (need == "early exit" && !can.earlyExit) return "early exit";
    if (need == "masked diffusion" && !can.maskedDiffusion)
      return "masked diffusion (a mask token and full visibility)";
    if (need == "hidden states" && !can.hiddenStates) return "hidden states";
    if (need == "causal" && !can.causal) return "next-token logits";
  }
  return {};
}

Status checkNeeds(const MethodInfo& method, const ParamSet& parameters,
                  const std::map<std::string, RoleModel*>& roles) {
  for (const std::string& role : method.rolesFor ? method.rolesFor(parameters) : method.roles)
    if (!roles.contains(role))
      return fail(ErrorCode::badInput,
                  "the method " + method.name + " needs a model for the role '" + role + "'", "--model",
                  "Name one with --model " + role + "=PATH.");
  const Model& target = *roles.at("target")->model;
  const std::string lacks = missingNeed(method.needs, target.capabilities());
  if (!lacks.empty())
    return fail(ErrorCode::unsupported,
                "the method " + method.name + " needs " + lacks + ", which this model does not offer",
                target.info().name,
                "Choose another model or method; `models show` lists what a model can do.");
  return {};
}

}  // namespace decoscope
