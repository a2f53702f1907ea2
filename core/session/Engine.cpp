#include "core/session/Engine.h"

#include <algorithm>
#include <chrono>

#include "core/base/Clock.h"
#include "core/base/Process.h"
#include "core/decode/control/Controller.h"
#include "core/model/Bundled.h"
#include "core/tokenizer/Chat.h"

namespace decoscope {

namespace {

class TokenizerNames final : public TokenNames {
 public:
  explicit TokenizerNames(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  std::string bytesOf(TokenId token) const override { return tokenizer_->bytesOf(token); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
};

// Names under which a decoder's state lives in the session file.
std::string initialStateName(RunId run) {
  return "initial/" + std::to_string(run.value);
}
std::string sharedStateName(const RunInfo& info) {
  return "state/" + info.method + "/" + (info.models.empty() ? "" : info.models.front().fingerprint);
}

// The tokens that a recorded step committed, in order of position.
std::vector<CommitFact> commitsOf(const std::vector<Event>& events) {
  std::vector<CommitFact> commits;
  for (const Event& event : events)
    if (const auto* commit = std::get_if<CommitFact>(&event)) commits.push_back(*commit);
  return commits;
}

// How many of the tokens to force repeat what `parent` had committed from the fork's step on. The last one is
// what the user asked for, whatever the parent wrote.
Result<std::int32_t> keptOf(const TraceSource& source, const RunInfo& parent, const ForkRequest& request) {
  if (request.force.size() < 2 || request.step >= source.extent(parent.id).second) return 0;
  DECOSCOPE_ASSIGN(const StepPointer step, source.step(parent.id, request.step));
  const std::vector<CommitFact> commits = commitsOf(step->events);
  std::size_t kept = 0;
  while (kept + 1 < request.force.size() && kept < commits.size() &&
         commits[kept].token == request.force[kept])
    ++kept;
  return static_cast<std::int32_t>(kept);
}

// Runs that only were measured hold nothing that a decoder could go on from.
Status requireText(const RunInfo& info) {
  if (!isTraining(info)) return {};
  return fail(ErrorCode::unsupported,
              "run " + std::to_string(info.id.value) + " is a training: it has no text to go on from",
              "method " + info.method,
              "Start a new run with the model that it made; a training is resumed from its checkpoint.");
}

bool sameCommits(const std::vector<CommitFact>& a, const std::vector<CommitFact>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const CommitFact& x, const CommitFact& y) {
    return x.position == y.position && x.token == y.token;
  });
}

}  // namespace

Recording recordInMemory(NoticeFunction notice) {
  auto trace = std::make_shared<MemoryTrace>(std::move(notice));
  return {trace, trace, nullptr};
}

Result<Recording> recordInFile(const std::string& path, OpenMode mode, NoticeFunction notice) {
  DECOSCOPE_ASSIGN(std::shared_ptr<SessionStore> store, SessionStore::open(path, mode, std::move(notice)));
  return Recording{store, store, store};
}

void Engine::moveTo(Recording recording) {
  recording_ = std::move(recording);
  decoder_.reset();
  info_ = {};
  nextStep_ = 0;
  environment_.stopReason.clear();
}

Status Engine::loadModel(const std::string& role, const std::string& name, const LoadOptions& options,
                         const StopToken& stop) {
  const auto present = slots_.find(role);
  if (present != slots_.end() && present->second->name == name &&
      present->second->options.dtype == options.dtype && present->second->options.device == options.device)
    return {};
  DECOSCOPE_ASSIGN(auto slot, openSlot(role, name, options, stop));
  adoptSlot(role, std::move(slot));
  return {};
}

// A model that borrows does so from the target.
Result<std::unique_ptr<Engine::Slot>> Engine::openSlot(const std::string& role, const std::string& name,
                                                       const LoadOptions& options,
                                                       const StopToken& stop) const {
  auto slot = std::make_unique<Slot>();
  slot->name = name;
  slot->options = options;
  LoadOptions complete = options;
  const auto target = slots_.find("target");
  const bool other = role != "target" && target != slots_.end();
  if (other) complete.base = target->second->loaded.model.get();
  DECOSCOPE_ASSIGN(slot->loaded, decoscope::loadModel(name, complete, stop));
  return slot;
}

Status Engine::loadModels(const std::map<std::string, std::string>& names, const LoadOptions& options,
                          const StopToken& stop) {
  std::map<std::string, Choice> choices;
  for (const auto& [role, name] : names) choices[role] = {name, options};
  return loadModels(choices, stop);
}

Status Engine::loadModels(const std::map<std::string, Choice>& choices, const StopToken& stop) {
  if (const auto target = choices.find("target"); target != choices.end())
    DECOSCOPE_TRY(loadModel("target", target->second.name, target->second.options, stop));
  for (const auto& [role, choice] : choices)
    if (role != "target") DECOSCOPE_TRY(loadModel(role, choice.name, choice.options, stop));
  return {};
}

void Engine::adoptModel(const std::string& role, std::string name, LoadedModel model) {
  auto slot = std::make_unique<Slot>();
  slot->name = std::move(name);
  slot->loaded = std::move(model);
  adoptSlot(role, std::move(slot));
}

void Engine::adoptSlot(const std::string& role, std::unique_ptr<Slot> slot) {
  decoder_.reset();
  info_ = {};
  measured_.clear();
  cast_.clear();
  slot->role.model = slot->loaded.model.get();
  if (role == "target") {
    // What was made for the target before: heads that borrow from it, and models that nobody chose.
    for (const auto& [other, made] : slots_)
      if (made->base) dropped_[other] = {made->name, made->options};
    std::erase_if(slots_, [](const auto& entry) { return entry.second->base != nullptr; });
    fillings_.clear();
  } else {
    if (slot->role.model->capabilities().followsFeatures)
      if (const auto target = slots_.find("target"); target != slots_.end())
        slot->base = target->second->loaded.model;
    dropped_.erase(role);
  }
  slots_[role] = std::move(slot);
}

// Casts a method's roles. What nobody chose is loaded: a head again for another target, or the bundled model
// made for it.
Status Engine::fillRoles(const MethodInfo& method, const ParamSet& parameters, const StopToken& stop) {
  const auto target = slots_.find("target");
  if (target == slots_.end()) return {};
  const std::vector<std::string> roles = method.rolesFor ? method.rolesFor(parameters) : method.roles;
  for (const std::string& role : roles)
    if (const auto dropped = dropped_.find(role); dropped != dropped_.end() && !slots_.contains(role)) {
      const Choice choice = dropped->second;
      DECOSCOPE_TRY(loadModel(role, choice.name, choice.options, stop));
    }
  cast_.clear();
  std::map<std::string, const ModelInfo*> around;
  for (const auto& [role, slot] : slots_) {
    cast_[role] = slot.get();
    around[role] = &slot->role.model->info();
  }
  for (const std::string& role : roles) {
    if (cast_.contains(role)) continue;
    DECOSCOPE_ASSIGN(const auto bundled, bundledFor(role, method.name, around));
    if (!bundled) continue;
    std::unique_ptr<Slot>& filling = fillings_[bundled->path];
    if (!filling) {
      DECOSCOPE_ASSIGN(filling, openSlot(role, bundled->path, target->second->options, stop));
      filling->role.model = filling->loaded.model.get();
    }
    cast_[role] = filling.get();
    around[role] = &filling->role.model->info();
  }
  return {};
}

const Model* Engine::model(const std::string& role) const {
  if (const auto slot = slots_.find(role); slot != slots_.end()) return slot->second->role.model;
  const auto filling = cast_.find(role);
  return filling == cast_.end() ? nullptr : filling->second->role.model;
}

std::shared_ptr<const Tokenizer> Engine::tokenizer() const {
  const auto slot = slots_.find("target");
  return slot == slots_.end() ? nullptr : slot->second->loaded.tokenizer;
}

std::vector<ModelIdentity> Engine::identities() const {
  std::vector<ModelIdentity> result;
  const auto add = [&](const std::string& role, const Slot& slot) {
    const ModelInfo& info = slot.role.model->info();
    result.push_back({role, info.name, info.path, info.fingerprint, info.dtype, info.device});
  };
  if (const auto target = cast_.find("target"); target != cast_.end()) add("target", *target->second);
  for (const auto& [role, slot] : cast_)
    if (role != "target") add(role, *slot);
  return result;
}

Result<std::vector<TokenId>> promptTokens(const Tokenizer& tokenizer, const RunRequest& request) {
  std::vector<TokenId> tokens = request.promptTokens;
  if (tokens.empty() && !request.chatJson.empty()) {
    DECOSCOPE_ASSIGN(const Chat chat, parseChat(request.chatJson, "the chat"));
    DECOSCOPE_ASSIGN(const std::string rendered, renderChat(tokenizer, chat));
    DECOSCOPE_ASSIGN(tokens, tokenizer.encode(rendered, {.addSpecial = false, .parseSpecial = true}));
  } else if (tokens.empty() && !request.promptText.empty()) {
    DECOSCOPE_ASSIGN(tokens,
                     tokenizer.encode(request.promptText, {.addSpecial = true, .parseSpecial = false}));
  }
  if (tokens.empty())
    return fail(ErrorCode::badInput, "the prompt is empty", "prompt", "Give some text, token ids or a chat.");
  return tokens;
}

Result<std::vector<TokenId>> Engine::encodePrompt(const RunRequest& request) const {
  DECOSCOPE_ASSIGN(std::vector<TokenId> tokens, promptTokens(*tokenizer(), request));
  const ModelInfo& info = model()->info();
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= info.vocabularySize)
      return fail(ErrorCode::badInput,
                  "token id " + std::to_string(tokens[i]) + " is not in the vocabulary of " +
                      std::to_string(info.vocabularySize),
                  "prompt, token " + std::to_string(i));
  if (static_cast<std::int64_t>(tokens.size()) > info.contextLength)
    return fail(ErrorCode::badInput,
                "the prompt has " + std::to_string(tokens.size()) + " tokens, the context holds " +
                    std::to_string(info.contextLength),
                "prompt", "Shorten the prompt or choose a model with a longer context.");
  return tokens;
}

Result<ParamSet> Engine::parametersFor(const std::string& method, const ParamSet& base,
                                       const std::vector<std::string>& assignments) const {
  DECOSCOPE_ASSIGN(const MethodInfo* info, MethodRegistry::instance().find(method));
  return info->schema.parse(base, assignments);
}

Result<RunId> Engine::startRun(const RunRequest& request) {
  if (!model()) return fail(ErrorCode::usage, "no model is loaded", "--model", "Load a model first.");
  RunInfo info;
  info.method = request.method;
  DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(request.method));
  info.name = request.name.empty() ? method->title : request.name;
  DECOSCOPE_ASSIGN(info.parameters,
                   parametersFor(request.method, method->schema.defaults(), request.assignments));
  DECOSCOPE_TRY(fillRoles(*method, info.parameters, StopToken()));
  DECOSCOPE_ASSIGN(info.prompt, encodePrompt(request));
  if (request.maxNewTokens < 0)
    return fail(ErrorCode::usage, "the number of new tokens must not be negative", "--max-new-tokens");
  for (const std::string& stop : request.stopStrings)
    if (stop.empty()) return fail(ErrorCode::usage, "a stop string must not be empty", "--stop");
  DECOSCOPE_TRY(parseRecordLevel(request.recordLevel));
  info.promptText = request.promptText;
  if (request.promptTokens.empty() && !request.chatJson.empty()) {
    // What a person would edit: the last message. The ids of the whole rendered chat are in `prompt`.
    DECOSCOPE_ASSIGN(const Chat chat, parseChat(request.chatJson, "the chat"));
    if (info.promptText.empty()) info.promptText = chat.messages.back().content;
    info.notes["prompt_kind"] = chat.messages.size() == 1 ? "chat" : "conversation";
  }
  info.seed = request.seed;
  info.maxNewTokens = request.maxNewTokens;
  info.stopStrings = request.stopStrings;
  info.stopAtEnd = request.stopAtEnd;
  info.topK = request.topK;
  info.recordLevel = request.recordLevel;
  if (request.promptTokens.empty() && !request.chatJson.empty()) info.notes["chat"] = request.chatJson;
  info.models = identities();
  info.tokenizer = tokenizer()->fingerprint();
  info.notes.insert(measured_.begin(), measured_.end());
  info.notes["decoscope_version"] = DECOSCOPE_VERSION;
  info.createdAt = microsecondsSinceEpoch();

  DECOSCOPE_TRY(prepare(info, true));
  std::string state;
  if (recording_.store) {
    if (auto stored = recording_.store->getBlob(sharedStateName(info))) state = std::move(*stored);
    if (!state.empty()) DECOSCOPE_TRY(decoder_->importState(state));
  }
  DECOSCOPE_ASSIGN(info_.id, recording_.sink->beginRun(info_, std::make_shared<TokenizerNames>(tokenizer())));
  if (!state.empty() && recording_.store)
    DECOSCOPE_TRY(recording_.store->putBlob(initialStateName(info_.id), std::move(state)));
  return info_.id;
}

// Makes `info` the current run with the environment at its prompt (fresh) or where it stands.
Status Engine::prepare(const RunInfo& info, bool fresh) {
  DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(info.method));
  DECOSCOPE_TRY(fillRoles(*method, info.parameters, StopToken()));
  std::map<std::string, RoleModel*> roles;
  for (const auto& [role, slot] : cast_) roles[role] = &slot->role;
  DECOSCOPE_TRY(checkNeeds(*method, info.parameters, roles));
  if (fresh) {
    environment_ = DecodeEnvironment();
    environment_.text = info.prompt;
    environment_.promptLength = info.prompt.size();
    nextStep_ = 0;
    decoder_.reset();
  }
  environment_.roles = std::move(roles);
  environment_.tokenizer = tokenizer().get();
  info_ = info;
  DECOSCOPE_TRY(enter(info));
  return {};
}

// The current line goes on under `info`: its method, parameters, seed and limits.
Status Engine::enter(const RunInfo& info) {
  if (&info != &info_) info_ = info;
  environment_.seed = info.seed;
  environment_.stream = info.stream;
  environment_.maxNewTokens = info.maxNewTokens;
  environment_.stopTokens = info.stopAtEnd ? environment_.tokenizer->stopTokens() : std::vector<TokenId>{};
  environment_.stopStrings = info.stopStrings;
  environment_.stopReason = environment_.remaining() <= 0 ? kStopLength : "";
  DECOSCOPE_ASSIGN(const RecordLevel level, parseRecordLevel(info.recordLevel));
  recorder_ = std::make_unique<Recorder>(level, info.topK);
  environment_.recorder = recorder_.get();
  if (decoder_ && decoderMethod_ == info.method) return decoder_->reconfigure(info.parameters);
  DECOSCOPE_ASSIGN(decoder_,
                   MethodRegistry::instance().create(info.method, {info_.parameters, &info_.notes}));
  decoderMethod_ = info.method;
  begun_ = false;
  return {};
}

Status Engine::runStep() {
  if (!begun_) {
    DECOSCOPE_TRY(decoder_->begin(environment_));
    begun_ = true;
    double prefill = 0;
    for (const Event& event : recorder_->events())
      if (const auto* forward = std::get_if<ForwardFact>(&event))
        if (forward->phase == ForwardPhase::prefill) prefill += forward->milliseconds;
    info_.prefillMilliseconds += prefill;
    for (const char* measured : {kCostCurveNote, kDraftCostNote, kFirstLevelCostNote})
      if (const auto curve = info_.notes.find(measured); curve != info_.notes.end())
        measured_[curve->first] = curve->second;
    recorder_->restartClock();
  }
  if (!environment_.stopReason.empty()) return {};
  const auto token = forcedAt(info_, nextStep_);
  if (!token) return decoder_->step(environment_);
  const bool kept = nextStep_ - info_.forkStep < info_.kept;
  return decoder_->force(environment_, *token, kept ? Provenance::kept : Provenance::forced);
}

Result<StepPointer> Engine::step(const StopToken& stop) {
  if (!info_.id) return fail(ErrorCode::usage, "there is no run to step", {}, "Start a run or choose one.");
  if (ended()) {
    DECOSCOPE_TRY(finish(RunState::finished, environment_.stopReason));
    return StepPointer();
  }
  environment_.stop = stop;
  const auto before = static_cast<std::int64_t>(environment_.text.size());
  recorder_->begin(info_.id, nextStep_, before);
  const bool first = !begun_;
  const Status status = runStep();
  if (!status && status.error().code == ErrorCode::cancelled) return tl::unexpected(status.error());
  if (!status) {
    recorder_->markFailed();
    recorder_->note("error", status.error().text());
  }
  recordingCost_.within = recorder_->recordingMilliseconds();
  const auto sealing = std::chrono::steady_clock::now();
  StepPointer sealed = recorder_->seal(static_cast<std::int64_t>(environment_.text.size()));
  // A line that ended without doing anything (the context was full) has no step to show, but says why in its
  // run.
  const bool empty = status && commitsOf(sealed->events).empty() && ended();
  if (!empty) {
    DECOSCOPE_TRY(recording_.sink->append(sealed));
    ++nextStep_;
  }
  recordingCost_.behind =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - sealing).count();
  if (!status) {
    DECOSCOPE_TRY(finish(RunState::failed, "error"));
    return tl::unexpected(status.error());
  }
  if (ended())
    DECOSCOPE_TRY(finish(RunState::finished, environment_.stopReason));
  else if (first)
    DECOSCOPE_TRY(recording_.sink->updateRun(info_));
  return empty ? StepPointer() : sealed;
}

Status Engine::finish(RunState state, const std::string& reason) {
  if (!info_.id) return {};
  info_.state = state;
  info_.stopReason = reason;
  info_.peakMemoryBytes = peakMemoryBytes();
  keepState();
  return recording_.sink->updateRun(info_);
}

// What the drafter learned outlives the run, in the session file.
void Engine::keepState() {
  if (!recording_.store || recording_.store->readOnly() || !decoder_) return;
  std::string state = decoder_->exportState();
  // A failure to keep it costs speed next time, not data; the store reports its own health.
  if (!state.empty()) (void)recording_.store->putBlob(sharedStateName(info_), std::move(state));
}

Status Engine::replay(const std::vector<LineSegment>& line, const StopToken& stop,
                      const ProgressFunction& progress, const StepComparison& compare) {
  StepIndex total = 0, done = 0;
  for (const LineSegment& segment : line) total += segment.end - segment.first;
  for (const LineSegment& segment : line)
    if (const auto info = recording_.source->run(segment.run)) {
      DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(info->method));
      DECOSCOPE_TRY(fillRoles(*method, info->parameters, stop));
    }
  bool fresh = true;
  for (const LineSegment& segment : line) {
    const auto info = recording_.source->run(segment.run);
    if (!info)
      return fail(ErrorCode::notFound, "run " + std::to_string(segment.run.value) + " is not in the session");
    RunInfo quiet = *info;
    if (!compare) quiet.recordLevel = "none";
    if (fresh) {
      DECOSCOPE_TRY(prepare(quiet, true));
      if (recording_.store) {
        if (auto state = recording_.store->getBlob(initialStateName(segment.run)))
          DECOSCOPE_TRY(decoder_->importState(*state));
      }
    } else {
      DECOSCOPE_TRY(prepare(quiet, false));
    }
    fresh = false;
    for (StepIndex index = segment.first; index < segment.end; ++index) {
      if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped while the line was run again");
      if (progress)
        progress(total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1,
                 "Running the line again");
      DECOSCOPE_ASSIGN(const StepPointer recorded, recording_.source->step(segment.run, index));
      const auto wanted = commitsOf(recorded->events);
      environment_.stop = stop;
      environment_.stopReason.clear();
      recorder_->begin(segment.run, index, static_cast<std::int64_t>(environment_.text.size()));
      nextStep_ = index;
      DECOSCOPE_TRY(runStep());
      const StepPointer again = recorder_->seal(static_cast<std::int64_t>(environment_.text.size()));
      if (compare) compare(*recorded, *again);
      if (!sameCommits(commitsOf(again->events), wanted))
        return fail(
            ErrorCode::failed,
            "step " + std::to_string(index) +
                " did not repeat: the model, its precision or the machine differs from the recorded run",
            "run " + std::to_string(segment.run.value),
            "Load the model and precision that the run names, then fork again.");
      nextStep_ = index + 1;
      ++done;
    }
  }
  return {};
}

Result<RunId> Engine::fork(const ForkRequest& request, const StopToken& stop,
                           const ProgressFunction& progress) {
  if (const auto info = recording_.source->run(request.run)) DECOSCOPE_TRY(requireText(*info));
  if (!model())
    return fail(ErrorCode::usage, "no model is loaded", "--model", "Load the model of the run first.");
  auto parent = recording_.source->run(request.run);
  if (!parent)
    return fail(ErrorCode::badInput, "run " + std::to_string(request.run.value) + " is not in the session",
                "--run", "`inspect` lists the runs.");
  // A step of an ancestor is forked from that ancestor.
  while (request.step < parent->forkStep && parent->parent) {
    const auto above = recording_.source->run(parent->parent);
    if (!above)
      return fail(ErrorCode::badInput,
                  "the parent of run " + std::to_string(parent->id.value) + " is missing", "session");
    parent = above;
  }
  const StepIndex end = recording_.source->extent(parent->id).second;
  if (request.step < 0 || request.step > end)
    return fail(ErrorCode::usage,
                "step " + std::to_string(request.step) + " is outside the run's 0 … " + std::to_string(end),
                "--step");

  RunInfo info = *parent;
  info.id = {};
  info.parent = parent->id;
  info.forkStep = request.step;
  info.forced = request.force;
  DECOSCOPE_ASSIGN(info.kept, keptOf(*recording_.source, *parent, request));
  info.method = request.method.value_or(parent->method);
  DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(info.method));
  ParamSet base = method->schema.defaults();
  for (const auto& [name, value] : parent->parameters.values())
    if (base.has(name)) base.set(name, value);
  DECOSCOPE_ASSIGN(info.parameters, parametersFor(info.method, base, request.assignments));
  DECOSCOPE_TRY(fillRoles(*method, info.parameters, stop));
  if (request.seed) info.seed = *request.seed;
  if (request.maxNewTokens) info.maxNewTokens = *request.maxNewTokens;
  if (info.recordLevel == "none") info.recordLevel = "full";
  for (const TokenId token : request.force)
    if (token < 0 || token >= model()->info().vocabularySize)
      return fail(ErrorCode::usage, "token id " + std::to_string(token) + " is not in the vocabulary",
                  "--force");
  info.name = request.name.empty() ? "fork @ step " + std::to_string(request.step) : request.name;
  info.state = RunState::paused;
  info.stopReason.clear();
  info.createdAt = microsecondsSinceEpoch();
  info.prefillMilliseconds = 0;

  const bool here = info_.id == parent->id && nextStep_ == request.step && decoder_ && begun_;
  if (!here) {
    std::vector<LineSegment> line = lineOf(*recording_.source, parent->id);
    for (LineSegment& segment : line) segment.end = std::min(segment.end, request.step);
    std::erase_if(line, [](const LineSegment& segment) { return segment.first >= segment.end; });
    if (line.empty()) {
      RunInfo start = *parent;
      DECOSCOPE_TRY(prepare(start, true));
      if (recording_.store) {
        RunId root = parent->id;
        for (auto above = parent; above && above->parent; above = recording_.source->run(above->parent))
          root = above->parent;
        if (auto state = recording_.store->getBlob(initialStateName(root)))
          DECOSCOPE_TRY(decoder_->importState(*state));
      }
    } else {
      DECOSCOPE_TRY(replay(line, stop, progress));
    }
  }
  DECOSCOPE_TRY(fillRoles(*method, info.parameters, stop));  // the line's own methods may have cast others
  info.models = identities();
  DECOSCOPE_TRY(prepare(info, false));
  nextStep_ = request.step;
  DECOSCOPE_ASSIGN(info_.id, recording_.sink->beginRun(info_, std::make_shared<TokenizerNames>(tokenizer())));
  return info_.id;
}

Status Engine::rerun(RunId run, const StepComparison& compare, const StopToken& stop) {
  if (const auto info = recording_.source->run(run)) DECOSCOPE_TRY(requireText(*info));
  if (!model())
    return fail(ErrorCode::usage, "no model is loaded", "--model", "Load the model of the run first.");
  if (!recording_.source->run(run))
    return fail(ErrorCode::notFound, "run " + std::to_string(run.value) + " is not in the session");
  std::vector<LineSegment> line = lineOf(*recording_.source, run);
  std::erase_if(line, [](const LineSegment& segment) { return segment.first >= segment.end; });
  Status status = line.empty()
                      ? Status()
                      : replay(line, stop, {}, [&](const StepRecord& recorded, const StepRecord& again) {
                          if (recorded.run == run) compare(recorded, again);
                        });
  info_ = RunInfo();
  return status;
}

Status Engine::resume(RunId run, const StopToken& stop, const ProgressFunction& progress) {
  if (info_.id == run) return {};
  if (const auto info = recording_.source->run(run)) DECOSCOPE_TRY(requireText(*info));
  if (!model()) return fail(ErrorCode::usage, "no model is loaded", {}, "Load the model of the run first.");
  const auto info = recording_.source->run(run);
  if (!info) return fail(ErrorCode::notFound, "run " + std::to_string(run.value) + " is not in the session");
  std::vector<LineSegment> line = lineOf(*recording_.source, run);
  std::erase_if(line, [](const LineSegment& segment) { return segment.first >= segment.end; });
  if (line.empty())
    DECOSCOPE_TRY(prepare(*info, true));
  else
    DECOSCOPE_TRY(replay(line, stop, progress));
  DECOSCOPE_TRY(prepare(*info, false));
  if (info->state == RunState::finished && !info->stopReason.empty() && info->stopReason != "stopped")
    environment_.stopReason = info->stopReason;
  return {};
}

}  // namespace decoscope
